"""How one submission's staged rows become a library table's rows, on each kind of database.

A snapshot replaces the rows of its origin; a change writes the keys it names and deletes
those it says are gone. Every row written carries the submission's seq, on both databases
alike. A key that is there twice is refused by the database. Nothing here commits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from jinbao.library.tables import ORIGIN, SEQ
from jinbao.model.standard import Table
from jinbao.store.engine import Transaction
from jinbao.store.partition import Part
from jinbao.store.stage import Stage

OP = "op"
DELETE = "D"
_REWRITE_FACTOR = 4
"""From a quarter of a part on, a change costs no more written as a new part: at all keys half (ADR 0018)."""


_APART_ROWS = 100_000
"""Rows from which a load is worth sessions of its own: a second of work."""


@dataclass(frozen=True)
class Merge:
    """Staged rows of one table of one submission; `rows` counts them, deletes too."""

    target: sa.Table
    table: Table
    stage: Stage
    origin: str
    seq: int
    rows: int
    snapshot: bool

    @property
    def of_origin(self) -> sa.ColumnElement[bool]:
        """Rows of the origin in the target."""
        return self.target.c[ORIGIN] == self.origin


class Merger(Protocol):
    """One kind of database's way to merge."""

    def merge(self, tx: Transaction, merge: Merge) -> None:
        """Write the rows, but for what `settle` does."""
        ...

    def settle(self, tx: Transaction) -> None:
        """Do at the end of a submission what keeps readers out."""
        ...


def merger(tx: Transaction) -> Merger:
    """The way of this transaction's database."""
    return SqliteMerger() if tx.connection.dialect.name == "sqlite" else PostgresMerger()


class SqliteMerger:
    """A snapshot deletes and inserts; a change is written in place, found by its keys."""

    def merge(self, tx: Transaction, merge: Merge) -> None:
        """Replace the origin's rows by a snapshot, or upsert and delete the keys a change names."""
        rows = tx.staged(merge.stage)
        if merge.snapshot:
            tx.execute(merge.target.delete().where(merge.of_origin))
            tx.execute(_filled(sa.insert(merge.target), merge, rows))
        else:
            _refuse_doubled(tx, merge, rows)
            tx.execute(_gone(merge, rows))
            tx.execute(_upsert(sqlite.insert(merge.target), merge, rows))

    def settle(self, tx: Transaction) -> None:
        """Nothing: readers of SQLite are never kept out."""


class PostgresMerger:
    """Whole parts are loaded beside the table and swapped in last; small changes touch the keys they name."""

    def __init__(self) -> None:
        self._loaded: list[Part] = []

    def merge(self, tx: Transaction, merge: Merge) -> None:
        """Load or rewrite the origin's part, or upsert into it."""
        part = Part(tx.connection, merge.target, ORIGIN, merge.origin)
        if merge.snapshot or not part.exists():
            self._load(tx, merge, part)
        elif part.holds(merge.rows * _REWRITE_FACTOR):
            rows = tx.staged(merge.stage)
            tx.execute(_gone(merge, rows))
            tx.execute(_upsert(postgresql.insert(merge.target), merge, rows))
        else:
            self._rewrite(tx, merge, part)

    def settle(self, tx: Transaction) -> None:
        """Swap every loaded part in, in one order of tables, when nothing slow is left to do."""
        del tx
        for part in sorted(self._loaded, key=lambda part: part.table.name):
            part.swap()

    def _load(self, tx: Transaction, merge: Merge, part: Part) -> None:
        _copy(tx, merge, part)
        part.finish()
        self._loaded.append(part)

    def _rewrite(self, tx: Transaction, merge: Merge, part: Part) -> None:
        """A new part of the change's rows and of the old ones it does not name."""
        gone = f"{merge.stage.name}_gone"
        keys = [merge.target.c[k] for k in merge.table.key]
        types = ", ".join(f'"{k.name}" {k.type.compile(tx.connection.dialect)}' for k in keys)
        # The server has most to do with the new rows: they go first, while rows are still being judged.
        _copy(tx, merge, part)
        tx.connection.exec_driver_sql(f"CREATE TEMPORARY TABLE {gone} ({types}) ON COMMIT DROP")
        tx.copy(merge.stage, gone, merge.table.key, pl.col(OP) == DELETE)
        names = ", ".join(f'"{column.name}"' for column in merge.target.columns)
        others = " AND ".join(
            f"NOT EXISTS (SELECT FROM {named} AS new WHERE {_same(merge.table)})"
            for named in (part.fresh, gone)
        )
        tx.connection.exec_driver_sql(
            f"INSERT INTO {part.fresh} ({names}) SELECT {names} FROM {part.name} AS old WHERE {others}"
        )
        part.finish()
        self._loaded.append(part)


def _same(table: Table) -> str:
    return " AND ".join(f'new."{key}" = old."{key}"' for key in table.key)


def _copy(tx: Transaction, merge: Merge, part: Part) -> None:
    defaults, is_row = {SEQ: merge.seq}, pl.col(OP) != DELETE
    if tx.sessions > 1 and merge.rows > _APART_ROWS:
        with tx.connection.engine.begin() as apart:
            part.create(apart, **defaults)
        tx.copy_apart(merge.stage, part.fresh, merge.table.columns, is_row)
    else:
        part.create(**defaults)
        tx.copy(merge.stage, part.fresh, merge.table.columns, is_row, freeze=True)


def _refuse_doubled(tx: Transaction, merge: Merge, rows: sa.TableClause) -> None:
    """Let SQLite refuse a key that is there twice, of which its upsert would keep the last."""
    keys = ", ".join(f'"{key}"' for key in merge.table.key)
    where = f"\"{OP}\" <> '{DELETE}'"
    tx.connection.exec_driver_sql(f"CREATE UNIQUE INDEX {rows.schema}.by_key ON rows ({keys}) WHERE {where}")


def _gone(merge: Merge, rows: sa.TableClause) -> sa.Delete:
    """Delete the keys that a change says are gone."""
    keys = merge.table.key
    named = sa.select(sa.literal(merge.origin), *(rows.c[k] for k in keys)).where(rows.c[OP] == DELETE)
    place = sa.tuple_(merge.target.c[ORIGIN], *(merge.target.c[k] for k in keys))
    return merge.target.delete().where(place.in_(named))


def _filled(insert: Any, merge: Merge, rows: sa.TableClause) -> Any:
    """The insert of all rows that are not deletes, with origin and seq."""
    columns = merge.table.columns
    values = [sa.literal(merge.origin), *(rows.c[c] for c in columns), sa.literal(merge.seq, sa.BigInteger)]
    return insert.from_select([ORIGIN, *columns, SEQ], sa.select(*values).where(rows.c[OP] != DELETE))


def _upsert(insert: Any, merge: Merge, rows: sa.TableClause) -> Any:
    filled = _filled(insert, merge, rows)
    written = [name for name in (*merge.table.columns, SEQ) if name not in merge.table.key]
    return filled.on_conflict_do_update(
        index_elements=[ORIGIN, *merge.table.key], set_={name: filled.excluded[name] for name in written}
    )
