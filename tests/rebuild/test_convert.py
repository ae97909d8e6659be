"""A zone's database moved between SQLite and PostgreSQL holds the same rows, and nothing of it is believed unproved."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa
from tests.postgres import fresh_database
from tests.rebuild.busy import all_acts
from tests.rebuild.test_replay import ZONES, Dump, dump, rebuilt
from tests.sim.world import World

from jinbao.appliance.assembly import projections_of
from jinbao.appliance.database.converting import convert
from jinbao.appliance.database.dumping import dump as sums
from jinbao.appliance.database.dumping import pages, tables_of
from jinbao.appliance.settings import Settings
from jinbao.flow.following import needed
from jinbao.journal.segments import SegmentShelf
from jinbao.model.zone import Endpoint
from jinbao.store.engine import Store
from jinbao.store.files import Files

TABLE = sa.Table(
    "odd",
    sa.MetaData(),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("value", sa.Text),
)
NAMES = ["a%b", "a%%b", "it's", "back\\slash", "太原市", "Ａ", "", "z\n", "%s", ":name"]


def a_copy(busy: World, endpoint: Endpoint, directory: Path) -> Settings:
    """Settings over a copy of one zone's directory, while nobody writes to it."""
    settings = busy.settings[endpoint.node]
    shutil.copytree(settings.directory(endpoint.zone), directory / endpoint.zone, symlinks=True)
    return settings.model_copy(update={"data_directory": directory})


def on(settings: Settings, endpoint: Endpoint, url: str) -> Settings:
    """The same settings, with the zone's database at another URL."""
    zone = settings.zones[endpoint.zone].model_copy(update={"database": url})
    return settings.model_copy(update={"zones": settings.zones | {endpoint.zone: zone}})


def dump_at(url: str, directory: Path) -> Dump:
    """Every row of the database at a URL."""
    store = Store(url, directory / "look")
    try:
        return dump(store)
    finally:
        store.close()


@pytest.mark.database
@pytest.mark.parametrize("endpoint", ZONES, ids=lambda endpoint: f"{endpoint.node}-{endpoint.zone}")
def test_a_journal_moves_there_and_back(busy: World, tmp_path: Path, endpoint: Endpoint) -> None:
    """Converted to PostgreSQL, and from there to SQLite, every row of every table is the same, and counted."""
    settings = a_copy(busy, endpoint, tmp_path)
    told: list[tuple[int, int]] = []
    there, back = fresh_database(), f"sqlite:///{tmp_path / 'back.db'}"

    first = convert(settings, endpoint.zone, there, lambda done, total: told.append((done, total)))
    second = convert(on(settings, endpoint, there), endpoint.zone, back, lambda _done, _total: None)

    original = dump(busy.zones[endpoint].store)
    assert dump_at(there, tmp_path) == original
    assert dump_at(back, tmp_path) == original
    assert first.tables == second.tables == {name: len(rows) for name, rows in original.items()}
    assert told == [(at, first.acts) for at in range(first.acts)]


def test_what_is_looked_for_is_what_a_rebuild_opens(busy: World, tmp_path: Path) -> None:
    """Segments a conversion demands before it begins are exactly those the rooms then open, in every zone."""

    class Watched(SegmentShelf):
        def open_path(self, sha256: str) -> Path:
            opened.add(sha256)
            return super().open_path(sha256)

    for endpoint in ZONES:
        zone, opened = busy.zones[endpoint], set[str]()
        _, projections = projections_of(zone.standards, Watched(zone.shelf.root, Files()))
        watched = replace(zone, projections=projections)
        with rebuilt(watched, f"sqlite:///{tmp_path / f'{endpoint.node}-{endpoint.zone}.db'}", tmp_path):
            pass

        assert opened == {
            sha256 for recorded in all_acts(zone) for sha256 in needed(recorded.act.kind, recorded.act.body)
        }


@pytest.fixture(params=["sqlite", "postgresql"])
def odd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[list[str]], Store]]:
    """A store of each kind with one table of keys that are hard to quote."""
    url = f"sqlite:///{tmp_path / 'odd.db'}" if request.param == "sqlite" else fresh_database()
    store = Store(url, tmp_path / "stage")
    with store.transaction() as tx:
        TABLE.create(tx.connection)

    def fill(names: list[str]) -> Store:
        with store.transaction() as tx:
            tx.execute(
                TABLE.insert(), [{"name": n, "number": i, "value": n or None} for i in (1, -2) for n in names]
            )
        return store

    yield fill
    store.close()


@pytest.mark.database
@pytest.mark.parametrize("page_rows", [1, 2, 3, 20, 21])
def test_pages_lose_and_double_no_row(odd: Callable[[list[str]], Store], page_rows: int) -> None:
    """Read page by page, a table gives each row once, whatever is in its keys."""
    store = odd(NAMES)

    read = pl.concat(pages(store, TABLE, page_rows))

    assert sorted(read.rows()) == sorted((n, i, n or None) for i in (1, -2) for n in NAMES)


@pytest.mark.database
def test_a_dump_tells_rows_apart(odd: Callable[[list[str]], Store]) -> None:
    """The sums of a table do not change with the order of rows, and do with any value, NULL and empty included."""
    store = odd(NAMES[::-1])
    first = sums(store, TABLE)
    seen = {first}
    for value in ("", "a", None):
        with store.transaction() as tx:
            tx.execute(
                TABLE.update().where(TABLE.c.name == "太原市", TABLE.c.number == 1).values(value=value)
            )
        seen.add(sums(store, TABLE))

    assert first.rows == 2 * len(NAMES)
    assert len(seen) == 4


def test_every_table_is_compared(busy: World) -> None:
    """What a conversion compares is every table of a zone's database."""
    zone = busy.zones[ZONES[0]]

    assert sorted(t.name for t in tables_of(zone.projections)) == sorted(dump(zone.store))
