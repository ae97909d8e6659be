"""How long something has waited in a journal: an application, an answer from above; and when the journal began.

Reads only, for a scrape each few seconds: each question is a few look-ups by key, whatever the tables hold.
"""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from jinbao.journal.projection import ACCEPTED, APPLIED
from jinbao.journal.tables import ACT, HEADER, HOLD, MARK, MISSING, RECEIPT, STREAM
from jinbao.model.batch import Kind
from jinbao.model.receipt import Stage
from jinbao.model.stream import StreamId
from jinbao.model.zone import Endpoint
from jinbao.store.engine import Store

STREAMS_MAX = 200
"""Streams looked into, those that moved longest ago first: the oldest of them all is among them."""

_ANSWERS = (Stage.ACCEPTED, Stage.APPLIED, Stage.REFUSED)


class Waiting:
    """Reads of one zone's journal."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def began_at(self) -> str:
        """When the first act was recorded; empty in an empty journal."""
        with self._store.read() as connection:
            return str(connection.scalar(sa.select(ACT.c.at).where(ACT.c.lsn == 1)) or "")

    def held(self) -> dict[str, int]:
        """How many streams are held, by error code."""
        query = sa.select(HOLD.c.code, sa.func.count().label("streams")).group_by(HOLD.c.code)
        with self._store.read() as connection:
            return {row.code: row.streams for row in connection.execute(query)}

    def receipts_missing(self) -> int:
        """Receipts that did not come in time, and have not come since."""
        query = sa.select(sa.func.count()).select_from(MISSING).where(MISSING.c.answered_at == "")
        with self._store.read() as connection:
            return int(connection.scalar(query) or 0)

    def unapplied_since(self) -> str:
        """When the oldest batch was accepted that is not applied; empty if there is none."""
        with self._store.read() as connection:
            places = list(self._unapplied(connection))
            if not places:
                return ""
            return str(connection.scalar(sa.select(ACT.c.at).where(ACT.c.lsn == min(places))) or "")

    def _unapplied(self, connection: sa.Connection) -> Iterator[int]:
        """The act by which the first batch beyond its apply mark was accepted, of each stream that has one."""
        accepted = sa.select(MARK).where(MARK.c.stage == ACCEPTED).subquery()
        applied = sa.select(MARK).where(MARK.c.stage == APPLIED).subquery()
        done = sa.func.coalesce(applied.c.lsn, 0)
        behind = (
            sa.select(accepted.c.stream, accepted.c.incarnation, applied.c.seq.label("seq"))
            .select_from(accepted.outerjoin(applied, applied.c.stream == accepted.c.stream))
            .where(accepted.c.lsn > done)
            .order_by(done, accepted.c.stream)
            .limit(STREAMS_MAX)
        )
        for row in connection.execute(behind).all():
            first = sa.select(HEADER.c.lsn).where(
                HEADER.c.stream == row.stream,
                HEADER.c.incarnation == row.incarnation,
                HEADER.c.seq > (row.seq or 0),
            )
            found = connection.scalar(first.order_by(HEADER.c.seq).limit(1))
            if found is not None:
                yield int(found)

    def unanswered_since(self, stream: StreamId, receiver: Endpoint) -> str:
        """When the oldest submission of a stream was sealed that a receiver said nothing of; empty if there is none."""
        name = str(stream)
        said = sa.select(RECEIPT.c.seq).where(
            RECEIPT.c.receiver == str(receiver), RECEIPT.c.stream == name, RECEIPT.c.stage.in_(_ANSWERS)
        )
        with self._store.read() as connection:
            newest = connection.scalar(said.order_by(RECEIPT.c.seq.desc()).limit(1)) or 0
            incarnation = connection.scalar(sa.select(STREAM.c.incarnation).where(STREAM.c.stream == name))
            first = sa.select(HEADER.c.made_at).where(
                HEADER.c.stream == name,
                HEADER.c.incarnation == (incarnation or ""),
                HEADER.c.seq > newest,
                HEADER.c.kind == Kind.MANIFEST,
            )
            return str(connection.scalar(first.order_by(HEADER.c.seq).limit(1)) or "")
