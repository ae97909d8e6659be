"""Stages: how columns enter and leave a zone database without becoming Python rows.

In: SQLite rows go to a separate file through ADBC, closed before the writer attaches it;
PostgreSQL rows go by COPY into a temporary table on the transaction's own connection.
Out: SQLite rows are copied by the same `sqlite3` into a separate file that ADBC then
reads; PostgreSQL by ADBC. ADBC never opens a zone's SQLite file: its own SQLite library
beside Python's on one file loses committed rows.
"""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa

_COPY_ROWS = 65_536


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
        _write_sqlite(path, frames)

    def load(self, connection: sa.Connection) -> sa.TableClause:
        """Return the attached table."""
        del connection  # attached by the store, before BEGIN
        return sa.table("rows", *(sa.column(c) for c in self.columns), schema=self.name)

    def close(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)


class PostgresStage(Stage):
    """Rows copied into a temporary table that the commit drops."""

    def __init__(self, name: str, columns: Sequence[str], frames: Frames) -> None:
        super().__init__(name, columns)
        self._frames = frames
        self._loaded = False

    def load(self, connection: sa.Connection) -> sa.TableClause:
        """COPY once, then return the table."""
        table = sa.table(self.name, *(sa.column(c) for c in self.columns))
        if not self._loaded:
            _copy_postgres(connection, self.name, self._frames)
            self._loaded = True
        return table


def _write_sqlite(path: Path, frames: Frames) -> None:
    import adbc_driver_sqlite.dbapi as adbc  # noqa: PLC0415  # a start-up cost only bulk work pays

    with adbc.connect(str(path)) as connection:
        with connection.cursor() as cursor:
            for frame in frames():
                cursor.adbc_ingest("rows", frame.to_arrow(), mode="create_append")
        connection.commit()


def _copy_postgres(connection: sa.Connection, name: str, frames: Frames) -> None:
    raw: Any = connection.connection.driver_connection
    made = False
    for frame in frames():
        if not made:
            types = {c: "text" if t == pl.String else "bigint" for c, t in frame.schema.items()}
            columns = ", ".join(f'"{c}" {t}' for c, t in types.items())
            connection.exec_driver_sql(f"CREATE TEMPORARY TABLE {name} ({columns}) ON COMMIT DROP")
            made = True
        with raw.cursor() as cursor, cursor.copy(f"COPY {name} FROM STDIN (FORMAT csv)") as copy:
            for block in frame.iter_slices(_COPY_ROWS):
                text = io.BytesIO()
                block.write_csv(text, include_header=False, quote_style="non_numeric", null_value="")
                copy.write(text.getvalue())


def read_sqlite(database: str, query: str, schema: Mapping[str, pl.DataType], path: Path) -> pl.DataFrame:
    """Copy the rows of `query` into the file at `path`, read it as columns and remove it."""
    import adbc_driver_sqlite.dbapi as adbc  # noqa: PLC0415

    owner = sqlite3.connect(database, timeout=30)
    try:
        owner.execute("PRAGMA wal_autocheckpoint=0")
        owner.execute("ATTACH DATABASE ? AS outgoing", (str(path),))
        owner.execute("PRAGMA outgoing.journal_mode=OFF")
        owner.execute(f"CREATE TABLE outgoing.rows AS {query}")
        owner.commit()
        owner.execute("DETACH DATABASE outgoing")
    finally:
        owner.close()
    try:
        with adbc.connect(str(path)) as connection, connection.cursor() as cursor:
            names = ", ".join(f'"{c}"' for c in schema)
            cursor.execute(f"SELECT {names} FROM rows")
            table = cursor.fetch_arrow_table()
    finally:
        path.unlink(missing_ok=True)
    return _shaped(table, schema)


def read_postgres(url: sa.URL, query: str, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Read the rows of `query` as columns, on a connection of its own."""
    import adbc_driver_postgresql.dbapi as adbc  # noqa: PLC0415

    uri = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with adbc.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return _shaped(cursor.fetch_arrow_table(), schema)


def _shaped(table: Any, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame.select(pl.col(name).cast(dtype) for name, dtype in schema.items())
