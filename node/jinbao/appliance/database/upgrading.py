"""A database's schema brought to this release's, with what will be done shown before.

`jinbao serve` does the same at its start; this is for who wants to see it first, or to do it at
another hour. Before a revision runs, a SQLite database is copied (`copies`). A schema never goes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from jinbao.appliance.assembly import MIGRATIONS, upgrade_copied, utc_now
from jinbao.appliance.database.opening import readings, stopped
from jinbao.appliance.database.usable import require_usable
from jinbao.appliance.settings import Settings
from jinbao.library.room import LibraryProjection
from jinbao.library.tables import METADATA
from jinbao.model.errors import LocalError
from jinbao.model.zone import Zone
from jinbao.store.engine import Store
from jinbao.store.migrations import upgrade
from jinbao.store.partition import is_partitioned


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to be done: a `revision` of a room, a `table` or a `column` a standard needs, a table put in `parts`.

    Plain is what only adds, so that the release before can run on it.
    """

    kind: str
    name: str
    plain: bool = True


def migrate(settings: Settings, zone: Zone, *, only_plan: bool, only_plain: bool = False) -> list[Step]:
    """Bring a stopped zone's database to the newest schema, all of it or nothing; returns what was, or would be, done.

    Raises LockedError while the zone runs, LocalError for a database of a newer release, or with `only_plain` for a
    step that is more than an expansion, and as `copies.make_before` does.
    """
    libraries, _, _ = readings(settings, zone)
    with stopped(settings, zone) as store:
        steps = plan(store, libraries)
        if only_plain:
            _require_plain(steps)
        if steps and not only_plan:
            with store.telling():
                upgrade_copied(settings, zone, store, require_usable(store, MIGRATIONS), utc_now())
                libraries.ensure(store)
    return steps


def _require_plain(steps: Sequence[Step]) -> None:
    more = [step.name for step in steps if not step.plain]
    if more:
        raise LocalError(
            "migration",
            expected="steps that only add",
            got=", ".join(more),
            next_step="jinbao database migrate",
        )


def plan(store: Store, libraries: LibraryProjection) -> list[Step]:
    """What a database lacks of this release's schema, in the order it is done."""
    found = require_usable(store, MIGRATIONS)
    steps = [Step("revision", name, plain=name not in found.moving) for name in found.pending]
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
                steps.append(Step("parts", table.name, plain=False))
    return steps


def bring_up(store: Store, libraries: LibraryProjection) -> None:
    """Run every revision there is on a database without a row, and make the tables of every standard this zone holds."""
    upgrade(store.writer, MIGRATIONS)
    libraries.ensure(store)


def library_tables(libraries: LibraryProjection) -> Sequence[sa.Table]:
    """Tables that follow from standards, not from revisions."""
    return [table for table in libraries.tables if table.name not in METADATA.tables]
