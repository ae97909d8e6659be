"""Trust documents on the simulated line: what a later release says beside what we know."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

import polars as pl
from tests.sim.world import World

from jinbao.flow.sealing import StreamSealer
from jinbao.flow.trusting import DOCUMENT_SCHEMA, _rows
from jinbao.model import acts
from jinbao.model.batch import Kind, SegmentRef
from jinbao.model.stream import TRUST, StreamId
from jinbao.model.trust import DocumentKind, TrustDocument
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust.documents import seal_topology
from jinbao.trust.encoding import envelope_message

ROOT = Endpoint("100000", Zone.EXCHANGE)


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
