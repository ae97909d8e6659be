"""Purging 清除: what of a backup's copies may go after its time, and nothing else.

Only spare segments go: those a run of the protected zone would compare with, and no later one. What a zone is
built from stays for good, and so do the newest spares of each zone, a node's copies under legal hold, and all that
came within the time. A zone never purges by itself: it is a security administrator's act, who writes nothing there.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from jinbao.appliance.assembly import OpenZone, rfc3339
from jinbao.journal.retention import is_kept
from jinbao.journal.tables import ACT, HEADER, SEGMENT
from jinbao.model.errors import SettingsError, UsageError
from jinbao.model.stream import JOURNAL, SPARE_TABLE, StreamId

KEPT_BATCHES = 20
"""The newest batches of a zone that name spares keep them, however old: more than one run has."""

_TOUCHED_S = 3600.0
"""A file that was written or brought again within this may be named by a batch that is just coming."""


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
    _check_hold(zone)
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


def _check_hold(zone: OpenZone) -> None:
    """Raise SettingsError for a hold of a node that nobody knows: it would hold nothing."""
    copies = {cut.stream.origin.node for cut in zone.cuts.all()}
    unknown = [n for n in zone.settings.copies.hold if n not in copies and zone.topology.row(n) is None]
    if unknown:
        raise SettingsError(
            "copies.hold", expected="nodes of the topology or with a copy here", got=unknown[0]
        )


def _newest(connection: sa.Connection, mine: sa.ColumnElement[bool]) -> dict[str, int]:
    """The first seq of each stream whose spares stay whatever their age."""
    query = sa.select(SEGMENT.c.stream, SEGMENT.c.seq).where(mine, SEGMENT.c.table == SPARE_TABLE).distinct()
    seqs: dict[str, list[int]] = {}
    for row in connection.execute(query):
        seqs.setdefault(row.stream, []).append(row.seq)
    return {stream: sorted(of_it)[-KEPT_BATCHES:][0] for stream, of_it in seqs.items()}


def purge(zone: OpenZone, spares: Sequence[Spare]) -> int:
    """Remove them; returns the bytes that came free."""
    freed = count = 0
    for spare in spares:
        path = zone.shelf.path(spare.sha256)
        if path.is_file() and path.stat().st_mtime < time.time() - _TOUCHED_S:
            zone.shelf.remove(spare.sha256)
            freed, count = freed + spare.bytes, count + 1
    if count:
        zone.observer.event("copies_purged", segments=count, bytes=freed)
    return freed
