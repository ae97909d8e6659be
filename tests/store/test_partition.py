"""A part of a table is replaced whole, and no reader ever finds it missing or half."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa
from tests.postgres import fresh_database

from jinbao.model.errors import LocalError
from jinbao.store import partition
from jinbao.store.engine import Store, Transaction
from jinbao.store.partition import Part, is_partitioned, prepare

pytestmark = pytest.mark.database

TABLE = sa.Table(
    "person",
    sa.MetaData(),
    sa.Column("origin", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),
    postgresql_partition_by="LIST (origin)",
)
SCHEMA = {"origin": pl.String(), "key": pl.String(), "seq": pl.Int64()}
COUNT = sa.select(sa.func.count()).select_from(TABLE)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store with one table that has no part yet."""
    opened = Store(fresh_database(), tmp_path / "stage")
    with opened.writer.connect() as connection, connection.begin():
        prepare(connection)
        TABLE.create(connection)
    yield opened
    opened.close()


def part_of(tx: Transaction, origin: str, seq: int, keys: str) -> Part:
    """A finished part with a row for each letter of `keys`, not swapped in."""
    part = Part(tx.connection, TABLE, "origin", origin)
    part.create(seq=seq)
    for key in keys:
        tx.connection.exec_driver_sql(f"INSERT INTO {part.fresh} (key) VALUES ('{key}')")
    part.finish()
    return part


def replace(store: Store, origin: str, seq: int, keys: str) -> None:
    """Replace an origin's rows."""
    with store.transaction() as tx:
        part_of(tx, origin, seq, keys).swap()


def stored(store: Store) -> list[tuple[str, str, int]]:
    """All rows, in order."""
    return sorted(store.frame(sa.select(TABLE), SCHEMA).rows())


def origins(store: Store) -> dict[str, int]:
    """Rows by origin, by a reading connection."""
    query = sa.select(TABLE.c.origin, sa.func.count()).group_by(TABLE.c.origin)
    with store.read(TABLE) as connection:
        return {row[0]: row[1] for row in connection.execute(query)}


def test_a_part_is_replaced_whole(store: Store) -> None:
    """A swap replaces the rows of one value, leaves those of others, and takes nothing but its own value."""
    replace(store, "140100", 1, "abc")
    replace(store, "140200", 1, "a")

    replace(store, "140100", 2, "cd")

    assert stored(store) == [("140100", "c", 2), ("140100", "d", 2), ("140200", "a", 1)]
    with pytest.raises(LocalError, match="check constraint"), store.transaction() as tx:  # noqa: PT012
        part = Part(tx.connection, TABLE, "origin", "140300")
        part.create(seq=1)
        tx.connection.exec_driver_sql(f"INSERT INTO {part.fresh} VALUES ('140100', 'z', 1)")


def test_the_table_stays_as_declared(store: Store) -> None:
    """After swaps the table has its parts and no more: one key each, no check and no default left over."""
    for seq in (1, 2, 3):
        replace(store, "140100", seq, "ab")

    with store.read() as connection:
        inspector = sa.inspect(connection)
        (name,) = inspector.get_table_names(schema=partition.SCHEMA)
        assert inspector.get_check_constraints(name, schema=partition.SCHEMA) == []
        columns = inspector.get_columns(name, schema=partition.SCHEMA)
        assert [column["default"] for column in columns] == [None, None, None]
        assert inspector.get_table_names() == [TABLE.name]
        assert is_partitioned(connection, TABLE)


def test_a_doubled_key_swaps_nothing(store: Store) -> None:
    """A part with a key twice is refused when its key is built, and the part before it stays."""
    replace(store, "140100", 1, "a")

    with pytest.raises(LocalError, match="unique"):
        replace(store, "140100", 2, "bb")

    assert stored(store) == [("140100", "a", 1)]


def test_a_swap_that_is_not_committed_did_not_happen(store: Store) -> None:
    """An error after the swap brings the old part back, whole."""
    replace(store, "140100", 1, "ab")

    with pytest.raises(RuntimeError, match="stop"), store.transaction() as tx:  # noqa: PT012
        part_of(tx, "140100", 2, "c").swap()
        raise RuntimeError("stop")

    assert stored(store) == [("140100", "a", 1), ("140100", "b", 1)]


@pytest.mark.parametrize("read", [stored, origins], ids=["columns", "connection"])
def test_a_reader_that_met_a_swap_sees_what_it_brought(
    store: Store, read: Callable[[Store], list[object] | dict[str, int]]
) -> None:
    """A reader that comes between swap and commit waits, and sees the new rows: never none."""
    replace(store, "140100", 1, "ab")

    with ThreadPoolExecutor(1) as thread:
        with store.transaction() as tx:
            part_of(tx, "140100", 2, "xyz").swap()
            reading: Future[object] = thread.submit(read, store)
            _wait_until_locked(tx)
        found = reading.result(timeout=30)

    assert found in ([("140100", key, 2) for key in "xyz"], {"140100": 3})


def _wait_until_locked(tx: Transaction) -> None:
    """Return when somebody waits for a lock."""
    waiting = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    for _ in range(1000):
        if tx.execute(waiting).scalar_one():
            return
        threading.Event().wait(0.01)
    raise AssertionError("no reader waited")


def test_a_swap_waits_for_a_reader(store: Store) -> None:
    """A reader keeps its view to its end, however often it looks; the swap comes after it."""
    replace(store, "140100", 1, "ab")

    with ThreadPoolExecutor(1) as thread:
        with store.read(TABLE) as connection:
            before = connection.execute(COUNT).scalar_one()
            swapping = thread.submit(replace, store, "140100", 2, "xyz")
            threading.Event().wait(0.5)
            after = connection.execute(COUNT).scalar_one()
            assert not swapping.done()
        swapping.result(timeout=30)

    assert (before, after) == (2, 2)
    assert origins(store) == {"140100": 3}


def test_readers_pass_a_swap_that_waits(store: Store) -> None:
    """While a swap waits for a long reader, others are not kept out behind it for long."""
    replace(store, "140100", 1, "ab")

    with ThreadPoolExecutor(1) as thread:
        with store.read(TABLE) as connection:
            connection.execute(COUNT)
            swapping = thread.submit(replace, store, "140100", 2, "xyz")
            found = [origins(store) for _ in range(20) if not threading.Event().wait(0.02)]
            assert not swapping.done()
        swapping.result(timeout=30)

    assert found == [{"140100": 2}] * 20


def test_a_reader_that_never_ends_is_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """When readers do not let go in time the swap is refused with what to do, and nothing is stored."""
    monkeypatch.setattr(partition, "_LOCK_WAITS_S", (0.01, 0.02))
    replace(store, "140100", 1, "ab")

    with store.read(TABLE) as connection:
        connection.execute(COUNT)
        with pytest.raises(LocalError, match=r"readers to let go .*pg_stat_activity"):
            replace(store, "140100", 2, "xyz")

    assert origins(store) == {"140100": 2}


def test_a_first_part_waits_for_nobody(store: Store) -> None:
    """The first part of a value is attached beside a reader, whose view does not have it."""
    replace(store, "140100", 1, "ab")

    with store.read(TABLE) as connection:
        connection.execute(COUNT)
        replace(store, "140200", 1, "c")
        during = connection.execute(COUNT).scalar_one()

    assert during == 2
    assert origins(store) == {"140100": 2, "140200": 1}


@pytest.mark.parametrize("analysed", [True, False], ids=["analysed", "unknown"])
def test_a_part_knows_about_how_many_rows_it_holds(store: Store, analysed: bool) -> None:
    """Whether a part holds more rows than so many is told with and without statistics."""
    replace(store, "140100", 1, "" if not analysed else "abcde")
    with store.transaction() as tx:
        part = Part(tx.connection, TABLE, "origin", "140100")
        if not analysed:
            tx.connection.exec_driver_sql(
                f"INSERT INTO {part.name} VALUES ('140100', 'a', 1), ('140100', 'b', 1)"
            )
        rows = 5 if analysed else 2

        assert (part.holds(rows - 1), part.holds(rows)) == (True, False)


def test_names_fit_and_differ() -> None:
    """Names of parts fit what PostgreSQL keeps of a name, and differ where table or value does."""
    tables = ["表" * 40, "表" * 41, "t" * 100, "t"]
    names = {partition._part_name(table, value) for table in tables for value in ("1", "11", "140000-backup")}

    assert len(names) == 12
    assert max(len(f"{name}_new_pkey1".encode()) for name in names) <= 63
