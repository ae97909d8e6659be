"""Tokens: rows are told apart by what the database says of them, and a token that lies is found out."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa
from tests.postgres import fresh_database
from tests.source.business import (
    Desk,
    county,
    definition,
    insert,
    person,
    put_sqlite,
    read,
    run_postgresql,
    run_sqlite,
)
from tests.source.conftest import Open

from jinbao.appliance.settings import SourceSettings
from jinbao.model.token import DIGEST, XMIN
from jinbao.source import capture, reader
from jinbao.source.capture import CaptureFiles, Trust
from jinbao.source.kept import CHANGES_MAX, KEY, OP

pytestmark = pytest.mark.database

PERSONS = 200


def business(rows: int = PERSONS) -> str:
    """A fresh PostgreSQL database with AC01 and a column a trigger of the business system would keep."""
    url = fresh_database()
    put = [insert("AC01", person(at)) for at in range(rows)]
    run_postgresql(
        url, definition("AC01"), *put, 'ALTER TABLE "AC01" ADD COLUMN "AAE036" bigint NOT NULL DEFAULT 1'
    )
    return url


def desk_of(url: str, directory: Path, token: str) -> Desk:
    """AC01 captured once by a token."""
    desk = Desk(url, "AC01", directory / "runs")
    desk.capture(Trust(token))
    return desk


def changed(desk: Desk, files: CaptureFiles) -> list[tuple[str, str]]:
    """Operation and key of each change."""
    del files
    return [] if desk.changes is None else sorted(desk.changes.select(OP, "AAC001").rows())


def number(at: int) -> str:
    """The key of a person."""
    return f"1401P{at:09d}"


@pytest.mark.parametrize("token", [DIGEST, XMIN, "AAE036"])
def test_only_rows_whose_token_changed_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    """A run by token reads the content of the rows that are new or changed and of no other, and finds those gone."""
    url = business()
    desk = desk_of(url, tmp_path, token)
    run_postgresql(
        url,
        f'UPDATE "AC01" SET "AAC003" = \'新名\', "AAE036" = 2 WHERE "AAC001" = \'{number(3)}\'',
        f'DELETE FROM "AC01" WHERE "AAC001" = \'{number(4)}\'',
        insert("AC01", person(999)),
    )
    asked: list[int] = []
    real = reader.AdbcSnapshot.rows_of

    def rows_of(snapshot, shape, keys, token):  # type: ignore[no-untyped-def]
        asked.append(keys.height)
        return real(snapshot, shape, keys, token)

    monkeypatch.setattr(reader.AdbcSnapshot, "rows_of", rows_of)
    monkeypatch.setattr(reader.AdbcSnapshot, "batches", None)  # the table is not read whole

    files = desk.capture(Trust(token))

    assert asked == [2]
    assert changed(desk, files) == [("D", number(4)), ("U", number(3)), ("U", number(999))]
    assert (files.current, files.rows, files.upserts, files.deletes) == (None, PERSONS, 2, 1)


@pytest.mark.parametrize("token", [DIGEST, XMIN, "AAE036"])
def test_a_run_without_change_reads_no_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    """Where no token changed nothing is written, and a vacuumed and frozen table is the same table."""
    url = business()
    desk = desk_of(url, tmp_path, token)
    run_postgresql(url, 'VACUUM (FREEZE) "AC01"')
    monkeypatch.setattr(reader.AdbcSnapshot, "batches", None)

    files = desk.capture(Trust(token))

    assert (files.current, files.changes, files.rows) == (None, None, PERSONS)


@pytest.mark.parametrize("token", [DIGEST, XMIN])
def test_days_by_token_come_to_what_the_table_is(tmp_path: Path, token: str) -> None:
    """After many days of changes what was captured, base and changes together, is the table, cell by cell."""
    url = business()
    desk, rng = desk_of(url, tmp_path, token), random.Random(5)
    for day in range(CHANGES_MAX + 3):
        at = rng.randrange(PERSONS)
        run_postgresql(
            url,
            f'UPDATE "AC01" SET "AAC003" = \'第{day}日\' WHERE "AAC001" = \'{number(at)}\'',
            f'DELETE FROM "AC01" WHERE "AAC001" = \'{number(rng.randrange(PERSONS))}\'',
            insert("AC01", person(1000 + day)),
        )
        desk.capture(Trust(token))

    there = read(url, "AC01").sort("AAC001")
    assert desk.rows().select(there.columns).sort("AAC001").equals(there)
    assert desk.previous is not None
    assert 0 < len(desk.previous.changes) < CHANGES_MAX, "base and changes became one file"


def test_keys_of_any_type_and_text_find_their_rows(tmp_path: Path) -> None:
    """Keys of several columns, padded, of a date, with quotes, braces and backslashes, are read by their own index."""
    url = fresh_database()
    run_postgresql(
        url,
        "CREATE TABLE t (a char(6), b date, c text, d numeric(8,2), v text, PRIMARY KEY (a, b, c, d))",
        "INSERT INTO t VALUES ('x', '2024-01-02', 'o''brien \"q\" \\ {,} NULL', 1.50, '1'),"
        " ('y', '2024-01-03', '', 2.00, '1'), ('z', '2024-01-04', '王', 0.10, '1')",
    )
    desk = Desk(url, "T", tmp_path / "runs")
    desk.capture(Trust(XMIN))
    run_postgresql(url, "UPDATE t SET v = '2'")

    files = desk.capture(Trust(XMIN, pl.lit(value=True)))

    assert (files.current, files.upserts, files.deletes) == (None, 3, 0)


def test_another_token_begins_with_a_whole_read(tmp_path: Path) -> None:
    """Tokens of one kind are never compared with those of another, and rows that did not change are no change."""
    url = business()
    desk = desk_of(url, tmp_path, DIGEST)

    files = desk.capture(Trust(XMIN))
    quiet = desk.capture(Trust(XMIN))

    assert (files.current is None, files.changes, files.upserts) == (False, None, 0)
    assert (quiet.current, quiet.changes) == (None, None)


def test_a_table_written_anew_is_no_change(tmp_path: Path) -> None:
    """After a dump and restore every xmin is another: rows are compared by content and none is sent again."""
    url = business()
    desk = desk_of(url, tmp_path, XMIN)
    run_postgresql(url, 'UPDATE "AC01" SET "AAC003" = "AAC003"')

    files = desk.capture(Trust(XMIN))

    assert (files.changes, files.upserts, files.deletes) == (None, 0, 0)


def test_a_lie_is_found_when_its_row_is_checked_and_then_everything_is(tmp_path: Path) -> None:
    """A row that changed under its old token is found by the check of its share, and all others in the same run."""
    url = business()
    desk = desk_of(url, tmp_path, "AAE036")
    run_postgresql(url, 'UPDATE "AC01" SET "AAC003" = \'偷改\' WHERE "AAC001" < \'1401P000000050\'')

    unseen = desk.capture(Trust("AAE036"))
    assert (unseen.changes, unseen.lied) == (None, 0)
    assert desk.previous is not None
    one = desk.previous.lazy([KEY, "AAC001"]).filter(pl.col("AAC001") == number(7)).collect().item(0, KEY)
    found = desk.capture(Trust("AAE036", pl.col(KEY) == pl.lit(one, pl.UInt128)))

    assert (found.lied, found.upserts) == (1, 50)
    assert any("changed under the same token" in said for said in found.findings)


@pytest.mark.parametrize("days", [1, 3, 40], ids=["every day", "a weekend", "a long absence"])
def test_every_row_is_checked_within_the_stated_days(tmp_path: Path, production: Open, days: int) -> None:
    """Whichever row was changed under its old token, and however often captures are made, it is found in time."""
    url, lying = business(), 14
    county(tmp_path / "unused.db", [])
    run_postgresql(url, definition("AB01"))
    zone = production(SourceSettings(name="city", url=url, change="token", tokens={"AC01": "aae036"}))
    zone.run()
    run_postgresql(url, 'UPDATE "AC01" SET "AAC004" = \'9\'')

    told = []
    for _ in range(lying // days + 1):
        zone.day += timedelta(days=days)
        told.append(sum(zone.run().lied.values()))

    assert sum(told[: -(-lying // days)]) > 0
    rows = next(t for t in zone.state.captured_tables() if t.table == "AC01")
    assert zone.shelf.read(rows.current).get_column("AAC004").unique().to_list() == ["9"]


def test_a_key_without_a_value_is_read_whole(tmp_path: Path) -> None:
    """A declared key that is NULL in a changed row finds no row by text: the table is read whole and nothing is lost."""
    url = fresh_database()
    run_postgresql(url, "CREATE TABLE t (k text, v text)", "INSERT INTO t VALUES ('a', '1'), (NULL, '1')")
    desk = Desk(url, "T", tmp_path / "runs", "K")
    desk.capture(Trust(XMIN))
    run_postgresql(url, "UPDATE t SET v = '2' WHERE k IS NULL")

    files = desk.capture(Trust(XMIN))

    assert files.current is not None
    assert (files.upserts, files.deletes) == (1, 0)


def test_a_sqlite_column_is_a_token(tmp_path: Path) -> None:
    """A column of a SQLite table that changes with its rows is enough, whatever type its keys are stored in."""
    path = tmp_path / "c.db"
    url = run_sqlite(
        path, 'CREATE TABLE T (key INTEGER, "value" TEXT, V, N INTEGER, PRIMARY KEY (key, "value"))'
    )
    put_sqlite(path, "T", [{"key": at, "value": "o'b", "V": "1", "N": 1} for at in range(50)])
    desk = Desk(url, "T", tmp_path / "runs")
    desk.capture(Trust("N"))
    run_sqlite(path, "UPDATE T SET V = '2', N = 2 WHERE key < 5", "DELETE FROM T WHERE key = 9")

    files = desk.capture(Trust("N"))

    assert (files.current, files.rows, files.upserts, files.deletes) == (None, 49, 5, 1)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"url": "sqlite:///c.db", "change": "digest"}, "expected content for sqlite, got digest"),
        ({"url": "oracle://h/x", "change": "token"}, "expected content for oracle, got token"),
        (
            {"url": "sqlite:///c.db", "change": "token", "encoding": "gb18030"},
            "expected content for a source in gb18030",
        ),
    ],
    ids=["digest of SQLite", "token of Oracle", "token of old bytes"],
)
def test_what_a_source_cannot_tell_is_no_setting(settings: dict[str, str], said: str) -> None:
    """A way the database or its encoding does not offer is refused when settings are read, with what it offers."""
    with pytest.raises(ValueError, match=said):
        SourceSettings(name="city", **settings)  # type: ignore[arg-type]


def test_a_token_column_the_table_lacks_is_named(tmp_path: Path, production: Open) -> None:
    """A token that is no column of its table ends the run, naming source, table, column and those there are."""
    url = county(tmp_path / "c.db", [person(1)])
    zone = production(SourceSettings(name="city", url=url, change="token", tokens={"AC01": "NOPE"}))

    with pytest.raises(capture.SourceError, match="source city: table AC01: expected column NOPE"):
        zone.run()


@pytest.mark.parametrize(
    ("column", "before", "after"),
    [
        ("numeric", "1.0", "1.00"),
        ("numeric(8,2)", "1.0", "1.01"),
        ("double precision", "0.0", "-0.0"),
        ("interval", "24 hours", "1 day"),
        ("text", "", None),
        ("text[]", "{a}", "{b}"),
    ],
    ids=["number", "amount", "float", "interval", "nothing", "array"],
)
def test_a_digest_tells_apart_what_is_written_in_two_ways(
    tmp_path: Path, column: str, before: str, after: str | None
) -> None:
    """A digest sees any change of what a value reads as, even where the database holds both values for equal."""
    url = fresh_database()
    run_postgresql(
        url,
        f"CREATE TABLE t (k int PRIMARY KEY, v {column} DEFAULT '{before}')",
        "INSERT INTO t VALUES (1), (2)",
    )
    desk = Desk(url, "T", tmp_path / "runs")
    desk.capture(Trust(DIGEST))
    run_postgresql(url, f"UPDATE t SET v = {'NULL' if after is None else repr(after)} WHERE k = 2")

    files = desk.capture(Trust(DIGEST))

    assert (files.current, files.upserts, files.deletes, files.lied) == (None, 1, 0, 0)


def test_a_digest_sees_how_the_server_writes(tmp_path: Path) -> None:
    """Where the database begins to write days or moments otherwise, every row that has one is another row."""
    url = fresh_database()
    run_postgresql(
        url,
        "CREATE TABLE t (k int PRIMARY KEY, v timestamptz DEFAULT '2024-10-02 12:00Z')",
        "INSERT INTO t VALUES (1), (2)",
    )
    desk = Desk(url, "T", tmp_path / "runs")
    desk.capture(Trust(DIGEST))
    run_postgresql(url, f"ALTER DATABASE \"{sa.make_url(url).database}\" SET timezone = 'Asia/Urumqi'")

    files = desk.capture(Trust(DIGEST))

    assert (files.upserts, files.deletes, files.lied) == (2, 0, 0)
