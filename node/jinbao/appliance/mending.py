"""Mending: a segment that rotted here is brought again from whoever was shown the same batch, or shows it.

Its bytes are held against the hash like any other segment's, so it does not matter who brings them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from jinbao.appliance.assembly import OpenZone
from jinbao.flow.ports import Peer
from jinbao.journal.scrub import Use
from jinbao.link.client import LineClient
from jinbao.link.limits import LinkLimits
from jinbao.link.shaping import Shaper
from jinbao.link.standing import Standing
from jinbao.model.batch import SegmentRef
from jinbao.model.errors import JinbaoError
from jinbao.model.stream import StreamId
from jinbao.model.zone import Border
from jinbao.trust.encoding import decode_header
from jinbao.trust.objects import kept_as


def holders(
    zone: OpenZone,
    standing: Standing,
    limits: LinkLimits,
    uses: Sequence[Use],
    takes: Shaper | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Peer]:
    """Everyone on the line who may have what names a segment, its origins first; each closed when it was asked.

    What they give is bulk: `takes` says how fast it may come; without it, for a person who waits, at once.
    """
    topology, me = zone.topology, zone.me
    origins = {stream.origin.node for stream, _ in uses}
    line = [e for e in topology.followed(me) if topology.border(me, e) is Border.LINE and topology.address(e)]
    for peer in sorted(line, key=lambda e: (e.node not in origins, e)):
        client = LineClient(standing, peer, topology.address(peer), limits=limits, takes=takes, sleep=sleep)
        try:
            yield client
        finally:
            client.close()


def mend(zone: OpenZone, holders: Iterable[Peer], sha256: str, size: int, uses: Sequence[Use]) -> bool:
    """Ask each holder for what lies here as `sha256`, by each batch that names it, until one brings it; whether one did."""
    kept = SegmentRef("", sha256, size, 0)
    for holder in holders:
        for stream, seq in uses:
            ref = _as_named(zone, stream, seq, kept)
            try:
                zone.shelf.receive(kept, lambda offset, s=stream, n=seq, r=ref: holder.fetch(s, n, r, offset))  # type: ignore[misc]  # noqa: B023
            except JinbaoError as exc:
                zone.observer.event(
                    "mending_failed",
                    peer=str(holder.endpoint),
                    segment=sha256,
                    code=exc.code,
                    reason=str(exc),
                )
            else:
                return True
    return False


def _as_named(zone: OpenZone, stream: StreamId, seq: int, kept: SegmentRef) -> SegmentRef:
    """The segment as its batch names it, which of a copy is not the name it lies under here."""
    batch = zone.index.batch(stream, seq)
    named = decode_header(batch.payload).segments if batch is not None else ()
    here = zone.me.node
    return next((ref for ref in named if kept_as(here, stream, ref.sha256) == kept.sha256), kept)
