"""Retention plans: what lies on the shelf, who still needs it, and what may go.

A plan deletes nothing. What a neighbour has not signed for is needed by that neighbour;
what this zone's tables are rebuilt from is needed by this zone; only files that neither
a header nor the next run names are superseded. `sweep` removes those and nothing else, and
looks again before it does: a plan is old as soon as it is made.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import sqlalchemy as sa

from jinbao.journal.segments import SegmentShelf
from jinbao.journal.tables import RECEIPT, SEGMENT
from jinbao.model.receipt import Stage
from jinbao.model.stream import ACTS_TABLE, JOURNAL, SPARE_TABLE, StreamId
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint
from jinbao.store.engine import Store

REBUILD = "rebuild"
"""Needed by this zone itself: its tables are built again from it."""

NEXT_RUN = "next run"
"""Needed by this zone's next capture or conversion to compare with."""

BEING_WRITTEN = "being written"
"""Too young to be sure that no act will name it."""


@dataclass(frozen=True, slots=True)
class Line:
    """One file of the shelf; `needed_by` is empty when it may go.

    `uses` are the batches that name it, `used_at` when it was last written or used, ns since 1970.
    """

    sha256: str
    bytes: int
    stream: str
    seq: int
    needed_by: tuple[str, ...]
    uses: int = 0
    used_at: int = 0


def plan(
    me: Endpoint,
    store: Store,
    shelf: SegmentShelf,
    topology: Topology,
    in_use: Sequence[str],
    *,
    settled_before: float = math.inf,
    journals: Mapping[StreamId, int] = MappingProxyType({}),
) -> list[Line]:
    """Every file on the shelf with who needs it; `in_use` are hashes the next run compares with.

    `journals` are the seqs up to which those who follow journals said they have them: what only a batch
    of acts names waits for them, and for nothing else.
    A file no act names and that was written or used after `settled_before` (seconds since 1970)
    may be one whose act comes next: it stays.
    """
    named, signed, acts = _named(store), _signed(store), _acts(store)
    wanted = set(in_use)
    lines = []
    for sha256 in shelf.stored():
        try:
            found = shelf.path(sha256).stat()
        except FileNotFoundError:  # laid aside or swept meanwhile
            continue
        size = found.st_size
        uses = named.get(sha256, [])
        own = [use for use in uses if not passes_by(me, use[0]) or sha256 in acts]
        waiting = {who for use in own for who in _waiting(me, topology, *use, signed)}
        waiting |= {s.audience for s, seq in uses if _awaits(me, topology, s) and journals.get(s, 0) < seq}
        needed = (*sorted(waiting), *([REBUILD] if own else []))
        if not own:
            needed += (NEXT_RUN,) if sha256 in wanted else ()
            needed += (BEING_WRITTEN,) if found.st_mtime >= settled_before else ()
        stream, seq = uses[-1] if uses else ("", 0)
        lines.append(Line(sha256, size, str(stream), seq, needed, len(uses), found.st_mtime_ns))
    return lines


def passes_by(me: Endpoint, stream: StreamId) -> bool:
    """Whether a stream is of acts that only another node keeps: here nothing is built from its segments."""
    return stream.topic == JOURNAL and stream.audience != me.node


def is_kept(me: Endpoint, stream: StreamId, table: str) -> bool:
    """Whether a segment is to stay here for a batch that names it; a spare one of a copy may go after its time."""
    return not passes_by(me, stream) and not (stream.topic == JOURNAL and table == SPARE_TABLE)


def _awaits(me: Endpoint, topology: Topology, stream: StreamId) -> bool:
    """Whether a stream of acts waits for the node that protects its origin now; one that did once asks no more."""
    return passes_by(me, stream) and topology.backup(stream.origin.node) == stream.audience


def _named(store: Store) -> dict[str, list[tuple[StreamId, int]]]:
    """The headers that name each segment; a segment may travel in several streams."""
    query = sa.select(SEGMENT.c.sha256, SEGMENT.c.stream, SEGMENT.c.seq).order_by(SEGMENT.c.seq)
    named: dict[str, list[tuple[StreamId, int]]] = {}
    with store.read() as connection:
        for row in connection.execute(query):
            named.setdefault(row.sha256, []).append((StreamId.parse(row.stream), row.seq))
    return named


def _acts(store: Store) -> set[str]:
    """Segments of acts: small, and what a backup that lost its disk begins with again."""
    query = sa.select(SEGMENT.c.sha256).where(
        SEGMENT.c.stream.like(f"%/{JOURNAL}/%"), SEGMENT.c.table == ACTS_TABLE
    )
    with store.read() as connection:
        return set(connection.execute(query).scalars())


def _signed(store: Store) -> dict[tuple[str, str], int]:
    """The highest seq each receiver signed for, by receiver and stream."""
    query = (
        sa.select(RECEIPT.c.receiver, RECEIPT.c.stream, sa.func.max(RECEIPT.c.seq))
        .where(RECEIPT.c.stage == Stage.ACCEPTED)
        .group_by(RECEIPT.c.receiver, RECEIPT.c.stream)
    )
    with store.read() as connection:
        return {(row[0], row[1]): row[2] for row in connection.execute(query)}


def _waiting(
    me: Endpoint, topology: Topology, stream: StreamId, seq: int, signed: Mapping[tuple[str, str], int]
) -> Iterator[str]:
    """Neighbours that may see a batch and have not signed for it, and a backup site that is to come."""
    for neighbour in topology.neighbours(me):
        may = topology.may_see(holder=me, caller=neighbour, stream=stream)
        if may and signed.get((str(neighbour), str(stream)), 0) < seq:
            yield str(neighbour)


def sweep(lines: Sequence[Line], store: Store, shelf: SegmentShelf) -> int:
    """Remove what nobody needs and nobody used or named since the plan; returns the bytes that came free."""
    freed = 0
    for line in lines:
        if line.needed_by or _is_used_since(line, store, shelf):
            continue
        shelf.remove(line.sha256)
        freed += line.bytes
    return freed


def _is_used_since(line: Line, store: Store, shelf: SegmentShelf) -> bool:
    """Whether a file was written or used again, is gone, or is named by a batch that the plan did not know."""
    try:
        if shelf.path(line.sha256).stat().st_mtime_ns != line.used_at:
            return True
    except FileNotFoundError:
        return True
    query = sa.select(sa.func.count()).select_from(SEGMENT).where(SEGMENT.c.sha256 == line.sha256)
    with store.read() as connection:
        return connection.scalar(query) != line.uses
