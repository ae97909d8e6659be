"""Cuts: up to which act the journal of each protected zone is here, chained and with what it names.

A cut is the zone's own signed batch of acts. It is restorable when every segment that a rebuild
opens is on the shelf. A parent keeps what backups said of theirs, a backup what drills gave. Projections
of the acts `followed`, `witnessed` and `drilled`.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from jinbao.model.acts import Act
from jinbao.model.stream import JOURNAL, StreamId
from jinbao.standby.tables import CUT, DRILL, METADATA, WITNESS
from jinbao.store.engine import Store, Transaction
from jinbao.store.projection import Recorded
from jinbao.store.stage import Stage


@dataclass(frozen=True, slots=True)
class Cut:
    """The newest moment a zone can be built again at: its act `lsn` with the chain's `hash` there.

    `at` is when that act was recorded, `captured_at` when the zone's newest capture was (empty for
    none), both by the zone's clock; `missing` counts segments a rebuild opens that are not here. `since` is our own
    act by which the stream was re-based: batches before it are of a zone that was created anew.
    """

    stream: StreamId
    seq: int = 0
    head: str = ""
    lsn: int = 0
    hash: str = ""
    at: str = ""
    captured_at: str = ""
    missing: int = 0
    since: int = 0


class CutProjection:
    """Reads `followed`, `witnessed`, `drilled`, and `rebased` of a stream of acts."""

    kinds = frozenset({"followed", "witnessed", "drilled", "rebased"})
    tables = tuple(METADATA.sorted_tables)

    def stage(self, store: Store, act: Act) -> tuple[Stage, ...]:
        """Nothing is staged: a cut is one row."""
        del store, act
        return ()

    def project(self, tx: Transaction, recorded: Recorded, stages: tuple[Stage, ...]) -> None:
        """The cut of a stream is the newest one; of what a backup said the most stands, and when it had less."""
        del stages
        body = recorded.act.body
        match recorded.act.kind:
            case "witnessed":
                self._witnessed(tx, recorded)
            case "drilled":
                self._drilled(tx, recorded)
            case "rebased":
                self._rebased(tx, recorded)
            case _:
                mine = CUT.c.stream == body["stream"]
                since = tx.execute(sa.select(CUT.c.since).where(mine)).scalar() or 0
                tx.execute(CUT.delete().where(mine))
                row = {column.name: body[column.name] for column in CUT.columns if column.name != "since"}
                tx.execute(CUT.insert(), row | {"since": since})

    def _rebased(self, tx: Transaction, recorded: Recorded) -> None:
        """The zone was created anew: its acts begin at 1 again, and what came before is no part of them."""
        stream = StreamId.parse(recorded.act.body["stream"])
        if stream.topic != JOURNAL:
            return
        tx.execute(CUT.delete().where(CUT.c.stream == str(stream)))
        nothing = {"seq": 0, "head": "", "lsn": 0, "hash": "", "at": "", "captured_at": "", "missing": 0}
        tx.execute(CUT.insert(), nothing | {"stream": str(stream), "since": recorded.lsn})

    def _witnessed(self, tx: Transaction, recorded: Recorded) -> None:
        body = recorded.act.body
        backup = StreamId.parse(body["stream"]).origin.node
        for stream, seq, head in body["cuts"]:
            place = sa.and_(WITNESS.c.stream == stream, WITNESS.c.backup == backup)
            if stream in body["went_back"]:
                tx.execute(WITNESS.update().where(place).values(went_back_at=recorded.at))
                continue
            tx.execute(WITNESS.delete().where(place))
            row = {"stream": stream, "backup": backup, "seq": seq, "head": head, "at": recorded.at}
            tx.execute(WITNESS.insert(), row | {"went_back_at": ""})

    def _drilled(self, tx: Transaction, recorded: Recorded) -> None:
        body, mine = recorded.act.body, DRILL.c.node == recorded.act.body["node"]
        good_at = (
            recorded.at if not body["wrong"] else tx.execute(sa.select(DRILL.c.good_at).where(mine)).scalar()
        )
        row = {name: body[name] for name in ("node", "milliseconds", "restored_to", "wrong")}
        tx.execute(DRILL.delete().where(mine))
        tx.execute(DRILL.insert(), row | {"at": recorded.at, "good_at": good_at or "", "lsn": recorded.lsn})


@dataclass(frozen=True, slots=True)
class Drilled:
    """The newest drill of a node: when, how long it took, how much was wrong, and when one last went well.

    `lsn` is the act that holds its signed report.
    """

    node: str
    at: str
    seconds: float
    restored_to: str
    wrong: int
    good_at: str
    lsn: int

    @property
    def ok(self) -> bool:
        """Whether nothing was wrong."""
        return not self.wrong


@dataclass(frozen=True, slots=True)
class Witness:
    """What a backup said it has of a journal: the most it ever said, `at` what time here, and when it last had less."""

    stream: StreamId
    backup: str
    seq: int
    head: str
    at: str
    went_back_at: str = ""


_ALL = sa.select(CUT).order_by(CUT.c.stream)
"""Asked in every round, so built once."""


class Cuts:
    """Reads of one zone's cuts."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def of(self, stream: StreamId) -> Cut:
        """The newest cut of a stream; one of nothing if there is none."""
        return next((cut for cut in self.all() if cut.stream == stream), Cut(stream))

    def all(self) -> list[Cut]:
        """The newest cut of every protected zone, by stream."""
        with self._store.read() as connection:
            rows = connection.execute(_ALL).all()
        return [
            Cut(
                StreamId.parse(r.stream),
                r.seq,
                r.head,
                r.lsn,
                r.hash,
                r.at,
                r.captured_at,
                r.missing,
                r.since,
            )
            for r in rows
        ]

    def drills(self) -> list[Drilled]:
        """The newest drill of every node that was drilled, by node."""
        with self._store.read() as connection:
            rows = connection.execute(sa.select(DRILL).order_by(DRILL.c.node)).all()
        return [
            Drilled(r.node, r.at, r.milliseconds / 1000, r.restored_to, r.wrong, r.good_at, r.lsn)
            for r in rows
        ]

    def witnessed(self) -> list[Witness]:
        """What backups below said of the journals they follow, by stream and backup."""
        query = sa.select(WITNESS).order_by(WITNESS.c.stream, WITNESS.c.backup)
        with self._store.read() as connection:
            rows = connection.execute(query).all()
        return [
            Witness(StreamId.parse(r.stream), r.backup, r.seq, r.head, r.at, r.went_back_at) for r in rows
        ]
