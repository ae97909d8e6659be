"""Trust documents on the simulated line: what a later release says beside what we know."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest
from tests.sim.world import World

from jinbao.flow.sealing import StreamSealer
from jinbao.flow.trusting import DOCUMENT_SCHEMA, _rows
from jinbao.model import acts
from jinbao.model.batch import Kind, SegmentRef
from jinbao.model.grant import Grant
from jinbao.model.stream import TRUST, StreamId
from jinbao.model.trust import DocumentKind, TrustDocument
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust.documents import seal_topology
from jinbao.trust.encoding import envelope_message
from jinbao.trust.grants import EPOCH_MAX, seal_grant

ROOT = Endpoint("100000", Zone.EXCHANGE)
PROVINCE, CITY = Endpoint("140000", Zone.EXCHANGE), Endpoint("140100", Zone.EXCHANGE)


def test_a_kind_of_a_later_release_is_passed_by(
    quiet: Callable[[int], AbstractContextManager[World]],
) -> None:
    """A batch with a document nobody here knows holds no stream, and what is known in it is believed."""
    with quiet(1) as world:
        root = world.zones[ROOT]
        sealed = seal_topology(replace(world.topology, version=7), root.identity)
        known = TrustDocument(
            DocumentKind.TOPOLOGY, "topology", 7, envelope_message(sealed).SerializeToString()
        )
        rows = [{"kind": "decree", "name": "x", "number": 1, "part": 0, "body": "AAAA"}, *_rows(known)]
        frame = pl.DataFrame(rows, schema=DOCUMENT_SCHEMA)
        sha256, size = root.shelf.write(frame)
        sealer = StreamSealer(
            root.index.head(StreamId(ROOT, TRUST)),
            incarnation=root.index.incarnation(),
            epoch=1,
            seal=root.seal,
            now=root.ports.now_text,
        )
        ref = SegmentRef(TRUST, sha256, size, frame.height)
        root.ledger.record(acts.sealed(sealer.next(Kind.SNAPSHOT, segments=[ref], run="later")))

        world.settle()

        others = [zone for endpoint, zone in world.zones.items() if endpoint != ROOT]
        assert {zone.topology.version for zone in others} == {7}
        assert [zone.index.held() for zone in others] == [{}] * len(others)


def granted_by(world: World, signer: Endpoint, node: str, epoch: int, port: int = 7443) -> bytes:
    """A grant of a node that a zone seals now."""
    address = ((Zone.EXCHANGE, f"10.9.0.5:{port}"),)
    made_at = world.zones[signer].ports.now_text()
    made = Grant(world.topology.trust_domain, node, epoch, address, (), (), "{}", made_at)
    return envelope_message(seal_grant(made, world.zones[signer].identity)).SerializeToString()


def told(world: World, endpoint: Endpoint, grant: bytes) -> int:
    """The city's epoch at a zone once somebody brought it a grant."""
    zone = world.zones[endpoint]
    zone.trust.learn_stapled([grant], None)
    return zone.topology.by_node[CITY.node].epoch


@pytest.mark.parametrize("hours", [-10, 10])
def test_no_clock_orders_grants(quiet: Callable[[int], AbstractContextManager[World]], hours: int) -> None:
    """What a province granted before it was lost counts, whichever grant comes first and whatever its clock said."""
    with quiet(1) as world:
        world.skew[PROVINCE] = timedelta(hours=hours)
        before = granted_by(world, PROVINCE, CITY.node, 2)
        world.zones[ROOT].trust.learn_stapled([granted_by(world, ROOT, PROVINCE.node, 2)], None)

        assert told(world, ROOT, before) == 2


def test_no_grant_uses_up_the_epochs_of_a_node(quiet: Callable[[int], AbstractContextManager[World]]) -> None:
    """A parent whose key was stolen cannot grant so high an epoch that nobody could grant one after it."""
    with quiet(1) as world:
        assert told(world, ROOT, granted_by(world, PROVINCE, CITY.node, EPOCH_MAX)) == 1
        assert told(world, ROOT, granted_by(world, PROVINCE, CITY.node, 2)) == 2


def test_a_second_grant_of_an_epoch_is_told(quiet: Callable[[int], AbstractContextManager[World]]) -> None:
    """A parent that grants one epoch to two holders is told of, and the first stays."""
    with quiet(1) as world:
        one, other = (granted_by(world, PROVINCE, CITY.node, 2, port) for port in (7443, 7444))
        heard: list[str] = []
        told(world, ROOT, one)
        world.zones[ROOT].trust._tell = lambda _event, _peer, **values: heard.append(str(values["code"]))  # type: ignore[method-assign]
        told(world, ROOT, other)
        told(world, ROOT, one)

        assert heard == ["equivocation"]
        assert world.zones[ROOT].topology.address(CITY) == "10.9.0.5:7443"
