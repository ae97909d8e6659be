"""A business database altered or lost in mid-read: refused and read anew, never half a table, never an empty one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from tests.postgres import fresh_database
from tests.servers import OwnServer
from tests.source.business import (
    Desk,
    Production,
    county,
    definition,
    insert,
    person,
    run_postgresql,
    run_sqlite,
)

from jinbao.appliance.settings import SourceSettings
from jinbao.conversion.values import convert_texts
from jinbao.model.errors import SourceError
from jinbao.model.standard import Item, ItemType
from jinbao.source import reader
from jinbao.source.capture import find_table
from jinbao.source.decode import UNDECODABLE
from jinbao.source.reader import Snapshot, Source

Open = Callable[..., Production]

PERSONS = [person(count) for count in range(30)]


def server_with_persons() -> str:
    """A fresh PostgreSQL database with AB01 and thirty rows of AC01."""
    url = fresh_database()
    rows = [insert("AC01", row) for row in PERSONS]
    run_postgresql(url, definition("AB01"), definition("AC01"), *rows)
    return url


def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Do something once, between the reading of the catalogue and the reading of rows."""
    real, acts = reader.AdbcSnapshot.tables, iter([act])

    def tables(snapshot: reader.AdbcSnapshot) -> dict[str, reader.TableShape]:
        found = real(snapshot)
        next(acts, lambda: None)()
        return found

    monkeypatch.setattr(reader.AdbcSnapshot, "tables", tables)


def rows_of(zone: Production) -> int:
    """Rows of AC01 in the newest capture."""
    return next(t.rows for t in zone.state.captured_tables() if t.table == "AC01")


@pytest.mark.database
@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ('ALTER TABLE "AC01" DROP COLUMN "AAC004"', "42703"),
        ('ALTER TABLE "AC01" ALTER COLUMN "AAC006" TYPE numeric(20, 2) USING 1', "rewritten"),
        ('ALTER TABLE "AC01" ADD COLUMN "X" text DEFAULT gen_random_uuid()', "rewritten"),
        ('TRUNCATE "AC01"', "rewritten"),
        ('DROP TABLE "AC01"', "42P01"),
        ('ALTER TABLE "AC01" RENAME TO "OLD"; CREATE TABLE "AC01" AS SELECT * FROM "OLD"', "rewritten"),
    ],
    ids=["column dropped", "type changed", "column filled", "emptied", "dropped", "made anew"],
)
def test_a_table_altered_before_it_is_read_is_refused(
    production: Open, monkeypatch: pytest.MonkeyPatch, statement: str, code: str
) -> None:
    """Whatever was done to a PostgreSQL table after the snapshot began: the run is refused, no row counts as deleted."""
    url = server_with_persons()
    zone = production(SourceSettings(name="county", url=url))
    zone.run()
    meanwhile(monkeypatch, lambda: run_postgresql(url, statement))

    with pytest.raises(SourceError) as found:
        zone.run()

    assert found.value.expected == "the table as it was when the run began"
    assert "made again by itself" in found.value.next_step
    assert ("altered" in str(found.value.got)) == (code == "rewritten")
    assert (zone.state.last_run(), rows_of(zone)) == (1, 30)


@pytest.mark.database
@pytest.mark.parametrize(
    "statement",
    ['ALTER TABLE "AC01" ADD COLUMN "X" text', 'DELETE FROM "AC01"', 'CREATE TABLE "X" (a int)'],
    ids=["column added", "rows deleted", "another table"],
)
def test_what_a_snapshot_covers_disturbs_no_run(
    production: Open, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    """A column that is only added, or rows that go, after the snapshot began: the run sees the table as it was."""
    url = server_with_persons()
    zone = production(SourceSettings(name="county", url=url))
    meanwhile(monkeypatch, lambda: run_postgresql(url, statement))

    zone.run()

    assert rows_of(zone) == 30


@pytest.mark.database
def test_an_altered_table_is_read_anew_by_the_next_run(
    production: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the refusal the next run reads the table as it is now, every row as changed and none as deleted."""
    url = server_with_persons()
    zone = production(SourceSettings(name="county", url=url))
    zone.run()
    change = 'ALTER TABLE "AC01" ALTER COLUMN "AAC006" TYPE numeric(20, 2)'
    meanwhile(monkeypatch, lambda: run_postgresql(url, change))
    with pytest.raises(SourceError):
        zone.run()

    captured = zone.run()

    [table] = [t for t in captured.tables if t.table == "AC01"]
    assert (table.rows, table.upserts, table.deletes) == (30, 30, 0)


@pytest.mark.parametrize("journal", ["wal", "delete"])
@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE AC01 DROP COLUMN AAC004",
        "ALTER TABLE AC01 ADD COLUMN X",
        "DROP TABLE AC01",
        "DELETE FROM AC01",
    ],
)
def test_a_sqlite_table_cannot_be_altered_in_mid_read(
    tmp_path: Path, production: Open, monkeypatch: pytest.MonkeyPatch, journal: str, statement: str
) -> None:
    """A SQLite source's snapshot holds its schema: whoever alters a table meanwhile waits, or is not seen."""
    url = county(tmp_path / "c.db", PERSONS)
    run_sqlite(tmp_path / "c.db", f"PRAGMA journal_mode={journal}")
    zone = production(SourceSettings(name="county", url=url))
    said: list[str] = []
    meanwhile(monkeypatch, lambda: said.append(elsewhere(tmp_path / "c.db", statement)))

    zone.run()

    assert rows_of(zone) == 30
    assert said == ["database is locked" if journal == "delete" else ""]


ELSEWHERE = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], timeout=0.1)
try:
    database.execute(sys.argv[2])
    database.commit()
except sqlite3.OperationalError as exc:
    print(exc)
"""


def elsewhere(path: Path, statement: str) -> str:
    """Execute a statement on a SQLite file from a process of its own, as its owner does; what kept it from it."""
    ran = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, path, statement], capture_output=True, text=True, check=True
    )
    return ran.stdout.strip()


@pytest.fixture
def server() -> Iterator[OwnServer]:
    """A server that tests kill."""
    made = OwnServer()
    yield made
    made.close()


def read_and(source: Source, act: Callable[[], object]) -> None:
    """Read AC01 in small batches, and do something after the first."""
    with source.snapshot() as snapshot:
        batches = _batches(snapshot)
        next(batches)
        act()
        for _ in batches:
            pass


def _batches(snapshot: Snapshot) -> Iterator[pl.DataFrame]:
    return snapshot.batches(find_table(snapshot.tables(), "county", "AC01"))


@pytest.mark.database
def test_a_source_that_goes_away_in_mid_read_is_no_full_disk(
    server: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server killed, or a session ended, while rows are read: the source's own error, and what it quotes is left out."""
    url = server.sqlalchemy_url()
    filling = """INSERT INTO "AC01" ("AAC001", "AAC003") SELECT g::text, repeat('x', 50) FROM generate_series(1, 60000) g"""
    run_postgresql(url, definition("AC01"), filling)
    monkeypatch.setattr(
        reader.AdbcSnapshot, "_options", lambda _: {"adbc.postgresql.batch_size_hint_bytes": "65536"}
    )
    source = Source("county", url)
    ending = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY%AC01%'"

    for act in (lambda: server.run(ending), server.kill):
        with pytest.raises(SourceError) as found:
            read_and(source, act)

        assert found.value.expected == "a database that answers until all is read"
        assert found.value.next_step == "capture is made again by itself"

    with pytest.raises(SourceError) as down:
        read_and(source, list)
    assert down.value.expected == "a database that answers"
    server.start()
    read_and(source, list)


@pytest.mark.database
def test_a_value_that_cannot_be_worded_is_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the database's own cast fails on a row, the run ends in words that hold nothing of the row."""
    url = fresh_database()
    run_postgresql(url, definition("AC01"), insert("AC01", person(1, AAC003="张三")))
    cast = reader.PostgresCatalogue.text
    monkeypatch.setattr(
        reader.PostgresCatalogue,
        "text",
        lambda self, column, *, raw: f"{cast(self, column, raw=raw)}::int::text",
    )

    with pytest.raises(SourceError) as found:
        read_and(Source("county", url), list)

    assert "invalid input syntax for type integer" in str(found.value)
    assert "1401P" not in str(found.value)
    assert "张三" not in str(found.value)


@pytest.mark.database
def test_one_undecodable_row_of_an_ascii_server_is_kept_and_found(server: OwnServer, tmp_path: Path) -> None:
    """A PostgreSQL of SQL_ASCII hands out any bytes: the row is kept with its bytes in hex, the others as they are."""
    name = server.fresh_database("ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    url = server.sqlalchemy_url(name)
    broken = r"""INSERT INTO "AC01" ("AAC001", "AAC003") VALUES ('9', E'\xcd\xf5\xff')"""
    with server.session(name) as session:
        for statement in (definition("AC01"), """INSERT INTO "AC01" ("AAC001") VALUES ('1')""", broken):
            session.execute(statement.encode())
    desk = Desk(url, "AC01", tmp_path / "runs")

    files = desk.capture()

    assert files.findings == ("1 rows hold bytes that do not decode",)
    rows = desk.rows().sort("AAC001").select("AAC001", UNDECODABLE).rows()
    assert rows == [("1", None), ("9", "AAC003=cdf5ff")]


@pytest.mark.database
def test_a_number_beyond_64_bits_is_a_finding_of_its_row(tmp_path: Path) -> None:
    """A numeric that does not fit a scaled 64-bit integer, or is none, stops no run: its row has a finding, others pass."""
    url = fresh_database()
    run_postgresql(url, """CREATE TABLE "AC02" ("AAC001" text PRIMARY KEY, "AAC040" numeric)""")
    numbers = ["92233720368547758.07", "92233720368547758.08", "1e30", "NaN", "Infinity", "-0.01", "1.005"]
    for at, number in enumerate(numbers):
        run_postgresql(url, f"""INSERT INTO "AC02" VALUES ('{at}', '{number}')""")
    desk = Desk(url, "AC02", tmp_path / "runs")
    desk.capture()

    texts = desk.rows().sort("AAC001").get_column("AAC040")
    judged = convert_texts(Item("AAC040", "", "", ItemType.AMOUNT, 40, 2), texts, {})

    assert judged.wrong is not None
    assert judged.values.to_list() == [2**63 - 1, None, None, None, None, -1, None]
    assert judged.wrong.to_list() == [False, True, True, True, True, False, True]
