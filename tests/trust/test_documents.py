"""Signed documents that are no batches: only the root signs a topology, only a receiver its own marks."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.trust.example import CITY, NOW, PROVINCE, ROOT, STREAM, TOPOLOGY, Network, with_epoch

from jinbao.model.batch import SealedBatch
from jinbao.model.errors import IdentityError, StaleEpochError, UnprovableError
from jinbao.model.stream import Mark
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust.book import TrustBook
from jinbao.trust.documents import MARKS_TYPE, open_marks, open_topology, seal_marks, seal_topology
from jinbao.trust.encoding import TOPOLOGY_TYPE, encode_topology
from jinbao.trust.envelope import seal_bytes

MARKS = [Mark(STREAM, "a" * 32, 1, 7, "0f" * 32), Mark(replace(STREAM, topic="unemployment_monitor"))]


def opened(network: Network, sealed: SealedBatch, topology: Topology = TOPOLOGY) -> list[Mark]:
    """The marks of the province's exchange zone, now."""
    return open_marks(sealed, PROVINCE, network.book, topology, NOW)


def test_the_root_signs_the_topology(network: Network) -> None:
    """A topology sealed by the exchange zone of the root is opened as it was."""
    sealed = seal_topology(TOPOLOGY, network.identity(ROOT))

    assert open_topology(sealed, network.book, NOW) == TOPOLOGY


@pytest.mark.parametrize("signer", [PROVINCE, CITY, Endpoint("100000", Zone.DECISION)], ids=str)
def test_nobody_else_signs_the_topology(network: Network, signer: Endpoint) -> None:
    """A topology sealed by another node, or another zone of the root, is refused."""
    sealed = seal_topology(TOPOLOGY, network.identity(signer))

    with pytest.raises(
        IdentityError, match=f"expected 100000/exchange, certified by authority 100000, got {signer}"
    ):
        open_topology(sealed, network.book, NOW)


def test_a_topology_makes_nobody_its_root(network: Network) -> None:
    """A province that seals a topology with itself as root is refused: its certificate says province."""
    row = replace(TOPOLOGY.by_node["140000"], parent="")
    sealed = seal_topology(Topology("jinbao.other", 2, (row,)), network.identity(PROVINCE))

    with pytest.raises(IdentityError, match=r"caller 140000/exchange: expected jinbao.other province"):
        open_topology(sealed, network.book, NOW)


def test_a_topology_is_opened_while_its_signer_is_in_force(network: Network) -> None:
    """A topology is refused once the certificate of its signer has expired."""
    sealed = seal_topology(TOPOLOGY, network.identity(ROOT))

    with pytest.raises(IdentityError, match="clock: certificate in force"):
        open_topology(sealed, network.book, NOW + timedelta(days=60))


def test_a_topology_of_strangers_is_refused(network: Network) -> None:
    """A topology is refused by who does not trust its authority."""
    sealed = seal_topology(TOPOLOGY, network.identity(ROOT))

    with pytest.raises(IdentityError, match="expected an issuer this zone trusts"):
        open_topology(sealed, TrustBook.of([]), NOW)


@pytest.mark.parametrize(
    "payload", [b"\xff", b"", encode_topology(TOPOLOGY)[:-1]], ids=["noise", "empty", "cut"]
)
def test_a_sealed_payload_that_is_no_topology_is_unprovable(network: Network, payload: bytes) -> None:
    """Bytes the root sealed as a topology are refused if they are none."""
    sealed = seal_bytes(TOPOLOGY_TYPE, payload, network.identity(ROOT))

    with pytest.raises(UnprovableError, match="topology: expected a message of the contract"):
        open_topology(sealed, network.book, NOW)


@pytest.mark.parametrize("marks", [[], MARKS], ids=["none", "two"])
def test_marks_come_back_as_they_were(network: Network, marks: list[Mark]) -> None:
    """A receiver's marks are opened as it sealed them."""
    assert opened(network, seal_marks(marks, network.identity(PROVINCE))) == marks


@pytest.mark.parametrize("signer", [CITY, ROOT, Endpoint("140000", Zone.DECISION)], ids=str)
def test_nobody_says_how_far_another_has_come(network: Network, signer: Endpoint) -> None:
    """Marks sealed by anyone but the receiver are refused."""
    sealed = seal_marks(MARKS, network.identity(signer))

    with pytest.raises(IdentityError, match=f"expected {PROVINCE}, got {signer}"):
        opened(network, sealed)


def test_marks_of_an_older_epoch_are_stale(network: Network) -> None:
    """Marks of a holder whose identity was granted to another are refused."""
    sealed = seal_marks(MARKS, network.identity(PROVINCE))

    with pytest.raises(StaleEpochError, match="expected epoch 2, got epoch 1"):
        opened(network, sealed, with_epoch("140000", 2))


def test_altered_marks_are_unprovable(network: Network) -> None:
    """Marks whose payload is that of other marks are refused."""
    sealed = seal_marks(MARKS, network.identity(PROVINCE))
    other = seal_marks(MARKS[:1], network.identity(PROVINCE))

    with pytest.raises(UnprovableError, match="seal: expected the signer's"):
        opened(network, replace(sealed, payload=other.payload))


@pytest.mark.parametrize(
    "payload", [b"\xff", b"\x0a\x01\x00", b"\x0a\x00"], ids=["noise", "cut", "no stream"]
)
def test_a_sealed_payload_that_is_no_marks_is_unprovable(network: Network, payload: bytes) -> None:
    """Bytes the receiver sealed as marks are refused if they are none."""
    sealed = seal_bytes(MARKS_TYPE, payload, network.identity(PROVINCE))

    with pytest.raises(UnprovableError, match="expected a message of the contract"):
        opened(network, sealed)
