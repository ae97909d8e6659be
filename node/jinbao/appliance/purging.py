"""Purging 清除: what of a backup's copies may go after its time, and nothing else.

Only spare segments go: those a run of the protected zone would compare with, and no later one. What a zone is
built from stays for good, and so do the newest spares of each zone, a node's copies under legal hold, and all that
came within the time. The zone never purges by itself: it is a security administrator's act, who writes nothing there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from jinbao.appliance.assembly import OpenZone, rfc3339
from jinbao.journal.retention import is_kept
from jinbao.journal.tables import ACT, HEADER, SEGMENT
from jinbao.model.errors import UsageError
from jinbao.model.stream import JOURNAL, SPARE_TABLE, StreamId

KEPT_BATCHES = 2
"""The newest batches of a zone that name spares keep them, however old: the newest run, and the one before."""


@dataclass(frozen=True, slots=True)
class Spare:
    """A segment that may go: of which zone, its bytes on disk, and when it was last named here."""

    zone: str
    sha256: str
    bytes: int
    named_at: str


def may_go(zone: OpenZone, days: float) -> list[Spare]:
    """Spares last named more than so many days ago; raises UsageError for fewer days than the settings keep."""
    copies = zone.settings.copies
    if days < copies.keep_days:
        raise UsageError(
            "--older-than",
            expected=f"at least copies.keep_days, {copies.keep_days:g}",
            got=f"{days:g}",
        )
    before = rfc3339(zone.ports.now() - timedelta(days=days))
    mine = SEGMENT.c.stream.like(f"%/{JOURNAL}/{zone.me.node}")
    spares = sa.select(SEGMENT.c.sha256).where(mine, SEGMENT.c.table == SPARE_TABLE)
    query = (
        sa.select(SEGMENT.c.sha256, SEGMENT.c.stream, SEGMENT.c.seq, SEGMENT.c.table, ACT.c.at)
        .join(HEADER, sa.and_(HEADER.c.stream == SEGMENT.c.stream, HEADER.c.seq == SEGMENT.c.seq))
        .join(ACT, ACT.c.lsn == HEADER.c.lsn)
        .where(SEGMENT.c.sha256.in_(spares))
        .order_by(SEGMENT.c.sha256, ACT.c.at)
    )
    uses: dict[str, list[Any]] = {}
    with zone.store.read() as connection:
        for row in connection.execute(query):
            uses.setdefault(row.sha256, []).append(row)
        newest = _newest(connection, mine)
    found = []
    for sha256, rows in uses.items():
        streams = [StreamId.parse(row.stream) for row in rows]
        needed = any(
            is_kept(zone.me, stream, row.table) or row.seq >= newest.get(row.stream, 0)
            for stream, row in zip(streams, rows, strict=True)
        )
        is_held = any(stream.origin.node in copies.hold for stream in streams)
        size = zone.shelf.size(sha256)
        if not needed and not is_held and rows[-1].at < before and size is not None:
            found.append(Spare(str(streams[-1].origin), sha256, size, rows[-1].at))
    return found


def _newest(connection: sa.Connection, mine: sa.ColumnElement[bool]) -> dict[str, int]:
    """The first seq of each stream whose spares stay whatever their age."""
    query = sa.select(SEGMENT.c.stream, SEGMENT.c.seq).where(mine, SEGMENT.c.table == SPARE_TABLE).distinct()
    seqs: dict[str, list[int]] = {}
    for row in connection.execute(query):
        seqs.setdefault(row.stream, []).append(row.seq)
    return {stream: sorted(of_it)[-KEPT_BATCHES:][0] for stream, of_it in seqs.items()}


def purge(zone: OpenZone, spares: Sequence[Spare]) -> int:
    """Remove them; returns the bytes that came free."""
    freed = 0
    for spare in spares:
        zone.shelf.remove(spare.sha256)
        freed += spare.bytes
    if freed:
        zone.observer.event("copies_purged", segments=len(spares), bytes=freed)
    return freed
