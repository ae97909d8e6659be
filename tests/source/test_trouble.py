"""A source in trouble is an error with thing, expected, got and next step; once mended, the next run carries on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from tests.source.business import (
    Production,
    county,
    definition,
    employer,
    insert,
    person,
    run_sqlite,
)

from jinbao.appliance.settings import SourceSettings
from jinbao.model.errors import LocalError, SourceError, SpaceError
from jinbao.source import capture, reader

Open = Callable[..., Production]


def at(url: str, name: str = "county") -> SourceSettings:
    """A source as settings name it."""
    return SourceSettings(name=name, url=url)


def parts(error: LocalError) -> tuple[object, ...]:
    """What an operator is told."""
    return error.thing, error.expected, error.got, error.next_step


def refused(zone: Production) -> SourceError:
    """The error of a run that must fail; nothing of it is recorded."""
    before = zone.state.captured_tables()
    with pytest.raises(SourceError) as found:
        zone.run()
    assert zone.state.captured_tables() == before
    return found.value


def test_a_missing_table_is_named(tmp_path: Path, production: Open) -> None:
    """A table that is not there is an error with those that are, and the run after its creation is run 1."""
    path = tmp_path / "c.db"
    zone = production(at(run_sqlite(path, definition("AB01"))))

    error = refused(zone)
    run_sqlite(path, definition("AC01"), insert("AC01", person(1)))
    zone.run()

    mend = "correct the mapping, or grant the reading account this table"
    assert parts(error) == ("source county", "table AC01", "AB01", mend)
    assert zone.state.last_run() == 1
    assert [(t.table, t.rows) for t in zone.state.captured_tables()] == [("AB01", 0), ("AC01", 1)]


def test_a_missing_column_is_named(tmp_path: Path, production: Open) -> None:
    """A column that is not there is an error with those that are, and the run after its creation is run 2."""
    path = tmp_path / "c.db"
    zone = production(at(county(path, [person(1)])))
    zone.run()
    run_sqlite(path, "ALTER TABLE AC01 RENAME COLUMN AAC003 TO XM")

    error = refused(zone)
    run_sqlite(path, "ALTER TABLE AC01 RENAME COLUMN XM TO AAC003")
    zone.run()

    assert error.thing == "source county: table AC01"
    assert error.expected == "column AAC003"
    assert "AAC002, XM, AAC004" in str(error.got)
    assert error.next_step == "correct the mapping, or grant the reading account this column"
    assert zone.state.last_run() == 2


def test_a_file_that_is_not_there_is_no_new_database(tmp_path: Path, production: Open) -> None:
    """A SQLite source that is not mounted is an error, no empty file is made, and the run after mounting is run 1."""
    path = tmp_path / "mount" / "c.db"
    path.parent.mkdir()
    zone = production(at(f"sqlite:///{path}"))

    error = refused(zone)
    is_made = path.exists()
    county(path, [person(1)])
    zone.run()

    told = ("source county", "a SQLite file", f"none at {path}", "mount it, or correct sources.url")
    assert parts(error) == told
    assert not is_made
    assert zone.state.last_run() == 1


def test_a_file_that_is_no_database_is_an_error(tmp_path: Path, production: Open) -> None:
    """Bytes that are no SQLite database are a SourceError in the driver's words."""
    (tmp_path / "c.db").write_bytes(b"not a database " * 100)
    zone = production(at(f"sqlite:///{tmp_path / 'c.db'}"))

    error = refused(zone)

    assert (error.thing, error.expected) == ("source county", "a database that answers")
    assert "not a database" in str(error.got)


@pytest.mark.parametrize("kind", ["postgresql+psycopg", "postgresql"])
def test_a_server_that_is_down_is_an_error_without_its_password(production: Open, kind: str) -> None:
    """A port nobody listens on is a SourceError that says so and does not repeat the URL's password."""
    zone = production(at(f"{kind}://reader:top-secret@127.0.0.1:1/shebao"))

    error = refused(zone)

    assert (error.thing, error.expected) == ("source county", "a database that answers")
    assert error.next_step
    assert "top-secret" not in str(error)


def test_one_source_down_records_nothing_of_the_others(tmp_path: Path, production: Open) -> None:
    """A run is all sources or none: with one county down, no table of the other moves on."""
    up = at(county(tmp_path / "c.db", [person(1)]), "first")
    zone = production(up, at(f"sqlite:///{tmp_path / 'gone.db'}", "second"))

    error = refused(zone)

    assert error.thing == "source second"
    assert zone.state.last_run() == 0


def test_a_full_disk_makes_capture_wait(tmp_path: Path, production: Open) -> None:
    """With less free than the reserve nothing is read or written, and the run goes on once there is space."""
    zone = production(at(county(tmp_path / "c.db", [person(1)])), reserve_bytes=1 << 60)

    with pytest.raises(
        SpaceError, match=f"expected {1 << 60} bytes free .* got [0-9]+ bytes free; free space"
    ):
        zone.run()
    waiting = list(zone.shelf.stored()), list(zone.shelf.incoming.iterdir())
    zone.reserve_bytes = 0
    zone.run()

    assert waiting == ([], [])
    assert zone.state.last_run() == 1


class KilledError(BaseException):
    """Stands for SIGKILL: no room may catch it."""


def killed_at_slice(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let the process die when it digests this slice, counted over the run."""
    real, slices = capture._keys, iter(range(1, 1_000))

    def digests(batch: pl.DataFrame, key: tuple[str, ...]) -> pl.Series:
        if next(slices) == number:
            raise KilledError
        return real(batch, key)

    monkeypatch.setattr(capture, "_keys", digests)


@pytest.mark.parametrize("number", [1, 2, 3, 5], ids=["first", "between", "next table", "last"])
def test_a_kill_between_slices_leaves_the_run_to_be_done_again(
    tmp_path: Path, production: Open, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Killed at any slice, the zone opens again, takes the same run number and captures every row once."""
    path = tmp_path / "c.db"
    persons = [person(count) for count in range(25)]
    source = at(county(path, persons, [employer(count) for count in range(15)]))
    with monkeypatch.context() as short:
        short.setattr(reader, "BATCH_ROWS", 10)
        killed_at_slice(short, number)
        with pytest.raises(KilledError):
            production(source).run()
    run_sqlite(path, "DELETE FROM AC01 WHERE AAC001 = '1401P000000024'")

    zone = production(source)
    zone.shelf.sweep()
    captured = zone.run()

    rows = {table.table: zone.shelf.read(table.current) for table in captured.tables}
    assert zone.state.last_run() == 1
    assert rows["AC01"].get_column("AAC001").to_list() == [row["AAC001"] for row in persons[:24]]
    assert rows["AB01"].height == 15
    assert list(zone.shelf.incoming.iterdir()) == []
