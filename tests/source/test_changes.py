"""Changes are found by content alone: what was read before is compared with what is read now."""

from __future__ import annotations

import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.source.business import Desk, county, definition, person, put_sqlite, run_sqlite

from jinbao.model.errors import SourceError
from jinbao.source.kept import KEY, OP, ROW

Rows = list[tuple[str | None, ...]]


def desk_of(directory: Path, persons: int) -> Desk:
    """AC01 with some persons, captured once."""
    url = county(directory / "c.db", [person(at) for at in range(persons)])
    desk = Desk(url, "AC01", directory / "runs")
    desk.capture()
    return desk


def persons_of(desk: Desk) -> list[tuple[str, str]]:
    """Operation and key of each change of the newest run."""
    return [] if desk.changes is None else sorted(desk.changes.select(OP, "AAC001").rows())


def replayed(rows: Rows, changes: pl.DataFrame | None) -> Rows:
    """Rows (key first) after the changes: a changed key's rows replace all it had."""
    if changes is None:
        return rows
    touched = set(changes.get_column("K"))
    added = changes.filter(pl.col(OP) == "U").select("K", "V", "W").rows()
    return [row for row in rows if row[0] not in touched] + added


def sorted_rows(rows: Rows) -> Rows:
    """Rows in one order, NULL before everything."""
    return sorted(rows, key=lambda row: [(cell is not None, cell or "") for cell in row])


def test_the_first_run_is_its_own_change(tmp_path: Path) -> None:
    """Against no earlier run every row is an upsert, and the kept file is sealed as it is, not written twice."""
    url = county(tmp_path / "c.db", [person(1), person(2)])
    desk = Desk(url, "AC01", tmp_path / "runs")

    files = desk.capture()

    assert (files.rows, files.upserts, files.deletes) == (2, 2, 0)
    assert files.changes == files.current
    assert persons_of(desk) == [("U", "1401P000000001"), ("U", "1401P000000002")]


def test_a_run_without_change_writes_nothing(tmp_path: Path) -> None:
    """A second run over equal content keeps the earlier file and names no change, even in another row order."""
    desk = desk_of(tmp_path, 3)
    run_sqlite(tmp_path / "c.db", "UPDATE AC01 SET rowid = 100 - rowid")

    files = desk.capture()

    assert (files.rows, files.upserts, files.deletes) == (3, 0, 0)
    assert (files.current, files.changes) == (None, None)


def test_one_changed_row_is_one_upsert(tmp_path: Path) -> None:
    """A row whose cell changed is the only one read again."""
    desk = desk_of(tmp_path, 3)
    run_sqlite(tmp_path / "c.db", "UPDATE AC01 SET AAC003 = '新名' WHERE AAC001 = '1401P000000001'")

    files = desk.capture()

    assert (files.rows, files.upserts, files.deletes) == (3, 1, 0)
    assert persons_of(desk) == [("U", "1401P000000001")]


def test_one_removed_row_is_one_delete_with_its_last_content(tmp_path: Path) -> None:
    """A row that is gone leaves once more, as it was."""
    desk = desk_of(tmp_path, 3)
    run_sqlite(tmp_path / "c.db", "DELETE FROM AC01 WHERE AAC001 = '1401P000000002'")

    files = desk.capture()

    assert (files.rows, files.upserts, files.deletes) == (2, 0, 1)
    assert persons_of(desk) == [("D", "1401P000000002")]
    assert desk.changes is not None
    assert desk.changes.get_column("AAC003").to_list() == ["王力"]


def test_a_new_column_makes_every_row_new_once(tmp_path: Path) -> None:
    """A table that gained a column is captured whole, and the run after it is quiet again."""
    desk = desk_of(tmp_path, 3)
    run_sqlite(tmp_path / "c.db", "ALTER TABLE AC01 ADD COLUMN AAC999 TEXT")

    altered, quiet = desk.capture(), desk.capture()

    assert (altered.upserts, altered.deletes) == (3, 0)
    assert (quiet.upserts, quiet.deletes) == (0, 0)


def test_rows_that_repeat_a_key_are_all_kept(tmp_path: Path) -> None:
    """Three rows of one key are three captured rows, and a finding says that two of them repeat it."""
    url = run_sqlite(tmp_path / "c.db", definition("AC01", key=False))
    put_sqlite(
        tmp_path / "c.db", "AC01", [person(1), person(2), person(2, AAC003="甲"), person(2, AAC003="乙")]
    )
    desk = Desk(url, "AC01", tmp_path / "runs", "aac001")

    files = desk.capture()

    assert files.findings == ("2 rows repeat a key",)
    assert desk.changes is not None
    assert sorted(desk.changes.get_column("AAC003")) == sorted(["王力", "王力", "甲", "乙"])


def test_a_key_that_comes_to_repeat_changes_no_other_row(tmp_path: Path) -> None:
    """When a key becomes doubled, its rows are upserts and nobody else's are."""
    url = run_sqlite(tmp_path / "c.db", definition("AC01", key=False))
    put_sqlite(tmp_path / "c.db", "AC01", [person(1), person(2), person(3)])
    desk = Desk(url, "AC01", tmp_path / "runs", "AAC001")
    desk.capture()
    put_sqlite(tmp_path / "c.db", "AC01", [person(2, AAC003="甲")])

    files = desk.capture()

    assert (files.upserts, files.deletes) == (2, 0)
    assert persons_of(desk) == [("U", "1401P000000002")] * 2


@pytest.mark.parametrize("name", ["甲", "乙"], ids=["first", "second"])
def test_a_change_of_any_row_of_a_repeated_key_is_seen(tmp_path: Path, name: str) -> None:
    """When one of two rows of a key changes, whichever it is, both leave again, and nobody else's."""
    url = run_sqlite(tmp_path / "c.db", definition("AC01", key=False))
    put_sqlite(tmp_path / "c.db", "AC01", [person(1), person(2, AAC003="甲"), person(2, AAC003="乙")])
    desk = Desk(url, "AC01", tmp_path / "runs", "AAC001")
    desk.capture()
    run_sqlite(tmp_path / "c.db", f"UPDATE AC01 SET AAC003 = '丙' WHERE AAC003 = '{name}'")

    files = desk.capture()

    assert (files.upserts, files.deletes) == (2, 0)
    assert persons_of(desk) == [("U", "1401P000000002")] * 2


def test_a_table_without_a_key_is_refused_with_the_line_that_mends_it(tmp_path: Path) -> None:
    """No primary key and none in settings is an error that says which line to write, and that line mends it."""
    url = run_sqlite(tmp_path / "c.db", definition("AC01", key=False))
    put_sqlite(tmp_path / "c.db", "AC01", [person(1)])

    with pytest.raises(
        SourceError, match=r"AC01: expected a key, got no primary key; set keys\.AC01 = \["
    ) as found:
        Desk(url, "AC01", tmp_path / "refused").capture()
    mended = Desk(url, "AC01", tmp_path / "runs", "AAC001").capture()

    assert found.value.code == "source"
    assert mended.upserts == 1


def test_a_declared_key_that_is_no_column_is_refused(tmp_path: Path) -> None:
    """A key of settings that the table does not have is named, with the columns there are."""
    url = county(tmp_path / "c.db", [person(1)])

    with pytest.raises(SourceError, match="table AC01: expected column AAC777, got AAC001, AAC002"):
        Desk(url, "AC01", tmp_path / "runs", "AAC777").capture()


cells = st.sampled_from([None, "", " ", "1", "王", "N", "T1:1"])
tables = st.lists(st.tuples(st.sampled_from("abcd"), cells, cells), max_size=7)


@given(st.lists(tables, min_size=2, max_size=3))
@settings(max_examples=25, deadline=None)
def test_changes_replayed_over_the_old_rows_give_the_new_ones(contents: list[Rows]) -> None:
    """Whatever a table becomes, repeated keys included, its changes carry the old capture to the new one."""
    with tempfile.TemporaryDirectory() as place:
        url = run_sqlite(Path(place) / "c.db", "CREATE TABLE T (K TEXT, V TEXT, W TEXT)")
        desk, told = Desk(url, "T", Path(place) / "runs", "K"), list[tuple[str | None, ...]]()
        for content in contents:
            run_sqlite(Path(place) / "c.db", "DELETE FROM T")
            put_sqlite(Path(place) / "c.db", "T", [dict(zip("KVW", row, strict=True)) for row in content])

            desk.capture()
            told = replayed(told, desk.changes)

            assert sorted_rows(told) == sorted_rows(content)
            assert sorted_rows(desk.rows().select("K", "V", "W").rows()) == sorted_rows(content)


unique = st.dictionaries(st.sampled_from("abcdef"), cells, max_size=6)


@given(unique, unique)
@settings(max_examples=25, deadline=None)
def test_only_what_changed_is_a_change(old: dict[str, str | None], new: dict[str, str | None]) -> None:
    """Upserts are exactly the keys that are new or differ, and deletes exactly those that are gone."""
    with tempfile.TemporaryDirectory() as place:
        url = run_sqlite(Path(place) / "c.db", "CREATE TABLE T (K TEXT PRIMARY KEY, V TEXT)")
        desk = Desk(url, "T", Path(place) / "runs")
        for content in (old, new):
            run_sqlite(Path(place) / "c.db", "DELETE FROM T")
            put_sqlite(Path(place) / "c.db", "T", [{"K": k, "V": v} for k, v in content.items()])
            files = desk.capture()

    assert files.upserts == sum(k not in old or old[k] != v for k, v in new.items())
    assert files.deletes == len(old.keys() - new.keys())


def test_a_change_has_the_columns_of_what_it_follows(tmp_path: Path) -> None:
    """A change has the digests of key and row as the first file has, so that the next run compares with both."""
    desk = desk_of(tmp_path, 1)
    run_sqlite(tmp_path / "c.db", "UPDATE AC01 SET AAC003 = '新名'")
    desk.capture()

    assert desk.changes is not None
    assert {KEY, ROW} <= set(desk.rows().columns)
    assert desk.changes.columns == [*desk.rows().columns, OP]


def test_another_digest_algorithm_makes_every_row_new_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Digests of another release are not compared: every row leaves once more, and the run after it is quiet."""
    desk = desk_of(tmp_path, 3)
    monkeypatch.setattr("jinbao.source.capture.ROW", "__row_another")

    altered, quiet = desk.capture(), desk.capture()

    assert (altered.upserts, altered.deletes) == (3, 0)
    assert (quiet.upserts, quiet.deletes) == (0, 0)
