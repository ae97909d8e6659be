"""What a run judges anew of a library, and what it carries over, come to what judging all of it would."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import polars as pl
import pytest
from tests.sample.city import tables_of
from tests.sim.business import PERSON_TABLES
from tests.sim.world import PERIOD, World
from tests.whole import convert, judge_whole

from jinbao.appliance.assembly import OpenZone
from jinbao.appliance.judging import CapturedLibrary
from jinbao.flow.comparing import LEAF
from jinbao.model.finding import FINDING_COLUMNS, Verdict
from jinbao.model.standard import Table
from jinbao.model.zone import Zone
from jinbao.source import kept
from jinbao.source.decode import UNDECODABLE
from jinbao.trust.digest import digest, leaves

MakeWorld = Callable[..., AbstractContextManager[World]]

TABLES = ("AB01", *PERSON_TABLES)
STEPS = 14


def production(world: World) -> OpenZone:
    """The city's production zone."""
    return next(zone for endpoint, zone in sorted(world.zones.items()) if endpoint.zone is Zone.PRODUCTION)


def database(zone: OpenZone) -> Path:
    """Its business database."""
    return Path(zone.settings.sources[0].url.removeprefix("sqlite:///"))


class Trouble:
    """Edits of any cell of any business table, good and bad, by one seed."""

    def __init__(self, path: Path, seed: int) -> None:
        self._path, self._rng = path, random.Random(seed)

    def __call__(self) -> None:
        """Up to four edits in one transaction."""
        with closing(sqlite3.connect(self._path)) as connection:
            for _ in range(self._rng.randint(1, 4)):
                table = self._rng.choice(TABLES)
                rows = [r for (r,) in connection.execute(f"SELECT rowid FROM {table} ORDER BY rowid")]
                columns = [c[1] for c in connection.execute(f"PRAGMA table_info({table})")]
                edit = self._rng.choice(
                    [self._exchange, self._exchange, self._spoil, self._remove, self._move]
                )
                edit(connection, table, self._rng.sample(rows, 2), columns)
            connection.commit()

    def _exchange(
        self, connection: sqlite3.Connection, table: str, rows: list[int], columns: list[str]
    ) -> None:
        """A cell, the key's too, takes the value of another row's."""
        column = self._rng.choice(columns)
        self._put(
            connection,
            f"UPDATE {table} SET {column} = (SELECT {column} FROM {table} WHERE rowid = ?) WHERE rowid = ?",
            rows,
        )

    def _spoil(self, connection: sqlite3.Connection, table: str, rows: list[int], columns: list[str]) -> None:
        """A cell becomes blank, NULL, or what no item takes."""
        column, value = self._rng.choice(columns), self._rng.choice(["", " ", None, "ZZ", "99999999", "-1"])
        self._put(connection, f"UPDATE {table} SET {column} = ? WHERE rowid = ?", [value, rows[0]])

    def _remove(
        self, connection: sqlite3.Connection, table: str, rows: list[int], _columns: list[str]
    ) -> None:
        """A row is gone, those that name it stay."""
        self._put(connection, f"DELETE FROM {table} WHERE rowid = ?", rows[:1])

    def _move(self, connection: sqlite3.Connection, table: str, rows: list[int], _columns: list[str]) -> None:
        """A row goes to the end of its table, as some systems do with every update."""
        self._put(
            connection,
            f"UPDATE {table} SET rowid = (SELECT max(rowid) + 1 FROM {table}) WHERE rowid = ?",
            rows[:1],
        )

    def _put(self, connection: sqlite3.Connection, statement: str, values: list[object] | list[int]) -> None:
        try:
            connection.execute(statement, values)
        except sqlite3.IntegrityError:
            return  # the business database refused it, as it should: no edit


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """Whether each table of each run was judged by what changed."""
    seen: list[bool] = []
    real = CapturedLibrary.affected

    def affected(library: CapturedLibrary, table: Table) -> pl.Series | None:
        keys = real(library, table)
        seen.append(keys is not None)
        return keys

    with monkeypatch.context() as patch:
        patch.setattr(CapturedLibrary, "affected", affected)
        yield seen


def assert_as_if_whole(zone: OpenZone) -> None:
    """What is sealed, quarantined and found of every library is what judging all rows now finds."""
    none = pl.lit(None, pl.String).alias(UNDECODABLE)
    sources = {
        name: frame.with_columns(none) for name, frame in tables_of(zone.settings.sources[0].url).items()
    }
    verdicts = {row["library"]: row["verdict"] for row in zone.state.verdicts()}
    for library, mapping in zone.mappings.items():
        standard = zone.standards[library]
        whole = judge_whole(standard, int(PERIOD), *convert(mapping, standard, int(PERIOD), sources))
        expected = pl.concat(judged.findings for judged in whole.values()).select(FINDING_COLUMNS)
        found = pl.DataFrame(
            zone.quarantine.findings(library), schema=dict.fromkeys(FINDING_COLUMNS, pl.String())
        )
        assert sorted(found.rows(), key=repr) == sorted(expected.rows(), key=repr)
        stopped = zone.quarantine.rows(library, limit=100_000)
        keys = [(t, key) for t, judged in whole.items() for key in judged.quarantined.get_column("key")]
        assert sorted((row["table"], row["key"]) for row in stopped) == sorted(keys)
        if verdicts[library] == Verdict.REFUSED:
            continue
        for row in zone.state.sealed(library):
            table, passed = standard.table(row["table"]), whole[row["table"]].passed
            assert row["digest"] == digest([passed], table.columns, table.key).root
            assert (row["rows"], row["quarantined"]) == (passed.height, whole[table.id].quarantined.height)
            lines = zone.shelf.read(row["segment"])
            made = leaves(passed, table.columns, table.key).get_column("leaf")
            assert sorted(lines.get_column(LEAF).bin.encode("hex")) == sorted(made)
            for code in table.totals:
                assert lines.get_column(code).sum() == passed.get_column(code).sum()


def assert_days_as_if_whole(quiet: MakeWorld, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Edit, capture and judge some days, each compared with judging all; files of changes are few, so that they fold."""
    monkeypatch.setattr(kept, "CHANGES_MAX", 4)
    with quiet(seed) as world, watched(monkeypatch) as by_change:
        zone = production(world)
        trouble = Trouble(database(zone), seed)
        assert zone.outbound is not None
        for _ in range(STEPS):
            trouble()
            zone.outbound.step(PERIOD)
            assert_as_if_whole(zone)
        assert sum(by_change) > len(by_change) * 0.8
        assert all(len(table.changes) <= kept.CHANGES_MAX for table in zone.state.captured_tables())


@pytest.mark.parametrize("seed", range(2))
def test_judging_what_changed_comes_to_judging_all(
    quiet: MakeWorld, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """After any edits of any table, what is sealed, stopped and found is that of all rows judged anew."""
    assert_days_as_if_whole(quiet, monkeypatch, seed)


@pytest.mark.night
@pytest.mark.parametrize("seed", range(2, 60))
def test_judging_what_changed_comes_to_judging_all_by_night(
    quiet: MakeWorld, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """The same, of many more seeds."""
    assert_days_as_if_whole(quiet, monkeypatch, seed)


def test_a_run_without_change_keeps_the_segments_it_has(quiet: MakeWorld) -> None:
    """A run that finds nothing new writes no lines anew and names those of the run before."""
    with quiet(1) as world:
        zone = production(world)
        assert zone.outbound is not None
        zone.outbound.step(PERIOD)
        before = {name: zone.state.sealed(name) for name in zone.mappings}
        assert zone.outbound.step(PERIOD) == 0

        for name, rows in before.items():
            now = zone.state.sealed(name)
            assert [(r["segment"], r["digest"]) for r in now] == [(r["segment"], r["digest"]) for r in rows]


def test_another_month_judges_everything(quiet: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are judged by their period: the first run of a month carries nothing over."""
    with quiet(2) as world, watched(monkeypatch) as by_change:
        zone = production(world)
        assert zone.outbound is not None
        zone.outbound.step(PERIOD)
        assert all(by_change)
        by_change.clear()

        zone.outbound.step("202411")

        assert not any(by_change)
