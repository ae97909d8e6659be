"""Stages: how columns enter and leave a zone database without becoming Python rows.

In: SQLite rows go to a separate file through ADBC, closed before the writer attaches it;
PostgreSQL rows go by binary COPY on the transaction's own connection, into a temporary
table or straight into a table of the caller. Out: SQLite rows are copied by the same
`sqlite3` into a separate file that ADBC then reads (PostgreSQL: `reading`). Both come block
by block. ADBC never opens a zone's SQLite file: its own SQLite library beside Python's
on one file loses committed rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path

import polars as pl
import sqlalchemy as sa

from jinbao.model.errors import LocalError
from jinbao.store.ahead import ahead
from jinbao.store.copying import copy_apart, copy_frames, sql_type
from jinbao.store.reading import blocks_of

_READ_ROWS = 65_536

Frames = Callable[[], Iterator[pl.DataFrame]]
"""Opens the rows to stage, block by block; all blocks have the columns of the first."""


class Stage:
    """Rows prepared for one transaction; `name` is unique in its store, `columns` in order."""

    def __init__(self, name: str, columns: Sequence[str]) -> None:
        self.name = name
        self.columns = tuple(columns)

    def load(self, connection: sa.Connection) -> sa.TableClause:
        """Make the rows readable on `connection` and return them as a table."""
        raise AssertionError(connection)  # abstract

    def close(self) -> None:
        """Forget the rows; called at the end of the transaction, whatever its end."""


class SqliteStage(Stage):
    """Rows in a file of their own, attached under the stage's name."""

    def __init__(self, name: str, columns: Sequence[str], frames: Frames, path: Path) -> None:
        super().__init__(name, columns)
        self.path = path
        _write_sqlite(path, _checked(frames))

    def load(self, connection: sa.Connection) -> sa.TableClause:
        """Return the attached table."""
        del connection  # attached by the store, before BEGIN
        return sa.table("rows", *(sa.column(c) for c in self.columns), schema=self.name)

    def close(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)


class PostgresStage(Stage):
    """Rows copied when they are asked for: into a temporary table that the commit drops, or elsewhere."""

    def __init__(self, name: str, columns: Sequence[str], frames: Frames) -> None:
        super().__init__(name, columns)
        self._frames = frames
        self._loaded = False

    def load(self, connection: sa.Connection) -> sa.TableClause:
        """COPY once, then return the table."""
        if not self._loaded:
            frames = _checked(self._frames)
            first = next(frames)
            columns = ", ".join(f'"{c}" {sql_type(first.schema[c])}' for c in self.columns)
            connection.exec_driver_sql(f"CREATE TEMPORARY TABLE {self.name} ({columns}) ON COMMIT DROP")
            copy_frames(connection, self.name, self.columns, chain([first], frames))
            self._loaded = True
        return sa.table(self.name, *(sa.column(c) for c in self.columns))

    def copy(
        self,
        connection: sa.Connection,
        table: str,
        columns: Sequence[str],
        only: pl.Expr,
        *,
        freeze: bool = False,
    ) -> None:
        """COPY `columns` of the rows that are `only` so into `table`; the rows are read anew each time."""
        copy_frames(connection, table, columns, self._only(only), freeze=freeze)

    def copy_apart(
        self, engine: sa.Engine, sessions: int, table: str, columns: Sequence[str], only: pl.Expr
    ) -> None:
        """The same in several sessions at once, each of which commits what it copied."""
        copy_apart(engine, sessions, table, columns, self._only(only))

    def _only(self, only: pl.Expr) -> Iterator[pl.DataFrame]:
        return (frame.filter(only) for frame in _checked(self._frames))


def _checked(frames: Frames) -> Iterator[pl.DataFrame]:
    """The blocks, their columns text or 64-bit integers. Raises LocalError for any other, or a number beyond."""
    for frame in frames():
        for name, dtype in frame.schema.items():
            if dtype != pl.String and not dtype.is_integer():
                raise LocalError(f"staged column {name}", expected="text or 64-bit integers", got=dtype)
            if dtype in {pl.UInt64, pl.Int128, pl.UInt128}:
                fits = frame.get_column(name).cast(pl.Int128).is_between(-(2**63), 2**63 - 1)
                beyond = (~fits).sum()
                if beyond:
                    found = f"{beyond} beyond"
                    raise LocalError(f"staged column {name}", expected="integers of 64 bits", got=found)
        yield frame.with_columns(pl.col(n).cast(pl.Int64) for n, t in frame.schema.items() if t != pl.String)


def _write_sqlite(path: Path, frames: Iterator[pl.DataFrame]) -> None:
    import adbc_driver_sqlite.dbapi as adbc  # noqa: PLC0415  # a start-up cost only bulk work pays

    with adbc.connect(str(path), autocommit=True) as connection, connection.cursor() as cursor:
        # A stage that did not come to its commit is thrown away: nothing of it need survive.
        for pragma in ("journal_mode=OFF", "synchronous=OFF"):
            cursor.execute(f"PRAGMA {pragma}")
        for frame in frames:
            cursor.adbc_ingest("rows", frame.to_arrow(), mode="create_append")


def read_sqlite(
    database: str, query: str, schema: Mapping[str, pl.DataType], path: Path
) -> Iterator[pl.DataFrame]:
    """Copy the rows of `query` into the file at `path`, read it block by block and remove it."""
    import adbc_driver_sqlite.dbapi as adbc  # noqa: PLC0415

    try:
        _copy_out(database, query, path)
        with adbc.connect(str(path)) as connection, connection.cursor() as cursor:
            cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(_READ_ROWS)})
            names = ", ".join(f'"{c}"' for c in schema)
            cursor.execute(f"SELECT {names} FROM rows")
            with closing(ahead(blocks_of(cursor, schema), "read")) as blocks:
                yield from blocks
    finally:
        path.unlink(missing_ok=True)


def _copy_out(database: str, query: str, path: Path) -> None:
    owner = sqlite3.connect(database, timeout=30)
    try:
        owner.execute("PRAGMA wal_autocheckpoint=0")
        owner.execute("ATTACH DATABASE ? AS outgoing", (str(path),))
        owner.execute("PRAGMA outgoing.journal_mode=OFF")
        owner.execute("PRAGMA outgoing.synchronous=OFF")
        owner.execute(f"CREATE TABLE outgoing.rows AS {query}")
        owner.commit()
        owner.execute("DETACH DATABASE outgoing")
    finally:
        owner.close()
