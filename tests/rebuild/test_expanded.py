"""What a newer release added to a schema outlives all that this release writes beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.newer import folder_of, upgraded
from tests.rebuild.busy import live
from tests.rebuild.test_schema import declared
from tests.sim.world import Plan, world

from jinbao.appliance.assembly import OpenZone
from jinbao.store.steps import STEP

BESIDE = "newer"

EXPAND_ALL = f"""
def upgrade() -> None:
    for table in {sorted(declared().tables)}:
        op.add_column(table, sa.Column("{BESIDE}", sa.Text(), nullable=False, server_default="of the old"))
    op.create_table("journal_extra", sa.Column("n", sa.BigInteger(), primary_key=True, autoincrement=False))
"""

Rows = dict[tuple[Any, ...], tuple[dict[str, Any], str]]


def rows_of(zone: OpenZone, table: sa.Table) -> Rows:
    """Rows of a table by key: what this release knows of each, and what stands beside it."""
    key = [column.name for column in table.primary_key]
    with zone.store.read() as connection:
        found = (
            connection.execute(sa.select(table, sa.literal_column(BESIDE, sa.Text).label(BESIDE)))
            .mappings()
            .all()
        )
    known = [({n: row[n] for n in table.c.keys()}, str(row[BESIDE])) for row in found]  # noqa: SIM118
    return {tuple(row[name] for name in key): (row, beside) for row, beside in known}


@pytest.mark.fault_row(7)
def test_an_older_release_leaves_what_a_newer_one_added(guarded_plan: Plan, tmp_path: Path) -> None:
    """Rows this release does not change keep columns it does not know, in every table, and unknown tables their rows."""
    newer = folder_of(tmp_path / "newer", step="expand", body=EXPAND_ALL)
    tables = [table for name, table in sorted(declared().tables.items()) if name != "audit_entry"]
    with world(guarded_plan, tmp_path / "network", seed=5) as made:
        before: dict[tuple[Any, str], Rows] = {}
        for endpoint in list(made.zones):
            zone = made.zones[endpoint]
            upgraded(zone.store.writer, newer)
            with zone.store.transaction() as tx:
                for table in tables:
                    tx.connection.exec_driver_sql(f"UPDATE {table.name} SET {BESIDE} = 'of the newer'")
                tx.connection.exec_driver_sql("INSERT INTO journal_extra VALUES (1)")
            made.restart(endpoint)
            before |= {(endpoint, table.name): rows_of(made.zones[endpoint], table) for table in tables}

        live(made)

        lost, kept = set(), 0
        for endpoint, zone in made.zones.items():
            assert zone.brought.ahead == ("journal_9001",)
            for table in tables:
                now = rows_of(zone, table)
                for key, (row, beside) in before[endpoint, table.name].items():
                    if key in now and now[key][0] == row:
                        kept += 1
                        lost |= {table.name} if now[key][1] != beside else set()
            with zone.store.read() as connection:
                assert connection.exec_driver_sql("SELECT n FROM journal_extra").all() == [(1,)]
                assert connection.execute(
                    sa.select(STEP.c.kind).where(STEP.c.revision == "journal_9001")
                ).all()
        assert (lost, kept > 100) == (set(), True)
