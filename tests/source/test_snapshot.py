"""One run reads all tables of a source as of one moment, in bounded slices, and can write nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import adbc_driver_manager
import polars as pl
import pytest
from tests.postgres import fresh_database
from tests.source.business import (
    county,
    definition,
    employer,
    insert,
    person,
    read,
    run_postgresql,
    run_sqlite,
)

from jinbao.source.reader import BATCH_ROWS, AdbcSnapshot, Snapshot, Source

WRITER = """
import sqlite3, sys
path, *statements = sys.argv[1:]
connection = sqlite3.connect(path)
for statement in statements:
    connection.execute(statement)
print("written", flush=True)
sys.stdin.read()
connection.commit()
connection.close()
"""
"""Commits when its input ends. A process of its own: two SQLite libraries in one process drop each other's locks."""


def writer(path: Path, *statements: str) -> subprocess.Popen[str]:
    """A business system that has written and not yet committed."""
    command = [sys.executable, "-c", WRITER, str(path), *statements]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    return process


def rows_of(snapshot: Snapshot, table: str) -> int:
    """How many rows a snapshot sees in a table."""
    return sum(batch.height for batch in snapshot.batches(snapshot.tables()[table]))


def test_a_commit_between_two_tables_is_not_seen_in_a_file(tmp_path: Path) -> None:
    """What a writer commits to a SQLite file after the first table was read belongs to the next run."""
    url = county(tmp_path / "c.db", [person(1)], [employer(1)])
    run_sqlite(tmp_path / "c.db", "PRAGMA journal_mode = WAL")

    with Source("county", url).snapshot() as snapshot:
        before = rows_of(snapshot, "AB01")
        writer(tmp_path / "c.db", insert("AC01", person(2)), "DELETE FROM AB01").communicate()
        after = rows_of(snapshot, "AC01"), rows_of(snapshot, "AB01")

    assert (before, after) == (1, (1, 1))
    assert (read(url, "AC01").height, read(url, "AB01").height) == (2, 0)


@pytest.mark.database
def test_a_commit_between_two_tables_is_not_seen_in_postgresql() -> None:
    """What a writer commits to PostgreSQL after the first table was read belongs to the next run."""
    url = fresh_database()
    run_postgresql(url, definition("AB01"), definition("AC01"), insert("AB01", employer(1)))
    run_postgresql(url, insert("AC01", person(1)))

    with Source("county", url).snapshot() as snapshot:
        before = rows_of(snapshot, "AB01")
        run_postgresql(url, insert("AC01", person(2)), 'DELETE FROM "AB01" WHERE "AAB001" LIKE \'%\'')
        after = rows_of(snapshot, "AC01"), rows_of(snapshot, "AB01")

    assert (before, after) == (1, (1, 1))
    assert read(url, "AC01").height == 2


def write_through(snapshot: Snapshot) -> None:
    """Try to delete all persons on the reader's own connection."""
    assert isinstance(snapshot, AdbcSnapshot)
    with snapshot._connection.cursor() as cursor:
        cursor.execute('DELETE FROM "AC01"')
    snapshot._connection.commit()


def test_the_reader_of_a_file_cannot_write(tmp_path: Path) -> None:
    """A write on the reader's connection is refused by SQLite, and the row is still there."""
    url = county(tmp_path / "c.db", [person(1)])

    with (
        Source("county", url).snapshot() as snapshot,
        pytest.raises(adbc_driver_manager.Error, match="readonly"),
    ):
        write_through(snapshot)

    assert read(url, "AC01").height == 1


@pytest.mark.database
def test_the_reader_of_postgresql_cannot_write() -> None:
    """A write on the reader's connection is refused by PostgreSQL, and the row is still there."""
    url = fresh_database()
    run_postgresql(url, definition("AC01"), insert("AC01", person(1)))

    with (
        Source("county", url).snapshot() as snapshot,
        pytest.raises(adbc_driver_manager.Error, match="read-only transaction"),
    ):
        write_through(snapshot)

    assert read(url, "AC01").height == 1


def test_a_run_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """Reading a SQLite file changes none of its bytes."""
    url = county(tmp_path / "c.db", [person(1)])
    before = (tmp_path / "c.db").read_bytes()

    read(url, "AC01")

    assert (tmp_path / "c.db").read_bytes() == before


def test_a_file_is_read_in_slices_of_the_documented_size(tmp_path: Path) -> None:
    """No slice has more than BATCH_ROWS rows, and the slices together are the table in its order."""
    count = 2 * BATCH_ROWS + 7
    numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})"
    url = run_sqlite(
        tmp_path / "c.db",
        "CREATE TABLE T (K INTEGER PRIMARY KEY)",
        f"INSERT INTO T {numbers} SELECT i FROM n",
    )

    with Source("county", url).snapshot() as snapshot:
        slices = list(snapshot.batches(snapshot.tables()["T"]))

    assert max(part.height for part in slices) <= BATCH_ROWS
    assert len(slices) == 3
    assert pl.concat(slices).get_column("K").cast(pl.Int64).to_list() == list(range(1, count + 1))


@pytest.mark.database
def test_postgresql_is_read_in_slices_of_bounded_bytes() -> None:
    """A PostgreSQL table larger than a slice leaves in several, none much above the 28 MB asked for."""
    url, count = fresh_database(), 36_000
    filled = f"INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1, {count}) i"
    run_postgresql(url, "CREATE TABLE t (k int PRIMARY KEY, v text)", filled)

    with Source("county", url).snapshot() as snapshot:
        slices = [(part.height, part.estimated_size()) for part in snapshot.batches(snapshot.tables()["T"])]

    assert sum(height for height, _ in slices) == count
    assert len(slices) > 1
    assert max(size for _, size in slices) < 1.1 * (28 << 20)


def test_a_writer_may_hold_the_file_open(tmp_path: Path) -> None:
    """A writer in the middle of its own transaction does not stop a run, and what it has not committed is not read."""
    url = county(tmp_path / "c.db", [person(1)])
    run_sqlite(tmp_path / "c.db", "PRAGMA journal_mode = WAL")

    process = writer(tmp_path / "c.db", insert("AC01", person(2)))
    seen = read(url, "AC01").height
    process.communicate()

    assert (seen, read(url, "AC01").height) == (1, 2)
