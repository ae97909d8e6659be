"""The ledger: records acts, each with its projections, in one transaction.

`record` is the only way anything becomes durable in a zone's database. Acts form a hash
chain over their exact bytes, so that a change of the journal itself is found.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from jinbao.journal.statements import NEWEST_ACT
from jinbao.journal.tables import ACT
from jinbao.model.acts import Act, Entry
from jinbao.model.errors import LocalError
from jinbao.model.failpoint import declare, hit
from jinbao.store.engine import Store, Transaction
from jinbao.store.projection import Projection, Recorded
from jinbao.store.stage import Stage

RECORD_BEFORE = declare("ledger.before_record", "acts and their bulk rows are staged, no transaction is open")
RECORD_AFTER = declare(
    "ledger.after_record", "acts are durable, the step that recorded them does not know yet"
)

GENESIS = ""

_PAGE = 100


def body_text(body: Mapping[str, Any]) -> str:
    """An act's body as the bytes that are hashed: JSON, sorted keys, no spaces."""
    return json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def act_hash(previous: str, lsn: int, kind: str, body: str, at: str) -> str:
    """SHA-256 over the act and the hash before it."""
    return hashlib.sha256("\n".join([previous, str(lsn), kind, at, body]).encode()).hexdigest()


class Ledger:
    """Append-only acts over a store; `projections` are the rooms' readings of them."""

    def __init__(self, store: Store, projections: Sequence[Projection], now: Callable[[], str]) -> None:
        self._store = store
        self._projections = tuple(projections)
        self._now = now

    def record(self, *acts: Act) -> None:
        """Make acts durable together with everything they mean, or none of them.

        Bulk rows are staged before the transaction opens. Raises LocalError if the
        database refuses, and what an act's own bulk rows raise; nothing is then recorded.
        """
        with self._store.staging():
            staged = [self._stage(act) for act in acts]
        stages = [stage for readings in staged for _, ready in readings for stage in ready]
        at = self._now()
        hit(RECORD_BEFORE)
        with self._store.transaction(*stages) as tx:
            lsn, previous = last_act(tx)
            for act, readings in zip(acts, staged, strict=True):
                lsn += 1
                previous = self._append(tx, Recorded(lsn, act, at), previous, readings)
            for act in acts:
                if act.bulk is not None:
                    act.bulk.settle()
        hit(RECORD_AFTER)

    def _stage(self, act: Act) -> list[tuple[Projection, tuple[Stage, ...]]]:
        """The rooms that read this act, each with its bulk rows."""
        return [(p, p.stage(self._store, act)) for p in self._projections if act.kind in p.kinds]

    def _append(
        self,
        tx: Transaction,
        recorded: Recorded,
        previous: str,
        readings: Sequence[tuple[Projection, tuple[Stage, ...]]],
    ) -> str:
        body = body_text(recorded.act.body)
        digest = act_hash(previous, recorded.lsn, recorded.act.kind, body, recorded.at)
        tx.execute(
            ACT.insert(),
            {
                "lsn": recorded.lsn,
                "kind": recorded.act.kind,
                "body": body,
                "at": recorded.at,
                "previous": previous,
                "hash": digest,
            },
        )
        for projection, ready in readings:
            projection.project(tx, recorded, ready)
        return digest

    def acts(self, *, after: int = 0, limit: int = 1000, kind: str = "") -> list[Recorded]:
        """Acts after a place in the journal, in order, at most `limit`."""
        query = sa.select(ACT.c.lsn, ACT.c.kind, ACT.c.body, ACT.c.at).where(ACT.c.lsn > after)
        if kind:
            query = query.where(ACT.c.kind == kind)
        with self._store.read() as connection:
            rows = connection.execute(query.order_by(ACT.c.lsn).limit(limit)).all()
        return [Recorded(row.lsn, Act(row.kind, json.loads(row.body)), row.at) for row in rows]

    def entries(self, after: int, limit: int, bytes_max: int) -> list[Entry]:
        """Acts after a place as they are hashed, in order: at most `limit`, and of those what `bytes_max` holds."""
        query = sa.select(ACT).where(ACT.c.lsn > after).order_by(ACT.c.lsn).limit(limit)
        found: list[Entry] = []
        size = 0
        with self._store.read() as connection:
            for row in connection.execute(query).yield_per(_PAGE):
                size += len(row.body)
                if size > bytes_max and found:
                    break
                found.append(Entry(row.lsn, row.kind, row.body, row.at, row.hash))
        return found

    def replay(self, source: Iterator[Recorded]) -> int:
        """Record another journal's acts here, with their own places and times; returns how many.

        For rebuilding a zone: the database must be empty. The hash chain comes out equal. Raises LocalError for an act
        that no room here reads: a newer release recorded it, and its rows would be missing without a word.
        """
        count = 0
        known = {kind for projection in self._projections for kind in projection.kinds}
        for recorded in source:
            act = recorded.act
            if act.kind not in known:
                raise LocalError(
                    f"act {recorded.lsn}",
                    expected="one that a room of this release reads",
                    got=f"kind {act.kind[:60]}",
                    next_step="build it with the release that recorded it, or a newer one",
                )
            with self._store.staging():
                readings = self._stage(act)
            stages = [stage for _, ready in readings for stage in ready]
            with self._store.transaction(*stages) as tx:
                lsn, previous = last_act(tx)
                assert recorded.lsn == lsn + 1, "acts are replayed in order and without gaps"
                self._append(tx, recorded, previous, readings)
            count += 1
        return count


def last_act(tx: Transaction) -> tuple[int, str]:
    """Place and hash of the newest act; (0, "") in an empty journal."""
    row = tx.execute(NEWEST_ACT).first()
    return (row.lsn, row.hash) if row else (0, GENESIS)
