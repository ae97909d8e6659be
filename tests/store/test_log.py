"""A view that is held does not let the log grow without end, and nobody reads from two views."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from jinbao.model.errors import UnavailableError
from jinbao.store.engine import Store
from jinbao.store.log import LogLimits

NOTE = sa.Table(
    "note", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("text", sa.Text)
)
COUNT = sa.select(sa.func.count()).select_from(NOTE)
ROW = 64 << 10
LIMIT = 1 << 20


def opened(directory: Path, view_s_max: float) -> Store:
    """A store whose log may be a megabyte long."""
    store = Store(
        f"sqlite:///{directory / 'zone.db'}",
        directory / "stage",
        log_limits=LogLimits(bytes_max=LIMIT, view_s_max=view_s_max),
    )
    with store.transaction() as tx:
        NOTE.create(tx.connection)
    return store


@pytest.fixture
def told() -> list[tuple[int, int]]:
    """What was told of the log: its bytes, and views ended."""
    return []


@pytest.fixture
def store(tmp_path: Path, told: list[tuple[int, int]]) -> Iterator[Store]:
    """A store that lets a view be a moment old."""
    with closing(opened(tmp_path, 0.05)) as made:
        made.log.kept = lambda size, ended: told.append((size, ended))
        yield made


def write(store: Store, rows: int) -> list[int]:
    """Commit so many rows of 64 KiB one by one; the length of the log after each."""
    lengths = []
    for _ in range(rows):
        with store.transaction() as tx:
            tx.execute(NOTE.insert(), {"text": "x" * ROW})
        lengths.append(store.log.bytes())
    return lengths


def written_beside(store: Store, rows: int, lengths: list[int], age_s: float = 0.0) -> int:
    """Count the rows, hold that view while others commit, and count again; what the first count said."""
    with store.read() as connection:
        before = int(connection.scalar(COUNT) or 0)
        time.sleep(age_s)
        lengths += write(store, rows)
        connection.scalar(COUNT)
    return before


@pytest.mark.fault_row(19)
def test_a_view_that_is_held_does_not_let_the_log_grow(store: Store, told: list[tuple[int, int]]) -> None:
    """Beside a view that is too old the log stays near its limit; the view is told to ask again, and all of it aloud."""
    lengths: list[int] = []

    with pytest.raises(UnavailableError, match="held for less than"):
        written_beside(store, 200, lengths, 0.1)

    assert max(lengths) <= LIMIT + 4 * ROW
    assert [ended for _, ended in told] == [1]
    assert told[0][0] > LIMIT
    assert written_beside(store, 0, lengths) == 200


@pytest.mark.fault_row(19)
def test_at_twice_the_limit_no_view_is_too_young(tmp_path: Path) -> None:
    """A writer that is faster than any view grows old has a log of twice its limit, and no more."""
    lengths: list[int] = []
    told: list[int] = []
    with closing(opened(tmp_path, 3600.0)) as store:
        store.log.kept = lambda _, ended: told.append(ended)

        with pytest.raises(UnavailableError):
            written_beside(store, 200, lengths)

    assert LIMIT + 4 * ROW < max(lengths) <= 2 * LIMIT + 4 * ROW
    assert told == [0, 1]


def read_slowly(store: Store) -> list[int]:
    """Read row by row, and let others commit after the first one."""
    query = sa.select(NOTE.c.id).order_by(NOTE.c.text, NOTE.c.id)
    with store.read() as connection:
        rows = connection.execute(query.execution_options(yield_per=1))
        found = [next(rows).id]
        time.sleep(0.1)
        write(store, 60)
        return found + [row.id for row in rows]


@pytest.mark.fault_row(19)
def test_a_view_read_row_by_row_is_ended_at_its_next_row(store: Store) -> None:
    """A statement under way when its view is ended gives no row of another view: it is unavailable."""
    write(store, 40)

    with pytest.raises(UnavailableError):
        read_slowly(store)

    assert write(store, 1)[0] <= LIMIT + 4 * ROW


def test_short_views_are_left_alone(tmp_path: Path) -> None:
    """Views of others that overlap all the time are none of them ended, and the log is emptied all the same."""
    told, lengths, seen = list[int](), list[int](), list[int]()
    done = threading.Event()
    with closing(opened(tmp_path, 3600.0)) as store:
        store.log.kept = lambda _, ended: told.append(ended)

        def look() -> None:
            while not done.is_set():
                seen.append(written_beside(store, 0, [], 0.02))

        with ThreadPoolExecutor(3) as readers:
            looking = [readers.submit(look) for _ in range(3)]
            lengths += write(store, 150)
            done.set()
            for one in looking:
                one.result()

    assert len(seen) > 10
    assert not any(told)
    assert max(lengths) <= 2 * LIMIT + 4 * ROW


def test_a_connection_is_as_good_as_new_after_its_view_was_ended(store: Store) -> None:
    """Whoever reads next gets a view of its own from the same pool of connections."""
    for _ in range(12):
        with pytest.raises(UnavailableError):
            written_beside(store, 20, [], 0.06)

    assert written_beside(store, 0, []) == 240
