"""Every cell leaves a business database as text, exactly as the database words it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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

from jinbao.source.decode import UNDECODABLE, decode_columns
from jinbao.source.reader import BATCH_ROWS

NAME = "𠮷野家"
BROKEN = "王".encode("gb18030") + b"\xff"


def test_gb18030_bytes_become_the_characters_they_stand_for(tmp_path: Path) -> None:
    """A column of GB 18030 bytes is read as its characters, four-byte ones among them."""
    url = county(tmp_path / "c.db", [person(1, AAC003=NAME.encode("gb18030")), person(2, AAC003=None)])

    rows = read(url, "AC01", "gb18030")

    assert rows.get_column("AAC003").to_list() == [NAME, None]
    assert rows.get_column("AAC006").to_list() == ["19800303", "19800303"]
    assert rows.get_column(UNDECODABLE).to_list() == [None, None]


@pytest.mark.parametrize("encoding", ["gb18030", "utf-8"])
def test_a_name_that_does_not_decode_is_kept_raw(tmp_path: Path, encoding: str) -> None:
    """Bytes that are no character stay, in hex, beside their row, and the run has a finding that counts them."""
    broken = BROKEN if encoding == "gb18030" else b"\xe7\x8e\x8b\xff"
    good = "李明".encode(encoding)
    url = county(
        tmp_path / "c.db", [person(1, AAC003=good), person(2, AAC003=broken), person(3, AAC003=good)]
    )
    desk = Desk(url, "AC01", tmp_path / "runs", encoding=encoding)

    files = desk.capture()

    assert files.findings == ("1 rows hold bytes that do not decode",)
    assert desk.rows().get_column("AAC003").to_list() == ["李明", "王\ufffd", "李明"]
    assert desk.rows().get_column(UNDECODABLE).to_list() == [None, f"AAC003={broken.hex()}", None]


@given(st.lists(st.none() | st.binary(max_size=6) | st.text(max_size=4), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_no_cell_leaks_into_its_neighbour(cells: list[str | bytes | None]) -> None:
    """Decoding a whole column says the same as decoding each of its cells alone, whatever the bytes."""
    import pyarrow as pa

    raw = [cell.encode("gb18030", "replace") if isinstance(cell, str) else cell for cell in cells]

    column = decode_columns(pa.record_batch({"A": pa.array(raw, pa.binary())}), "gb18030")

    alone = [None if cell is None else cell.decode("gb18030", "replace") for cell in raw]
    kept = [
        f"A={cell.hex()}" if cell and "\ufffd" in (said or "") else None
        for cell, said in zip(raw, alone, strict=True)
    ]
    assert column.get_column("A").to_list() == alone
    assert column.get_column(UNDECODABLE).to_list() == kept


def test_dates_that_are_numbers_pass_unchanged(tmp_path: Path) -> None:
    """The numbers 0, 20230230 and 99991231 leave as written; what they mean is conversion's to say."""
    dates = [0, 20230230, 99991231]
    url = county(tmp_path / "c.db", [person(at, AAC007=date) for at, date in enumerate(dates)])

    rows = read(url, "AC01")

    assert rows.get_column("AAC007").to_list() == ["0", "20230230", "99991231"]


def test_null_and_the_empty_text_stay_two_things(tmp_path: Path) -> None:
    """NULL leaves as NULL and '' as '', and a change from one to the other is a change."""
    url = county(tmp_path / "c.db", [person(1, AAC005=None), person(2, AAC005="")])
    desk = Desk(url, "AC01", tmp_path / "runs")
    desk.capture()
    run_sqlite(tmp_path / "c.db", "UPDATE AC01 SET AAC005 = '' WHERE AAC005 IS NULL")

    files = desk.capture()

    assert read(url, "AC01").get_column("AAC005").to_list() == ["", ""]
    assert (files.upserts, files.deletes) == (1, 0)
    assert desk.changes is not None
    assert desk.changes.get_column("AAC001").to_list() == ["1401P000000001"]


def test_a_file_keeps_the_padding_it_stores(tmp_path: Path) -> None:
    """SQLite stores CHAR as it came, so padding leaves with the cell; conversion strips it."""
    url = county(tmp_path / "c.db", [person(1, AAC003="王力" + " " * 48)])

    assert read(url, "AC01").get_column("AAC003").to_list() == ["王力" + " " * 48]


def test_numbers_of_fifteen_digits_pass_unchanged(tmp_path: Path) -> None:
    """An old identity number, an x in lower case and full-width digits leave as they stand."""
    numbers = ["140105491231002", "11010519491231002x", "１１０１０５"]
    url = county(tmp_path / "c.db", [person(at, AAC002=number) for at, number in enumerate(numbers)])

    assert read(url, "AC01").get_column("AAC002").to_list() == numbers


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_a_column_may_change_its_type_in_mid_table(tmp_path: Path, encoding: str) -> None:
    """Integers, then text, then bytes in one SQLite column all leave as text, in order."""
    url = run_sqlite(tmp_path / "c.db", "CREATE TABLE T (K INTEGER PRIMARY KEY, V)")
    put_sqlite(
        tmp_path / "c.db",
        "T",
        [{"K": 1, "V": 7}, {"K": 2, "V": "x"}, {"K": 3, "V": 1.5}, {"K": 4, "V": b"y"}],
    )

    assert read(url, "T", encoding).get_column("V").to_list() == ["7", "x", "1.5", "y"]


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_a_column_may_be_empty_for_longer_than_a_slice(tmp_path: Path, encoding: str) -> None:
    """A column that is NULL for a whole slice and text in the next one is text in both."""
    rows = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {BATCH_ROWS + 10})"
    late = f"SELECT i, CASE WHEN i > {BATCH_ROWS + 9} THEN 'late' END, NULL FROM n"
    url = run_sqlite(
        tmp_path / "c.db",
        "CREATE TABLE T (K INTEGER PRIMARY KEY, V TEXT, N TEXT)",
        f"INSERT INTO T {rows} {late}",
    )

    found = read(url, "T", encoding)

    assert found.height == BATCH_ROWS + 10
    assert found.get_column("V").drop_nulls().to_list() == ["late"]
    assert found.get_column("N").null_count() == found.height


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_a_table_without_rows_is_captured(tmp_path: Path, encoding: str) -> None:
    """An empty table is a table of no rows, and its columns are there."""
    desk = Desk(county(tmp_path / "c.db", []), "AC01", tmp_path / "runs", encoding=encoding)

    files = desk.capture()

    assert (files.rows, files.upserts, files.findings) == (0, 0, ())
    assert "AAC001" in desk.rows().columns


def test_names_in_mixed_case_become_those_of_the_mapping(tmp_path: Path) -> None:
    """A table Ac01 with columns aac001 and "Aac 003" is found as AC01, and captured in upper case."""
    url = run_sqlite(
        tmp_path / "c.db",
        'CREATE TABLE "Ac01" ("aac001" TEXT PRIMARY KEY, "Aac""003" TEXT)',
        "INSERT INTO Ac01 VALUES ('1', '王')",
    )
    desk = Desk(url, "AC01", tmp_path / "runs")

    desk.capture()

    assert desk.rows().select("AAC001", 'AAC"003').rows() == [("1", "王")]


@pytest.mark.database
def test_postgresql_words_its_own_types(tmp_path: Path) -> None:
    """PostgreSQL gives decimals with their digits, CHAR without padding, and NULL and '' as two things."""
    url = fresh_database()
    row = person(1, AAC003="王力", AAC005="", AAC007=None)
    paid = {"AAC001": "1", "AAE140": "110", "AAC040": "2800.10", "AAE240": "123456789012.30"}
    run_postgresql(url, definition("AC01"), definition("AC02"), insert("AC01", row), insert("AC02", paid))

    cells = read(url, "AC01").select("AAC003", "AAC005", "AAC006", "AAC007").row(0)
    money = read(url, "AC02").select("AAC040", "AAE240", "AAC013").row(0)

    assert cells == ("王力", "", "19800303", None)
    assert money == ("2800.10", "123456789012.30", None)


@pytest.mark.database
def test_postgresql_names_in_mixed_case_are_found() -> None:
    """A PostgreSQL table that was created without quotes, in lower case, is found by its name in upper case."""
    url = fresh_database()
    run_postgresql(
        url,
        'CREATE TABLE Ac01 (aac001 text PRIMARY KEY, "Aac003" text)',
        "INSERT INTO ac01 VALUES ('1', 'x')",
    )

    assert read(url, "AC01").rows() == [("1", "x")]


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_a_nul_that_pads_a_field_is_left_out(tmp_path: Path, encoding: str) -> None:
    """A text with NUL at its end or inside leaves without it; no database of ours takes one."""
    url = run_sqlite(
        tmp_path / "c.db",
        "CREATE TABLE T (K INTEGER PRIMARY KEY, V TEXT, W TEXT)",
        "INSERT INTO T VALUES (1, 'a' || char(0, 0), 'x'), (2, 'b' || char(0) || 'c', NULL)",
    )

    assert read(url, "T", encoding).select("V", "W").rows() == [("a", "x"), ("bc", None)]
