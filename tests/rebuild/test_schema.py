"""Every table has a projection, every act a reader, and migrations make exactly what the code declares."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from tests.postgres import fresh_database
from tests.rebuild.busy import all_acts
from tests.sim.world import World

import jinbao
from jinbao.appliance.assembly import ROOMS
from jinbao.journal.tables import ACT
from jinbao.model import acts
from jinbao.store.migrations import upgrade
from jinbao.store.steps import STEP

PACKAGE = Path(jinbao.__file__).parent
MIGRATIONS = [PACKAGE / room / "migrations" for room in ROOMS]


def declared() -> sa.MetaData:
    """The tables of all rooms that have any, whether the assembly names the room or not."""
    together = sa.MetaData()
    for path in sorted(PACKAGE.glob("*/tables.py")):
        module = importlib.import_module(f"jinbao.{path.parent.name}.tables")
        for table in module.METADATA.tables.values():
            table.to_metadata(together)
    return together


def constructors() -> dict[str, str]:
    """The kind each public constructor of an act writes, by the constructor's name."""
    found: dict[str, str] = {}
    for node in ast.parse(inspect.getsource(acts)).body:
        if (
            isinstance(node, ast.FunctionDef)
            and isinstance(node.returns, ast.Name)
            and node.returns.id == "Act"
        ):
            calls = [n for n in ast.walk(node) if isinstance(n, ast.Call) and ast.unparse(n.func) == "Act"]
            found[node.name] = ast.literal_eval(calls[0].args[0])
    return found


def test_every_table_has_one_projection(busy: World) -> None:
    """Each table a room declares is written by one projection, but for the journal itself."""
    zone = next(iter(busy.zones.values()))
    written = [table.name for projection in zone.projections for table in projection.tables]

    tables = set(declared().tables)

    assert tables - set(written) == {ACT.name}
    assert len(written) == len(set(written))


def test_every_table_in_the_database_has_a_projection(busy: World) -> None:
    """A running zone's database has no table that no projection writes, but for the journal and records of migrations."""
    for zone in busy.zones.values():
        written = {table.name for projection in zone.projections for table in projection.tables}

        with zone.store.read() as connection:
            present = set(sa.inspect(connection).get_table_names())

        assert present == written | {ACT.name, STEP.name, "alembic_version"}


def test_every_act_is_read(busy: World) -> None:
    """Each act that can be made is read by a projection, and no projection waits for one that cannot."""
    zone = next(iter(busy.zones.values()))

    read = {kind for projection in zone.projections for kind in projection.kinds}

    assert read == set(constructors().values())


def test_every_act_happened_to_the_busy_network(busy: World) -> None:
    """The network that is rebuilt has recorded each act that can be made."""
    recorded = {record.act.kind for zone in busy.zones.values() for record in all_acts(zone)}

    assert set(constructors().values()) - recorded == set()


def test_an_act_is_named_as_it_is_made() -> None:
    """The kind of an act is the name of the function that makes it."""
    found = constructors()

    assert len(found) >= 17
    assert [name for name, kind in found.items() if name != kind] == []


@pytest.mark.database
@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
def test_migrations_make_the_declared_schema(tmp_path: Path, backend: str) -> None:
    """Migrations give exactly the tables, columns, types and keys that the rooms declare."""
    url = f"sqlite:///{tmp_path / 'zone.db'}" if backend == "sqlite" else fresh_database()
    engine = sa.create_engine(url)
    upgrade(engine, MIGRATIONS)

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        together = declared()
        STEP.to_metadata(together)
        differences = compare_metadata(context, together)
        keys = sa.inspect(connection).get_multi_pk_constraint()

    engine.dispose()
    wanted = {table.name: [c.name for c in table.primary_key] for table in declared().tables.values()}
    found = {name: key["constrained_columns"] for (_, name), key in keys.items() if key}
    assert differences == []
    assert {name: key for name, key in found.items() if name in wanted} == wanted


def test_rooms_with_tables_are_assembled() -> None:
    """Each room that has tables is one the assembly migrates, and has migrations."""
    rooms = {path.parent.name for path in PACKAGE.glob("*/tables.py")}

    assert rooms == set(ROOMS)
    assert [folder for folder in MIGRATIONS if not list(folder.glob("*.py"))] == []
