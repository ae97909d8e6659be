"""Questions about the journal: heads, marks, batches waiting to be applied, receipts due.

Reads only. What a peer may see is asked of the topology, for every call anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from jinbao.journal import statements
from jinbao.journal.projection import ACCEPTED, APPLIED
from jinbao.journal.segments import SegmentShelf
from jinbao.journal.tables import (
    ACT,
    HEADER,
    HOLD,
    MARK,
    MISSING,
    RECEIPT,
    RECEIPT_DUE,
    SEGMENT,
    ZONE,
)
from jinbao.model.acts import envelope_of
from jinbao.model.batch import Kind, SealedBatch
from jinbao.model.receipt import Receipt, Stage, Unanswered
from jinbao.model.stream import DOWNWARD, JOURNAL, Lane, Mark, StreamId, fair_share
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint
from jinbao.store.engine import Store
from jinbao.trust.encoding import short_of

UNAPPLIED_BYTES_MAX = 128 << 20
"""Headers looked at in one round of one stream: forty thousand of ours, and no more than memory has room for."""

_PAGE = 100

_CONCLUDING = ("converted", "healed")
"""Acts by which a production zone knows what it compares its next submission with."""


@dataclass(frozen=True, slots=True)
class Overview:
    """Counts of a journal at one moment."""

    acts: int
    held: int
    unapplied: int
    receipts_due: int
    segments: int
    segment_bytes: int


@dataclass(frozen=True, slots=True)
class Missing:
    """A receipt that should have come by `due_at`; `answered_at` is empty until it came."""

    stream: StreamId
    seq: int
    head: str
    receiver: Endpoint
    stage: Stage
    due_at: str
    at: str
    answered_at: str


class JournalIndex:
    """Reads of one zone's journal; `me` is the endpoint it belongs to."""

    def __init__(self, me: Endpoint, store: Store, shelf: SegmentShelf) -> None:
        self.me = me
        self.shelf = shelf
        self._store = store

    def _rows(self, query: sa.Select[Any], **bound: Any) -> Sequence[sa.Row[Any]]:
        with self._store.read() as connection:
            return connection.execute(query, bound).all()

    def incarnation(self) -> str:
        """The incarnation this store chose at its creation; empty before `created` is recorded."""
        rows = self._rows(statements.INCARNATION)
        return str(rows[0].incarnation) if rows else ""

    def epoch(self) -> int:
        """The newest epoch in which this zone was created, sealed, or took back what the holder before had sent."""
        own = sa.select(sa.func.max(HEADER.c.epoch)).where(HEADER.c.peer == "")
        with self._store.read() as connection:
            begun = connection.scalar(sa.select(sa.func.max(ZONE.c.epoch)))
            return max(int(begun or 0), int(connection.scalar(own) or 0))

    def newest_act(self) -> tuple[int, str]:
        """Place of the newest act, and the chain's hash there; (0, "") in an empty journal."""
        rows = self._rows(statements.NEWEST_ACT)
        return (rows[0].lsn, rows[0].hash) if rows else (0, "")

    def head(self, stream: StreamId) -> Mark:
        """The newest header held of a stream, own or accepted."""
        return _mark(self._rows(statements.HEAD, of=str(stream)), stream)

    def mark(self, stream: StreamId, stage: str = ACCEPTED) -> Mark:
        """How far this zone has come in a stream at a stage."""
        return _mark(self._rows(statements.MARK_OF, of=str(stream), at_stage=stage), stream)

    def marks(self, stage: str = ACCEPTED, nodes: Collection[str] = ()) -> list[Mark]:
        """Marks of all streams at a stage, by stream; with `nodes` of the streams they are the origin of."""
        query = statements.MARKS
        if nodes:
            query = query.where(sa.or_(*(MARK.c.stream.startswith(f"{node}/") for node in sorted(nodes))))
        rows = self._rows(query, at_stage=stage)
        return [Mark(StreamId.parse(r.stream), r.incarnation, r.epoch, r.seq, r.head) for r in rows]

    def streams(self) -> list[Mark]:
        """The newest header of every stream held, by stream."""
        rows = self._rows(statements.STREAMS)
        return [Mark(StreamId.parse(r.stream), r.incarnation, r.epoch, r.seq, r.head) for r in rows]

    def held(self) -> dict[StreamId, tuple[int, str, str]]:
        """Streams that wait for a person: seq, error code and reason."""
        return {StreamId.parse(r.stream): (r.seq, r.code, r.reason) for r in self._rows(statements.HELD)}

    def paused(self) -> dict[Endpoint, str]:
        """Peers an operator paused, with the reason given."""
        return {Endpoint.parse(r.peer): str(r.reason) for r in self._rows(statements.PAUSED)}

    def batch(self, stream: StreamId, seq: int, head: str = "") -> SealedBatch | None:
        """One sealed batch by its place, and by its head where given."""
        query = statements.BATCH.where(HEADER.c.head == head) if head else statements.BATCH
        rows = self._rows(query, of=str(stream), at_seq=seq)
        return envelope_of(json.loads(rows[0].envelope)) if rows else None

    def place(self, stream: StreamId, incarnation: str, seq: int) -> Mark | None:
        """The header held at one place of a stream, as a mark; None if none is."""
        rows = self._rows(statements.PLACE, of=str(stream), within=incarnation, at_seq=seq)
        return Mark(stream, incarnation, rows[0].epoch, seq, rows[0].head) if rows else None

    def recorded_at(self, mark: Mark) -> int:
        """The act that recorded the batch a mark points to; 0 for none."""
        query = sa.select(HEADER.c.lsn).where(
            HEADER.c.stream == str(mark.stream), HEADER.c.seq == mark.seq, HEADER.c.head == mark.head
        )
        rows = self._rows(query)
        return int(rows[0].lsn) if rows else 0

    def is_concluded(self, library: str, lsn: int) -> bool:
        """Whether an act after `lsn` says from what a library was sealed, or that nothing is known of it.

        Acts of one submission are recorded at once, but a copy of the journal may end between them.
        """
        query = sa.select(ACT.c.kind, ACT.c.body).where(ACT.c.lsn > lsn, ACT.c.kind.in_(_CONCLUDING))
        return any(
            row.kind == "healed" or json.loads(row.body)["library"] == library for row in self._rows(query)
        )

    def batches(self, stream: StreamId) -> list[SealedBatch]:
        """Every sealed batch held of one stream, in the order it was recorded."""
        query = sa.select(HEADER.c.envelope).where(HEADER.c.stream == str(stream)).order_by(HEADER.c.lsn)
        return [envelope_of(json.loads(row.envelope)) for row in self._rows(query)]

    def read_through(self, stream: StreamId, after: int = 0) -> Iterator[SealedBatch]:
        """As `batches`, a page at a time; those recorded after an act."""
        while True:
            query = sa.select(HEADER.c.envelope, HEADER.c.lsn).where(
                HEADER.c.stream == str(stream), HEADER.c.lsn > after
            )
            rows = self._rows(query.order_by(HEADER.c.lsn).limit(_PAGE))
            if not rows:
                return
            for row in rows:
                yield envelope_of(json.loads(row.envelope))
            after = rows[-1].lsn

    def places(self, stream: StreamId) -> list[tuple[int, Kind, str]]:
        """Seq, kind and head of every batch held of a stream's newest incarnation, in order."""
        query = sa.select(HEADER.c.seq, HEADER.c.kind, HEADER.c.head).where(
            HEADER.c.stream == str(stream), HEADER.c.incarnation == self.head(stream).incarnation
        )
        return [(r.seq, Kind(r.kind), r.head) for r in self._rows(query.order_by(HEADER.c.seq))]

    def waiting(self) -> dict[StreamId, int]:
        """Streams with batches accepted after the one their apply mark points to, and how many; by stream."""
        return {StreamId.parse(r.stream): r.batches for r in self._rows(statements.WAITING)}

    def unapplied(self, stream: StreamId, limit: int) -> list[SealedBatch]:
        """Batches of a stream accepted after the one its apply mark points to, in order: the first of them.

        At most `limit`, and of those what `UNAPPLIED_BYTES_MAX` holds.
        """
        found: list[SealedBatch] = []
        size = 0
        with self._store.read() as connection:
            asked = {"of": str(stream), "most": limit}
            for row in connection.execute(statements.UNAPPLIED, asked).yield_per(_PAGE):
                size += len(row.envelope)
                if size > UNAPPLIED_BYTES_MAX and found:
                    break
                found.append(envelope_of(json.loads(row.envelope)))
        return found

    def segments(self) -> list[dict[str, Any]]:
        """Segments the headers held here name, by stream and seq."""
        query = sa.select(SEGMENT).order_by(SEGMENT.c.stream, SEGMENT.c.seq, SEGMENT.c.sha256)
        return [dict(row._mapping) for row in self._rows(query)]  # noqa: SLF001  # SQLAlchemy's public row mapping

    def overview(self) -> Overview:
        """Counts, each by one query."""
        applied = sa.select(MARK).where(MARK.c.stage == APPLIED).subquery()
        waiting = (
            sa.select(sa.func.count())
            .select_from(HEADER.join(applied, applied.c.stream == HEADER.c.stream, isouter=True))
            .where(HEADER.c.peer != "", HEADER.c.lsn > sa.func.coalesce(applied.c.lsn, 0))
        )
        stored = sa.select(SEGMENT.c.sha256, SEGMENT.c.bytes).distinct().subquery()
        counts = [
            sa.select(sa.func.coalesce(sa.func.max(ACT.c.lsn), 0)),
            sa.select(sa.func.count()).select_from(HOLD),
            waiting,
            sa.select(sa.func.count()).select_from(RECEIPT_DUE),
            sa.select(sa.func.count()).select_from(stored),
            sa.select(sa.func.coalesce(sa.func.sum(stored.c.bytes), 0)),
        ]
        with self._store.read() as connection:
            return Overview(*(int(connection.execute(query).scalar_one()) for query in counts))

    def stored(self, stream: StreamId) -> tuple[int, int]:
        """How many segments the batches of a stream name, and their bytes."""
        mine = sa.select(SEGMENT.c.sha256, SEGMENT.c.bytes).where(SEGMENT.c.stream == str(stream)).distinct()
        found = mine.subquery()
        query = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(found.c.bytes), 0))
        with self._store.read() as connection:
            count, size = connection.execute(query.select_from(found)).one()
        return int(count), int(size)

    def named(self, stream: StreamId, hashes: Collection[str]) -> int:
        """How many of these segments batches of a stream name."""
        mine = SEGMENT.c.stream == str(stream), SEGMENT.c.sha256.in_(hashes)
        query = sa.select(sa.func.count(sa.distinct(SEGMENT.c.sha256))).where(*mine)
        with self._store.read() as connection:
            return int(connection.scalar(query) or 0)

    def recorded_after(self, lsn: int) -> tuple[int, int]:
        """Rows and bytes of the batches recorded after an act, those of acts apart."""
        query = sa.select(sa.func.sum(HEADER.c.rows), sa.func.sum(HEADER.c.bytes)).where(
            HEADER.c.lsn > lsn, ~HEADER.c.stream.like(f"%/{JOURNAL}/%")
        )
        with self._store.read() as connection:
            rows, size = connection.execute(query).one()
        return int(rows or 0), int(size or 0)

    def receipts_due(self, limit: int) -> list[tuple[int, str, Receipt]]:
        """Receipts not yet sealed: journal place, audience, receipt."""
        rows = self._rows(statements.RECEIPTS_DUE, most=limit)
        return [(r.lsn, r.audience, _receipt(json.loads(r.body))) for r in rows]

    def receipts(self, stream: StreamId, seq: int | None = None) -> list[Receipt]:
        """All receipts known about a stream, or one batch of it, by seq; stages of later releases are left out."""
        query = sa.select(RECEIPT).where(RECEIPT.c.stream == str(stream))
        if seq is not None:
            query = query.where(RECEIPT.c.seq == seq)
        return self._receipts(query)

    def answered(self, stage: Stage) -> set[tuple[str, int]]:
        """Stream and seq of every batch this zone itself issued a receipt of this stage for."""
        rows = self._rows(statements.ANSWERED, by=str(self.me), at_stage=stage)
        return {(r.stream, r.seq) for r in rows}

    def held_elsewhere(self) -> list[Receipt]:
        """Words of other receivers that they hold a stream and have not released it."""
        query = sa.select(RECEIPT).where(
            RECEIPT.c.stage == Stage.HELD, RECEIPT.c.reason != "", RECEIPT.c.receiver != str(self.me)
        )
        return self._receipts(query)

    def _receipts(self, query: sa.Select[Any]) -> list[Receipt]:
        """Receipts in order; those of a stage only a later release knows are filed, and not shown."""
        known = query.where(RECEIPT.c.stage.in_(list(Stage)))
        rows = self._rows(known.order_by(RECEIPT.c.stream, RECEIPT.c.seq, RECEIPT.c.receiver))
        return [_receipt(r._mapping) for r in rows]  # noqa: SLF001  # SQLAlchemy's public row mapping

    def unanswered(
        self, stream: StreamId, receiver: Endpoint, stages: Sequence[Stage], limit: int
    ) -> list[Unanswered]:
        """Manifests of a stream's incarnation after the last one a receiver answered with any of the stages.

        In order, at most `limit`, without those whose missing answer is noted: as `missing` for the
        first of the stages, or by the receiver's own word that it is overdue.
        """
        bound = {
            "of": str(stream),
            "by": str(receiver),
            "within": self.head(stream).incarnation,
            "stages": list(stages),
            "most": limit,
        }
        if receiver == self.me:
            rows = self._rows(statements.UNTOLD, **bound)
        else:
            rows = self._rows(statements.UNANSWERED, **bound, at_stage=stages[0])
        return [Unanswered(r.seq, r.head, r.made_at, r.taken or "") for r in rows]

    def missing(self, *, answered: bool = False) -> list[Missing]:
        """Receipts that did not come in time, oldest first; those that came later only where asked for."""
        query = sa.select(MISSING).order_by(
            MISSING.c.due_at, MISSING.c.stream, MISSING.c.seq, MISSING.c.receiver
        )
        if not answered:
            query = query.where(MISSING.c.answered_at == "")
        return [
            Missing(
                StreamId.parse(r.stream),
                r.seq,
                r.head,
                Endpoint.parse(r.receiver),
                Stage(r.stage),
                r.due_at,
                r.at,
                r.answered_at,
            )
            for r in self._rows(query)
        ]


def _receipt(row: Any) -> Receipt:  # a mapping of the receipt's columns
    return Receipt(
        Endpoint.parse(row["receiver"]),
        StreamId.parse(row["stream"]),
        row["seq"],
        row["head"],
        Stage(row["stage"]),
        row["rows"],
        row["digest"],
        row["reason"],
        row["at"],
        row.get("incarnation", ""),
    )


def _mark(rows: Sequence[sa.Row[Any]], stream: StreamId) -> Mark:
    if not rows:
        return Mark(stream)
    row = rows[0]
    return Mark(stream, row.incarnation, row.epoch, row.seq, row.head)


class Counter:
    """What a peer may take from this journal: headers beyond its marks, segments those headers name."""

    def __init__(
        self,
        index: JournalIndex,
        store: Store,
        topology: Callable[[], Topology],
        sealed: Callable[[str], Path] | None = None,
        beyond: Callable[[Endpoint, Mark], None] = lambda _caller, _mark: None,
        called: Callable[[Endpoint, Collection[Mark], bool], None] = lambda _caller, _marks, _is_empty: None,
    ) -> None:
        """`sealed` gives the ciphertext of a segment, for a site that protects us; without it there is none.

        `beyond` is told of a caller's mark beyond the newest batch this zone sealed in the same incarnation, or holds of
        another zone of its node; `called` then of every caller, its marks, and whether we have nothing it may see.
        """
        self._called = called
        self._beyond_ours = beyond
        self._index = index
        self._store = store
        self._topology = topology
        self._sealed = sealed
        self.journals: dict[StreamId, Mark] = {}
        """How far those who follow journals have come, as they said since this process began; others are unknown."""

    def headers(
        self, caller: Endpoint, marks: Sequence[Mark], limit: int, lane: Lane = Lane.ALL
    ) -> list[SealedBatch]:
        """Sealed batches beyond the caller's marks in every stream of a lane it may see, directives first.

        In order within each stream, of each its share; at most `limit` in all.
        """
        known = {mark.stream: mark for mark in marks}  # the last of a stream is the caller's own
        self._note_journals(caller, known)
        heads = [h for h in self._index.streams() if self._may_see(caller, h.stream)]
        self._look_beyond(caller, marks, {head.stream: head.seq for head in heads})
        self._called(caller, known.values(), not any(h.stream.origin == self._index.me for h in heads))
        return self._behind([head for head in heads if lane.has(head.stream.topic)], known, limit)

    def returned(
        self, caller: Endpoint, marks: Sequence[Mark], limit: int, lane: Lane = Lane.ALL
    ) -> list[SealedBatch]:
        """As `headers`, of what the caller's own node had sent here, or let through (clause 2.9)."""
        heads = [
            h
            for h in self._index.streams()
            if lane.has(h.stream.topic) and self._may_take_back(caller, h.stream)
        ]
        return self._behind(heads, {mark.stream: mark for mark in marks}, limit)

    def _note_journals(self, caller: Endpoint, known: Mapping[StreamId, Mark]) -> None:
        """Keep how far a caller has come in the journals it follows."""
        for stream, mark in known.items():
            if stream.topic == JOURNAL and self._may_see(caller, stream):
                # A mark of another past, of a zone that was created anew, says nothing of what is here.
                here = self._index.place(stream, mark.incarnation, mark.seq)
                self.journals[stream] = mark if here is not None and here.head == mark.head else Mark(stream)

    def _behind(self, heads: Sequence[Mark], known: Mapping[StreamId, Mark], limit: int) -> list[SealedBatch]:
        """What lies between marks and heads, of each stream its share."""
        found: list[SealedBatch] = []
        behind = []
        for head in sorted(heads, key=lambda h: (h.stream.topic not in DOWNWARD, h.stream)):
            mark = known.get(head.stream, Mark(head.stream))
            if replace(mark, epoch=head.epoch, head=mark.head or head.head) != head:
                behind.append((mark, head))
        for mark, head in behind:
            room = min(fair_share(limit, len(behind)), limit - len(found))
            found.extend(self._beyond(mark, head, room))
        return found

    def _look_beyond(self, caller: Endpoint, marks: Collection[Mark], newest: Mapping[StreamId, int]) -> None:
        """Tell of marks of our node's streams that nobody could have but of a newer database of ours, or of its origin."""
        ahead = [
            mark
            for mark in marks
            if mark.stream.origin.node == self._index.me.node
            and mark.seq > newest.get(mark.stream, 0)
            and self._may_see(caller, mark.stream)
        ]
        for mark in ahead:
            if mark.stream.origin != self._index.me or mark.incarnation == self._index.incarnation():
                self._beyond_ours(caller, mark)

    def _may_see(self, caller: Endpoint, stream: StreamId) -> bool:
        return self._topology().may_see(holder=self._index.me, caller=caller, stream=stream)

    def _may_take_back(self, caller: Endpoint, stream: StreamId) -> bool:
        return self._topology().may_take_back(holder=self._index.me, caller=caller, stream=stream)

    def _beyond(self, mark: Mark, head: Mark, limit: int) -> list[SealedBatch]:
        """Batches recorded after the one a mark points to, or the one that contradicts or falls short of it.

        A mark of an incarnation nobody here knows, or of a past that is not ours in one that ended, is shown the
        newest incarnation from its first batch: the caller sees that the origin was created anew, and holds the stream.
        """
        of = {"of": str(mark.stream)}
        same = {**of, "within": mark.incarnation, "at_seq": mark.seq}
        with self._store.read() as connection:
            held = connection.execute(statements.NEAREST, same).first()
            if held is not None and held.seq == mark.seq:
                after = held.lsn + 1 if mark.head in {"", held.head} else None
            else:
                after = connection.execute(statements.FIRST_BEYOND, same).scalar()
            if after is None and (held is None or head.incarnation != mark.incarnation):
                first = statements.FIRST_OF if mark.seq else statements.FIRST
                after = connection.execute(first, {**of, "within": head.incarnation}).scalar()
            if after is None:  # the caller's past is not ours, or it has more of this incarnation than we do
                return [short_of(envelope_of(json.loads(held.envelope)), mark)] if held is not None else []
            rows = connection.execute(statements.SINCE, {**of, "at_lsn": after, "most": limit}).all()
        return [envelope_of(json.loads(row.envelope)) for row in rows]

    def open_segment(self, caller: Endpoint, stream: StreamId, seq: int, sha256: str) -> Path | None:
        """The file of a segment, only through a header the caller may see; None is the answer to all else."""
        if not self._may_see(caller, stream) and not self._may_take_back(caller, stream):
            return None
        asked = {"of": str(stream), "at_seq": seq, "named": sha256}
        with self._store.read() as connection:
            if connection.execute(statements.SEGMENT_OF, asked).first() is None:
                return None
        if self._sealed is not None and stream.topic == JOURNAL and stream.audience == caller.node:
            return self._sealed(sha256)
        return self._index.shelf.open_path(sha256)
