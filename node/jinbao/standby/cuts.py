"""Cuts: up to which act the journal of each protected zone is here, chained and with what it names.

A cut is the zone's own signed batch of acts. It is restorable when every segment that a rebuild
opens is on the shelf. A projection of the acts `followed`.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from jinbao.model.acts import Act
from jinbao.model.stream import StreamId
from jinbao.standby.tables import CUT, METADATA
from jinbao.store.engine import Store, Transaction
from jinbao.store.projection import Recorded
from jinbao.store.stage import Stage


@dataclass(frozen=True, slots=True)
class Cut:
    """The newest moment a zone can be built again at: its act `lsn` with the chain's `hash` there.

    `at` is when that act was recorded, `captured_at` when the zone's newest capture was (empty for
    none), both by the zone's clock; `missing` counts segments a rebuild opens that are not here.
    """

    stream: StreamId
    seq: int = 0
    head: str = ""
    lsn: int = 0
    hash: str = ""
    at: str = ""
    captured_at: str = ""
    missing: int = 0


class CutProjection:
    """Reads `followed`."""

    kinds = frozenset({"followed"})
    tables = tuple(METADATA.sorted_tables)

    def stage(self, store: Store, act: Act) -> tuple[Stage, ...]:
        """Nothing is staged: a cut is one row."""
        del store, act
        return ()

    def project(self, tx: Transaction, recorded: Recorded, stages: tuple[Stage, ...]) -> None:
        """The cut of a stream is the newest one."""
        del stages
        body = recorded.act.body
        tx.execute(CUT.delete().where(CUT.c.stream == body["stream"]))
        tx.execute(CUT.insert(), {column.name: body[column.name] for column in CUT.columns})


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
            rows = connection.execute(sa.select(CUT).order_by(CUT.c.stream)).all()
        return [
            Cut(StreamId.parse(r.stream), r.seq, r.head, r.lsn, r.hash, r.at, r.captured_at, r.missing)
            for r in rows
        ]
