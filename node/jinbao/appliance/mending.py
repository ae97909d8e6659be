"""Mending: a segment that rotted here is brought again from whoever was shown the same batch, or shows it.

Its bytes are held against the hash like any other segment's, so it does not matter who brings them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from jinbao.appliance.assembly import OpenZone
from jinbao.flow.ports import Peer
from jinbao.journal.scrub import Use
from jinbao.model.batch import SegmentRef
from jinbao.model.errors import JinbaoError


def mend(zone: OpenZone, holders: Iterable[Peer], sha256: str, size: int, uses: Sequence[Use]) -> bool:
    """Ask each holder for the segment by each batch that names it, until one brings it; whether one did."""
    ref = SegmentRef("", sha256, size, 0)
    for holder in holders:
        for stream, seq in uses:
            try:
                zone.shelf.receive(ref, lambda offset, s=stream, n=seq: holder.fetch(s, n, ref, offset))  # type: ignore[misc]  # noqa: B023
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
