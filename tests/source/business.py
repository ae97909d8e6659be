"""Small business databases in the shapes of old systems, and the reading and capturing of them by real parts."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl
import psycopg

from jinbao.appliance.adapters import SourceCapture
from jinbao.appliance.settings import SourceSettings
from jinbao.flow.ports import Captured
from jinbao.journal.ledger import Ledger
from jinbao.journal.segments import SegmentShelf
from jinbao.model import acts
from jinbao.sample.schema import KEYS, TABLES
from jinbao.source.capture import BY_CONTENT, CaptureFiles, Trust, capture_table, find_table, key_of
from jinbao.source.kept import OP, Kept
from jinbao.source.reader import Source
from jinbao.source.state import SourceState, StateProjection
from jinbao.store.engine import Store
from jinbao.store.files import Files
from jinbao.store.migrations import upgrade

Row = Mapping[str, Any]  # any cell value

ROOMS = Path(acts.__file__).parent.parent
NEEDED = {"AB01": {"AAB001", "AAB004"}, "AC01": {"AAC001", "AAC002", "AAC003"}}
"""What the mappings of these tests read of each table."""


def person(number: int, **cells: Any) -> dict[str, Any]:
    """A row of AC01 with a number of its own; `cells` replace the usual ones."""
    usual = {"AAC002": f"14019919800303{number:04d}", "AAC003": "王力", "AAC004": "M", "AAC006": 19800303}
    return {"AAC001": f"1401P{number:09d}"} | usual | cells


def employer(number: int) -> dict[str, Any]:
    """A row of AB01."""
    return {"AAB001": f"1401E{number:08d}", "AAB004": f"样例第{number}单位", "BAB103": "12.50"}


def definition(table: str, *, key: bool = True) -> str:
    """SQL that makes a table of the legacy schema, with or without its primary key."""
    columns = [f'"{name}" {kind}' for name, kind in TABLES[table].items()]
    names = ", ".join(f'"{name}"' for name in KEYS[table])
    return f'CREATE TABLE "{table}" ({", ".join([*columns, f"PRIMARY KEY ({names})"] if key else columns)})'


def run_sqlite(path: Path, *statements: str) -> str:
    """Execute statements on a SQLite file, made if need be; returns its URL."""
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return f"sqlite:///{path}"


def put_sqlite(path: Path, table: str, rows: Sequence[Row]) -> None:
    """Insert rows; bytes are stored as text, whatever they mean, as old loaders did."""
    with closing(sqlite3.connect(path)) as connection:
        for row in rows:
            marks = ", ".join("CAST(? AS TEXT)" if isinstance(v, bytes) else "?" for v in row.values())
            names = ", ".join(f'"{name}"' for name in row)
            connection.execute(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', list(row.values()))
        connection.commit()


def county(path: Path, persons: Sequence[Row], employers: Sequence[Row] = ()) -> str:
    """A county's SQLite file with AB01 and AC01; returns its URL."""
    url = run_sqlite(path, definition("AB01"), definition("AC01"))
    put_sqlite(path, "AC01", persons)
    put_sqlite(path, "AB01", employers)
    return url


def run_postgresql(url: str, *statements: str) -> None:
    """Execute statements on a PostgreSQL database, each in its own transaction."""
    plain = url.replace("postgresql+psycopg://", "postgresql://", 1)
    with psycopg.connect(plain, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def insert(table: str, row: Row) -> str:
    """SQL text that inserts one row of plain values."""
    values = ", ".join("NULL" if v is None else f"'{v}'" for v in row.values())
    names = ", ".join(f'"{name}"' for name in row)
    return f'INSERT INTO "{table}" ({names}) VALUES ({values})'


def read(url: str, table: str, encoding: str = "utf-8") -> pl.DataFrame:
    """All rows of a table as the reader words them, the columns of all batches."""
    with Source("county", url, encoding).snapshot() as snapshot:
        shape = find_table(snapshot.tables(), "county", table)
        return pl.concat(list(snapshot.batches(shape)), how="diagonal")


class Desk:
    """Captures one table again and again, each run compared with the one before."""

    def __init__(self, url: str, table: str, directory: Path, *keys: str, encoding: str = "utf-8") -> None:
        self.source, self.table, self.keys = Source("county", url, encoding), table, keys
        self.directory, self.numbers = directory, count(1)
        self.previous: Kept | None = None
        self.changes: pl.DataFrame | None = None

    def capture(self, trust: Trust = BY_CONTENT) -> CaptureFiles:
        """One run; keeps its files for the next."""
        directory = self.directory / f"run-{next(self.numbers)}"
        directory.mkdir(parents=True)
        with self.source.snapshot() as snapshot:
            shape = find_table(snapshot.tables(), self.source.name, self.table)
            key = key_of(shape, self.source.name, self.keys)
            files = capture_table(snapshot, shape, key, self.previous, directory, trust)
        if files.folded is not None:
            self.previous = Kept(files.folded)
        if files.current is not None:
            self.previous = Kept(files.current)
        elif files.changes is not None:
            assert self.previous is not None, "changes follow something"
            self.previous = Kept(self.previous.base, [*self.previous.changes, files.changes])
        self.changes = pl.read_parquet(files.changes) if files.changes else None
        if self.changes is not None and files.changes == files.current:  # a whole table: every row is new
            self.changes = self.changes.with_columns(pl.lit("U").alias(OP))
        return files

    def rows(self) -> pl.DataFrame:
        """The rows as they were captured last."""
        assert self.previous is not None
        return self.previous.lazy(list(self.previous.schema)).collect()


class Production:
    """The part of a production zone that captures: a real store, ledger, shelf and state."""

    def __init__(self, directory: Path, *sources: SourceSettings, reserve_bytes: int = 0) -> None:
        self.shelf = SegmentShelf(directory / "segments", Files())
        self.store = Store(f"sqlite:///{directory / 'zone.db'}", directory / "stage")
        upgrade(self.store.writer, [ROOMS / room / "migrations" for room in ("journal", "source")])
        self.state = SourceState(self.store)
        self._ledger = Ledger(self.store, (StateProjection(),), lambda: "2024-11-01T00:00:00Z")
        self._sources, self.reserve_bytes = sources, reserve_bytes
        self.day = date(2024, 11, 1)

    def run(self) -> Captured:
        """One capture run, numbered and recorded as the outbound flow does."""
        run = self.state.last_run() + 1
        today = lambda: self.day  # noqa: E731
        capture = SourceCapture(self._sources, NEEDED, self.state, self.shelf, self.reserve_bytes, today)
        captured = capture.run(run)
        self._ledger.record(acts.captured(f"run-{run:06d}", captured.tables))
        return captured
