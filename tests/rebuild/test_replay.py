"""Everything in a zone's database follows from its journal and its segments."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.postgres import fresh_database
from tests.rebuild.busy import all_acts
from tests.sim.world import World

import jinbao
from jinbao.appliance.assembly import ROOMS, OpenZone
from jinbao.appliance.network import DEMO_NODES
from jinbao.journal.ledger import Ledger
from jinbao.journal.tables import ACT
from jinbao.journal.verify import verify_acts
from jinbao.library.room import LibraryProjection
from jinbao.model.zone import Endpoint
from jinbao.store.engine import Store
from jinbao.store.migrations import upgrade
from jinbao.store.steps import STEP

MIGRATIONS = [Path(jinbao.__file__).parent / room / "migrations" for room in ROOMS]
ZONES = [Endpoint(node.node, zone) for node in DEMO_NODES[:3] for zone in node.zones]

Dump = dict[str, list[tuple[Any, ...]]]


def dump(store: Store) -> Dump:
    """Every row of every table of a database, in an order of its own, without records of migrations."""
    found: Dump = {}
    with store.read() as connection:
        tables = sa.MetaData()
        tables.reflect(connection)
        for name, table in tables.tables.items():
            if name in {"alembic_version", STEP.name}:
                continue
            columns = sorted(table.columns, key=lambda column: column.name)
            rows = connection.execute(sa.select(*columns))
            found[name] = sorted((tuple(row) for row in rows), key=repr)
    return found


@contextmanager
def rebuilt(zone: OpenZone, url: str, directory: Path) -> Iterator[Store]:
    """A database of its own that read the zone's journal from the first act to the last."""
    store = Store(url, directory / "stage")
    try:
        upgrade(store.writer, MIGRATIONS)
        for projection in zone.projections:
            if isinstance(projection, LibraryProjection):
                projection.ensure(store)
        Ledger(store, zone.projections, zone.ports.now_text).replay(all_acts(zone))
        yield store
    finally:
        store.close()


@pytest.mark.database
@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
@pytest.mark.parametrize("endpoint", ZONES, ids=lambda endpoint: f"{endpoint.node}-{endpoint.zone}")
def test_a_journal_rebuilds_its_zone(busy: World, tmp_path: Path, endpoint: Endpoint, backend: str) -> None:
    """A journal replayed into an empty database gives every row of every table again."""
    zone = busy.zones[endpoint]
    url = f"sqlite:///{tmp_path / 'zone.db'}" if backend == "sqlite" else fresh_database()

    with rebuilt(zone, url, tmp_path) as store:
        again = dump(store)

    original = dump(zone.store)
    assert again.keys() == original.keys()
    assert [name for name in original if again[name] != original[name]] == []


def test_a_rebuilt_chain_is_the_same_chain(busy: World, tmp_path: Path) -> None:
    """The hash of the last act is the same in the rebuilt journal, and its whole chain holds."""
    zone = busy.zones[ZONES[-1]]
    last = sa.select(ACT.c.lsn, ACT.c.hash).order_by(ACT.c.lsn.desc()).limit(1)
    with zone.store.read() as connection:
        original = connection.execute(last).one()

    with rebuilt(zone, f"sqlite:///{tmp_path / 'zone.db'}", tmp_path) as store:
        damage = list(verify_acts(store))
        with store.read() as connection:
            again = connection.execute(last).one()

    assert damage == []
    assert again == original


def test_acts_are_replayed_without_gaps(busy: World, tmp_path: Path) -> None:
    """A journal that misses an act is not rebuilt past the gap."""
    zone = busy.zones[ZONES[0]]
    some = [recorded for recorded in all_acts(zone) if recorded.lsn != 2][:3]
    store = Store(f"sqlite:///{tmp_path / 'zone.db'}", tmp_path / "stage")
    upgrade(store.writer, MIGRATIONS)
    ledger = Ledger(store, zone.projections, zone.ports.now_text)

    with pytest.raises(AssertionError, match="without gaps"):
        ledger.replay(iter(some))

    assert [recorded.lsn for recorded in ledger.acts()] == [1]
    store.close()


def test_every_table_is_filled_by_the_busy_network(busy: World) -> None:
    """No table is compared only while empty: each has rows in some zone."""
    filled: set[str] = set()
    every: set[str] = set()
    for zone in busy.zones.values():
        found = dump(zone.store)
        every |= found.keys()
        filled |= {name for name, rows in found.items() if rows}

    assert every - filled == set()
