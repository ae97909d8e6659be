"""Real zones of a demo network, with small segments sealed straight into their journals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl
from tests.link.parts import Network

from jinbao.appliance.assembly import OpenZone, open_zone
from jinbao.appliance.network import DEMO_NODES, make_network
from jinbao.appliance.serve import ZoneService, ways_in
from jinbao.appliance.settings import Settings
from jinbao.flow.sealing import StreamSealer
from jinbao.journal.index import Counter
from jinbao.model import acts
from jinbao.model.batch import Kind, SealedBatch, SegmentRef
from jinbao.model.stream import Lane, Mark, StreamId
from jinbao.model.zone import Endpoint
from jinbao.trust.encoding import decode_header

TOPICS = ("pension_macro", "unemployment_monitor")

_PACE = {"follow_wait_s": 0.2, "interval_s": 0.05, "backoff_max_s": 0.5, "capture_cron": ""}
SETTINGS = {"limits": {"headers_max": 7}, "pace": _PACE}
"""Small answers and quick rounds."""


@dataclass(frozen=True)
class Zones:
    """A network and those of its zones that are open."""

    network: Network
    settings: dict[str, Settings]
    opened: dict[Endpoint, OpenZone]

    def __getitem__(self, endpoint: Endpoint) -> OpenZone:
        return self.opened[endpoint]


@contextmanager
def zones(directory: Path, *endpoints: Endpoint, epoch: int = 1) -> Iterator[Zones]:
    """Some zones of a new network, open; an answer of theirs holds seven headers. Every node is at `epoch`."""
    nodes = [replace(node, epoch=epoch) for node in DEMO_NODES]
    topology, settings = make_network(directory, nodes, overrides=SETTINGS)
    with ExitStack() as stack:
        opened = {e: open_zone(settings[e.node], e.zone) for e in endpoints}
        for zone in opened.values():
            stack.callback(zone.close)
        yield Zones(Network(directory, topology), settings, opened)


@dataclass
class Watched:
    """A zone's own counter, and which of its questions arrived."""

    counter: Counter
    arrived: list[str] = field(default_factory=list)

    def headers(
        self, caller: Endpoint, marks: Sequence[Mark], limit: int, lane: Lane = Lane.ALL
    ) -> list[SealedBatch]:
        """What the zone answers."""
        self.arrived.append("follow")
        return self.counter.headers(caller, marks, limit, lane)

    def open_segment(self, caller: Endpoint, stream: StreamId, seq: int, sha256: str) -> Path | None:
        """What the zone answers."""
        self.arrived.append("fetch")
        return self.counter.open_segment(caller, stream, seq, sha256)


def seal(zone: OpenZone, count: int, topics: Sequence[str] = TOPICS) -> list[SegmentRef]:
    """Seal so many batches of one segment each in every topic, in turns."""
    made = []
    for _ in range(count):
        for topic in topics:
            last = next((m for m in zone.index.streams() if m.stream.topic == topic), None)
            last = last or Mark(StreamId(zone.me, topic))
            sealer = StreamSealer(
                last,
                incarnation=zone.index.incarnation(),
                epoch=zone.succession.epoch,
                seal=zone.seal,
                now=zone.ports.now_text,
            )
            frame = pl.DataFrame({"AAC001": [f"{topic} {last.seq}"]})
            ref = SegmentRef("person", *zone.shelf.write(frame), rows=1)
            zone.ledger.record(acts.sealed(sealer.next(Kind.CHANGE, segments=[ref])))
            made.append(ref)
    return made


def accepted(zone: OpenZone) -> dict[str, list[int]]:
    """Batches a zone accepted, in the order its journal has them, by topic."""
    found: dict[str, list[int]] = {}
    for recorded in zone.ledger.acts(kind="accepted"):
        header = decode_header(acts.envelope_of(recorded.act.body["envelope"]).payload)
        found.setdefault(header.stream.topic, []).append(header.seq)
    return found


@contextmanager
def serving(zone: OpenZone) -> Iterator[ZoneService]:
    """An open zone that serves, with its web port and admin sockets; closed afterwards."""
    service = ZoneService(zone)
    service.parts = ways_in(service)
    try:
        service.start()
        yield service
    finally:
        service.stop()
