"""A database's schema brought to this release's, with what will be done shown before.

`jinbao serve` does the same at its start; this is for who wants to see it first, or to do it at
another hour. A schema never goes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from jinbao.appliance.assembly import MIGRATIONS
from jinbao.appliance.database.opening import readings, stopped
from jinbao.appliance.database.usable import require_usable
from jinbao.appliance.settings import Settings
from jinbao.library.room import LibraryProjection
from jinbao.library.tables import METADATA
from jinbao.model.zone import Zone
from jinbao.store.engine import Store
from jinbao.store.migrations import upgrade
from jinbao.store.partition import is_partitioned


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to be done: a `revision` of a room, a `table` or a `column` a standard needs, a table put in `parts`."""

    kind: str
    name: str


def migrate(settings: Settings, zone: Zone, *, only_plan: bool) -> list[Step]:
    """Bring a stopped zone's database to the newest schema, all of it or nothing; returns what was, or would be, done.

    Raises LockedError while the zone runs, and LocalError for a database of a newer release.
    """
    libraries, _, _ = readings(settings, zone)
    with stopped(settings, zone) as store:
        steps = plan(store, libraries)
        if steps and not only_plan:
            bring_up(store, libraries)
    return steps


def plan(store: Store, libraries: LibraryProjection) -> list[Step]:
    """What a database lacks of this release's schema, in the order it is done."""
    found = require_usable(store, MIGRATIONS)
    steps = [Step("revision", name) for name in found.pending]
    with store.read() as connection:
        inspector = sa.inspect(connection)
        for table in library_tables(libraries):
            if not inspector.has_table(table.name):
                steps.append(Step("table", table.name))
                continue
            present = {column["name"] for column in inspector.get_columns(table.name)}
            steps += [
                Step("column", f"{table.name}.{c.name}") for c in table.columns if c.name not in present
            ]
            if not store.is_sqlite and not is_partitioned(connection, table):
                steps.append(Step("parts", table.name))
    return steps


def bring_up(store: Store, libraries: LibraryProjection) -> None:
    """Run every revision there is, and make the tables of every standard this zone holds."""
    upgrade(store.writer, MIGRATIONS)
    libraries.ensure(store)


def library_tables(libraries: LibraryProjection) -> Sequence[sa.Table]:
    """Tables that follow from standards, not from revisions."""
    return [table for table in libraries.tables if table.name not in METADATA.tables]
