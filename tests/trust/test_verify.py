"""Whether a batch follows the mark, and whether its signer may say so (clauses 2.1, 2.3, 4.1, 4.2)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.trust.example import CITY, FIRST, NOW, ROOT, SIBLING, STREAM, TOPOLOGY, Network, with_epoch

from jinbao.model.batch import Header, SealedBatch, VerifiedBatch
from jinbao.model.errors import (
    EquivocationError,
    IdentityError,
    PeerError,
    SequenceGapError,
    StaleEpochError,
    UnprovableError,
)
from jinbao.model.stream import Mark
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint
from jinbao.trust.envelope import head_of, seal
from jinbao.trust.signer import CLOCK_TOLERANCE


def mark(seq: int, head: str, epoch: int = 1, incarnation: str = "a" * 32) -> Mark:
    """A mark in the example's stream."""
    return Mark(STREAM, incarnation, epoch, seq, head)


def verify(
    network: Network, sealed: SealedBatch, last: Mark | None = None, topology: Topology = TOPOLOGY
) -> VerifiedBatch | None:
    """Verify as a receiver with this mark, by default one that has seen nothing."""
    return network.verifier(topology).verify(sealed, lambda stream: last or Mark(stream))


def after(last: Mark, **changes: object) -> Header:
    """The header that follows a mark, with these changes."""
    return replace(FIRST, seq=last.seq + 1, previous=last.head, **changes)  # type: ignore[arg-type]  # by name


def test_a_stream_is_verified_from_its_first_batch_on(network: Network) -> None:
    """Batches in order are each verified against the mark of the one before."""
    last = Mark(STREAM)

    for sealed in network.chain(3):
        batch = verify(network, sealed, last)
        assert batch is not None
        assert (batch.sealed, batch.head) == (sealed, head_of(sealed))
        last = batch.mark

    assert last.seq == 3


def test_a_replay_says_nothing_new(network: Network) -> None:
    """The batch of the mark, and any before it, verify to None."""
    first, second = network.chain(2)

    for old in (first, second):
        assert verify(network, old, mark(2, head_of(second))) is None


@pytest.mark.parametrize("seq", [2, 3, 99])
def test_a_gap_is_refused(network: Network, seq: int) -> None:
    """A receiver that has seen nothing takes batch 1 and no later one."""
    with pytest.raises(SequenceGapError, match=f"expected batch 1, got {seq}"):
        verify(network, network.seal(replace(FIRST, seq=seq)))


def test_a_gap_in_the_middle_is_refused(network: Network) -> None:
    """Batch 3 does not follow the mark of batch 1."""
    first, _, third = network.chain(3)

    with pytest.raises(SequenceGapError, match="expected batch 2, got 3"):
        verify(network, third, mark(1, head_of(first)))


def test_two_batches_of_one_place_are_equivocation(network: Network) -> None:
    """Another batch at the place of the mark is refused, though its seal holds."""
    sealed, other = network.seal(FIRST), network.seal(replace(FIRST, run="other"))

    with pytest.raises(EquivocationError, match=f"expected head {head_of(sealed)[:12]}, got"):
        verify(network, other, mark(1, head_of(sealed)))


@pytest.mark.parametrize("previous", ["", "0f" * 32], ids=["nothing", "another"])
def test_a_batch_that_follows_another_past_is_equivocation(network: Network, previous: str) -> None:
    """The next batch is refused if it names another head than the mark's as the one before it."""
    sealed = network.seal(replace(FIRST, seq=2, previous=previous))

    with pytest.raises(EquivocationError, match="expected to follow head"):
        verify(network, sealed, mark(1, head_of(network.seal(FIRST))))


def test_a_first_batch_has_no_past(network: Network) -> None:
    """Batch 1 is refused if it names a batch before it."""
    with pytest.raises(EquivocationError, match="expected to follow head none"):
        verify(network, network.seal(replace(FIRST, previous="0f" * 32)))


@pytest.mark.parametrize("incarnation", ["a" * 32, "b" * 32], ids=["new epoch", "new epoch and store"])
def test_a_granted_epoch_goes_on_from_the_mark(network: Network, incarnation: str) -> None:
    """The first batch of a new epoch follows if it names the mark it continues, and is refused if not."""
    last, topology = mark(1, "0f" * 32), with_epoch("140100", 2)
    follows = after(last, epoch=2, incarnation=incarnation, continues=last)

    batch = verify(network, network.seal(follows), last, topology)

    assert batch is not None
    assert batch.mark.epoch == 2
    for wrong in (None, replace(last, head="1f" * 32), replace(last, seq=0)):
        with pytest.raises(UnprovableError, match="or one that continues it"):
            verify(network, network.seal(replace(follows, continues=wrong)), last, topology)


def test_a_store_made_anew_is_not_taken_for_the_old_one(network: Network) -> None:
    """A batch of another incarnation is refused, at the next seq and at the first."""
    last = mark(1, "0f" * 32)

    for header in (after(last, incarnation="b" * 32), replace(FIRST, incarnation="b" * 32)):
        with pytest.raises(UnprovableError, match="expected incarnation aaaaaaaa at epoch 1"):
            verify(network, network.seal(header), last)


def test_an_old_holder_is_stale_once_its_successor_spoke(network: Network) -> None:
    """After a batch of epoch 2, a batch of epoch 1 is refused as stale."""
    last = mark(4, "0f" * 32, epoch=2)

    with pytest.raises(StaleEpochError, match="expected epoch 2 or later, got 1"):
        verify(network, network.seal(after(last)), last, with_epoch("140100", 2))


def test_what_was_sealed_before_a_promotion_stays_provable(network: Network) -> None:
    """A batch of an epoch before the topology's is still proved for who has seen nothing later."""
    batch = verify(network, network.seal(FIRST), topology=with_epoch("140100", 2))

    assert batch is not None
    assert batch.header.epoch == 1


def test_an_epoch_nobody_granted_is_refused(network: Network) -> None:
    """A batch of an epoch after the topology's is refused, though its certificate is in order."""
    with pytest.raises(IdentityError, match="expected epoch 1, got epoch 2"):
        verify(network, network.seal(replace(FIRST, epoch=2)))


def test_an_epoch_that_is_not_the_certificates_is_refused(network: Network) -> None:
    """A header that claims a later epoch than its signer's certificate is unprovable."""
    sealed = seal(replace(FIRST, epoch=2), network.identity(CITY, 1))

    with pytest.raises(UnprovableError, match="at epoch 2, got 140100/production at epoch 1"):
        verify(network, sealed, topology=with_epoch("140100", 2))


@pytest.mark.parametrize("other", [SIBLING, ROOT], ids=["a sibling", "the ministry"])
def test_nobody_signs_for_another(network: Network, other: Endpoint) -> None:
    """A header of the city's stream sealed by any other zone is unprovable."""
    sealed = seal(FIRST, network.identity(other))

    with pytest.raises(UnprovableError, match="signer: expected 140100/production at epoch 1, got"):
        verify(network, sealed)


def test_a_node_the_topology_does_not_know_is_refused(network: Network) -> None:
    """A well certified origin that is no row of the topology is refused."""
    rows = tuple(r for r in TOPOLOGY.rows if r.node != "140100")

    with pytest.raises(IdentityError, match="expected a zone of the topology"):
        verify(network, network.seal(FIRST), topology=replace(TOPOLOGY, rows=rows))


@pytest.mark.parametrize(
    ("made_at", "thing"),
    [
        ("", "140100/production/pension_macro/line#1: time: expected RFC 3339"),
        ("yesterday", "140100/production/pension_macro/line#1: time: expected RFC 3339"),
        ("2026-13-01T00:00:00Z", "140100/production/pension_macro/line#1: time: expected RFC 3339"),
        ("2026-11-20T07:00:00", "clock: "),
        ("2026-11-20", "clock: "),
        ("2026-11-21T08:00:01Z", "clock: "),
        ("2026-11-21T08:00:00-00:01", "clock: "),
        ("9999-12-31T23:59:59Z", "clock: "),
        ("9999-12-31T23:59:59-14:00", "140100/production/pension_macro/line#1: time: expected RFC 3339"),
        ("0001-01-01T00:00:00+14:00", "140100/production/pension_macro/line#1: time: expected RFC 3339"),
        ("0001-01-01T00:00:00Z", "clock: certificate in force"),
    ],
    ids=lambda text: text or "empty",
)
def test_an_impossible_time_is_refused(network: Network, made_at: str, thing: str) -> None:
    """A batch said to be made at no time, in the far future or before its certificate is refused for the clock."""
    with pytest.raises(PeerError) as caught:
        verify(network, network.seal(replace(FIRST, made_at=made_at)))

    assert str(caught.value).startswith(thing)


@pytest.mark.parametrize("made_at", ["2026-11-21T08:00:00Z", "2026-11-21T16:00:00+08:00"])
def test_a_clock_may_run_a_day_ahead(network: Network, made_at: str) -> None:
    """A batch made exactly the tolerated time ahead of ours is proved, in whatever offset it says so."""
    assert timedelta(days=1) == CLOCK_TOLERANCE

    assert verify(network, network.seal(replace(FIRST, made_at=made_at))) is not None


def test_an_old_batch_outlives_its_certificate(network: Network) -> None:
    """A batch made while its certificate was in force is proved years later; one made after is not."""
    late = NOW + timedelta(days=1000)
    verifier = network.verifier(at=late)

    assert verifier.prove(network.seal(FIRST)) == FIRST

    with pytest.raises(IdentityError, match="clock: certificate in force"):
        verifier.prove(network.seal(replace(FIRST, made_at=late.isoformat())))


def test_a_seal_by_nobody_we_trust_proves_nothing(
    network: Network, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The same topology certified by another authority of the same name is refused."""
    strangers = Network(tmp_path_factory.mktemp("strangers"))

    with pytest.raises(IdentityError, match="expected an issuer this zone trusts"):
        verify(network, strangers.seal(FIRST))


def test_the_seal_comes_before_the_place(network: Network) -> None:
    """A broken seal is told as such even where the place is wrong as well, and the mark is not asked for."""
    sealed = replace(network.seal(replace(FIRST, seq=9)), signature=b"")

    def asked(_stream: object) -> Mark:
        pytest.fail("the mark was asked for before the seal was proved")

    with pytest.raises(UnprovableError, match="envelope: seal"):
        network.verifier().verify(sealed, asked)
