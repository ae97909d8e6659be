"""What a protected zone and its backup site know of the distance between them, as numbers.

Two points that are never mixed: `capture_age`, from the source's newest complete capture to our journal, and
`rpo`, from our journal to the backup. What is not known is infinite, never nothing. Moves nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from jinbao.appliance.assembly import OpenZone, stored_batch
from jinbao.model.batch import VerifiedBatch
from jinbao.model.errors import UsageError
from jinbao.model.stream import JOURNAL, StreamId
from jinbao.model.zone import Endpoint, Zone
from jinbao.standby.cuts import Cut
from jinbao.standby.rebuilding import Copy


@dataclass(frozen=True, slots=True)
class Exposure:
    """What would be lost with this zone now: everything recorded since `rpo_s` ago, with rows and bytes of its batches."""

    backup: str
    rpo_s: float
    rows: float
    bytes: float


UNKNOWN = math.inf


def exposure(zone: OpenZone) -> Exposure | None:
    """How far the backup is behind this zone's journal; None while nobody protects it.

    Infinite until the backup, or who carries to it, said how far it is since this process began.
    """
    stream = zone.following.stream
    if stream is None:
        return None
    mark = zone.counter.journals.get(stream)
    if mark is None:
        return Exposure(stream.audience, UNKNOWN, UNKNOWN, UNKNOWN)
    oldest = zone.following.waiting(stream, mark.seq)
    if oldest is None:
        return Exposure(stream.audience, 0.0, 0, 0)
    rows, size = zone.index.recorded_after(oldest.lsn - 1)
    return Exposure(stream.audience, age_s(zone, oldest.at), rows, size)


def capture_age_s(zone: OpenZone) -> float | None:
    """Seconds since the newest capture was recorded here, infinite if there is none; None where nothing is captured."""
    if zone.outbound is None:
        return None
    return age_s(zone, zone.state.captured_at())


def age_s(zone: OpenZone, at: str) -> float:
    """Seconds since a moment, never fewer than none; infinite for an empty one."""
    if not at:
        return UNKNOWN
    moment = datetime.fromisoformat(at)
    return max(0.0, (zone.ports.now() - moment).total_seconds())


def guarded(zone: OpenZone) -> list[Cut]:
    """The newest cut of every zone that this node protects, by zone; one of nothing where none came yet.

    Segments that scrubbing found damaged are missing.
    """
    row = zone.topology.row(zone.me.node)
    if row is None or zone.me.zone is not Zone.EXCHANGE:
        return []
    nodes = [zone.topology.row(node) for node in row.protects]
    streams = [StreamId(Endpoint(r.node, z), JOURNAL, zone.me.node) for r in nodes if r for z in r.zones]
    known = {cut.stream: cut for cut in zone.cuts.all()}
    bad = zone.scrub.progress().bad
    cuts = [known.get(stream, Cut(stream)) for stream in sorted(streams)]
    return [replace(c, missing=c.missing + zone.index.named(c.stream, bad)) if bad else c for c in cuts]


def copy_of(zone: OpenZone, endpoint: Endpoint, at: int = 0) -> Copy:
    """The copy of a protected zone up to its newest cut, as it lies here. Raises UsageError for a zone that has none."""
    stream = StreamId(endpoint, JOURNAL, zone.me.node)
    cut = zone.cuts.of(stream)
    if not cut.lsn:
        have = ", ".join(str(c.stream.origin) for c in zone.cuts.all()) or "none"
        raise UsageError("zone", expected=f"one that has a copy here: {have}", got=endpoint)
    return Copy(stream, _Batches(zone, cut), zone.shelf, cut.lsn, at, keeper=zone.me.node)


class _Batches:
    """The batches up to a cut, read anew and page by page by whoever goes through them."""

    def __init__(self, zone: OpenZone, cut: Cut) -> None:
        self._zone, self._cut = zone, cut

    def __iter__(self) -> Iterator[VerifiedBatch]:
        for sealed in self._zone.index.read_through(self._cut.stream, self._cut.since):
            batch = stored_batch(sealed)
            yield batch
            if batch.head == self._cut.head:
                return
