"""One city fed by several business databases: each is a source of its own, together they are one run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.postgres import fresh_database
from tests.source.business import (
    Production,
    county,
    definition,
    employer,
    insert,
    person,
    put_sqlite,
    run_postgresql,
    run_sqlite,
)

from jinbao.appliance.settings import SourceSettings

Open = Callable[..., Production]


def in_postgresql(persons: int) -> str:
    """A county's PostgreSQL database."""
    url = fresh_database()
    rows = [insert("AC01", person(700 + at)) for at in range(persons)]
    run_postgresql(url, definition("AB01"), definition("AC01"), *rows)
    return url


@pytest.fixture
def sources(tmp_path: Path) -> list[SourceSettings]:
    """Two county files, one of them in GB 18030 and without keys, and a PostgreSQL."""
    east = county(tmp_path / "east.db", [person(1), person(2)], [employer(1)])
    keyless = [definition(table, key=False) for table in ("AB01", "AC01")]
    west = run_sqlite(tmp_path / "west.db", *keyless)
    put_sqlite(
        tmp_path / "west.db",
        "AC01",
        [person(at, AAC003=name.encode("gb18030")) for at, name in ((3, "𠮷野"), (1, "王力"))],
    )
    keys = {"AB01": ["AAB001"], "AC01": ["AAC001"]}
    return [
        SourceSettings(name="east", url=east),
        SourceSettings(name="west", url=west, encoding="gb18030", keys=keys),
        SourceSettings(name="north", url=in_postgresql(3)),
    ]


@pytest.mark.database
def test_all_databases_of_a_city_are_one_run(production: Open, sources: list[SourceSettings]) -> None:
    """Two files and a PostgreSQL are captured table by table, and what each says is kept as its own."""
    zone = production(*sources)

    captured = zone.run()

    rows = {(t.source, t.table): t.rows for t in captured.tables}
    west = next(t for t in captured.tables if (t.source, t.table) == ("west", "AC01"))
    assert rows == {
        ("east", "AB01"): 1,
        ("east", "AC01"): 2,
        ("west", "AB01"): 0,
        ("west", "AC01"): 2,
        ("north", "AB01"): 0,
        ("north", "AC01"): 3,
    }
    assert zone.shelf.read(west.current).get_column("AAC003").to_list() == ["𠮷野", "王力"]


@pytest.mark.database
def test_only_the_changed_database_has_changes(
    production: Open, sources: list[SourceSettings], tmp_path: Path
) -> None:
    """A second run seals nothing for what is equal, and one changed row of one county is one row to seal."""
    zone = production(*sources)
    first = zone.run()
    quiet = zone.run()
    run_sqlite(tmp_path / "west.db", "UPDATE AC01 SET AAC003 = '新名' WHERE AAC001 = '1401P000000001'")

    changed = zone.run()

    assert sum(ref.rows for ref in first.changes.values()) == 8
    assert quiet.changes == {}
    assert {place: ref.rows for place, ref in changed.changes.items()} == {("west", "AC01"): 1}
    assert zone.state.last_run() == 3


def test_a_finding_stays_with_its_table(production: Open, tmp_path: Path) -> None:
    """What a run noticed of a table can be asked of the zone after it."""
    url = run_sqlite(tmp_path / "c.db", definition("AB01"), definition("AC01", key=False))
    put_sqlite(tmp_path / "c.db", "AC01", [person(1), person(1, AAC003=b"\xe7\x8e\xff")])
    zone = production(SourceSettings(name="east", url=url, keys={"AC01": ["AAC001"]}))

    zone.run()

    found = {t.table: t.findings for t in zone.state.captured_tables()}
    told = ("1 rows repeat a key", "1 rows hold bytes that do not decode")
    assert found == {"AB01": (), "AC01": told}
