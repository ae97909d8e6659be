"""Tables of release 0.1 come into parts with every row, or stay whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.library.parts import PERSON, STANDARD, Applied, open_library
from tests.postgres import fresh_database

from jinbao.library.room import LibraryProjection
from jinbao.library.tables import ORIGIN, SEQ, sql_table
from jinbao.model.batch import Kind
from jinbao.store.partition import Part, is_partitioned
from jinbao.trust.digest import Digest

pytestmark = pytest.mark.database

ORIGINS = ("140100", "140200", "odd'origin")
TABLES = [sql_table(STANDARD, table) for table in STANDARD.tables]


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Applied]:
    """A library on PostgreSQL whose tables are whole, with three rows of each origin."""
    opened = open_library(fresh_database(), tmp_path)
    with opened.store.writer.connect() as connection, connection.begin():
        for table in TABLES:
            table.drop(connection)
            whole = sa.Table(
                table.name,
                sa.MetaData(),
                *(
                    sa.Column(c.name, c.type, primary_key=c.primary_key, nullable=c.nullable)
                    for c in table.columns
                ),
            )
            whole.create(connection)
            connection.execute(whole.insert(), [row for origin in ORIGINS for row in rows_of(origin)])
    yield opened
    opened.store.close()


def rows_of(origin: str) -> list[dict[str, object]]:
    """Three rows of an origin."""
    return [
        {ORIGIN: origin, "AAC001": str(n), "AAE003": 202410, "AAC003": f"{origin}的", "AAE180": n, SEQ: n + 1}
        for n in range(3)
    ]


def digests(applied: Applied) -> dict[str, dict[str, Digest]]:
    """Digests of every origin and table."""
    return {origin: applied.library.digests(STANDARD.library, origin) for origin in ORIGINS}


def ensure(applied: Applied) -> None:
    """What a zone does at its start."""
    LibraryProjection({STANDARD.library: STANDARD}, applied.shelf).ensure(applied.store)


def test_a_whole_table_comes_into_parts(old: Applied) -> None:
    """A whole table's rows are all in parts after the start, with their seqs, and a second start changes nothing."""
    before = digests(old)

    for _ in range(2):
        ensure(old)

    with old.store.read() as connection:
        assert all(is_partitioned(connection, table) for table in TABLES)
        assert sa.inspect(connection).has_table(f"{TABLES[0].name}_whole") is False
    assert digests(old) == before
    found = old.library.frame(STANDARD.library, PERSON.id, origin=ORIGINS[0])
    assert found.get_column(SEQ).sort().to_list() == [1, 2, 3]


def test_what_comes_after_is_applied_to_the_parts(old: Applied) -> None:
    """After the upgrade a change finds the rows there were, and a snapshot replaces them."""
    ensure(old)
    others = digests(old)[ORIGINS[2]]

    old.apply(ORIGINS[0], Kind.CHANGE, {"1": None, "7": ("新", 1)})
    old.apply(ORIGINS[1], Kind.SNAPSHOT, {"1": ("新", 1)})

    assert old.library.origins(STANDARD.library, PERSON.id) == dict(zip(ORIGINS, (3, 1, 3), strict=True))
    assert digests(old)[ORIGINS[2]] == others


def test_an_upgrade_that_stops_leaves_the_table_whole(old: Applied, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upgrade that ends in its middle changes nothing, and the next start does it."""
    before, finish = digests(old), Part.finish
    stops = iter([False, False, False, False, True])

    def stopping(part: Part) -> None:
        if next(stops):
            raise RuntimeError("stop")
        finish(part)

    with monkeypatch.context() as patched:
        patched.setattr(Part, "finish", stopping)
        with pytest.raises(RuntimeError, match="stop"):
            ensure(old)
    with old.store.read() as connection:
        assert not any(is_partitioned(connection, table) for table in TABLES)
    assert digests(old) == before

    ensure(old)

    assert digests(old) == before
