"""A load in several sessions has every row once, and ends whole with the error of the one that failed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import psycopg
import pytest
import sqlalchemy as sa
from tests.postgres import fresh_database

from jinbao.model.errors import CorruptionError
from jinbao.store.copying import copy_apart
from jinbao.store.engine import Store

pytestmark = pytest.mark.database

COLUMNS = ("key", "number")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store with one empty table."""
    opened = Store(fresh_database(), tmp_path / "stage")
    with opened.writer.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE person (key text, number bigint CHECK (number >= 0))")
    yield opened
    opened.close()


def frames(count: int) -> Iterator[pl.DataFrame]:
    """Frames of ten rows, each row like no other."""
    for at in range(count):
        yield pl.DataFrame({"key": [f"k{at}-{row}" for row in range(10)], "number": [at] * 10})


@pytest.mark.parametrize(("sessions", "count"), [(1, 5), (2, 1), (3, 2), (3, 40)])
def test_every_row_is_loaded_once(store: Store, sessions: int, count: int) -> None:
    """However many sessions there are for however many frames, each row of each frame is there once."""
    copy_apart(store.writer, sessions, "person", COLUMNS, frames(count))

    query = sa.text("SELECT count(*), count(DISTINCT key), count(DISTINCT number) FROM person")
    with store.writer.connect() as connection:
        assert tuple(connection.execute(query).one()) == (10 * count, 10 * count, count)


class Endless:
    """Frames without an end, of which one cannot be read."""

    def __init__(self) -> None:
        self._frames, self._count = frames(1_000_000), 0

    def __iter__(self) -> Endless:
        return self

    def __next__(self) -> pl.DataFrame:
        self._count += 1
        if self._count == 5:
            raise CorruptionError("segment", expected="its bytes", got="others")
        return next(self._frames)


def test_a_session_that_fails_ends_the_others(store: Store) -> None:
    """What one session met is raised, and the others take no more frames than they have."""
    with pytest.raises(CorruptionError):
        copy_apart(store.writer, 2, "person", COLUMNS, Endless())


def test_what_the_server_refuses_is_raised(store: Store) -> None:
    """A row that breaks a rule of the table fails the whole load."""
    rows = [*frames(3), pl.DataFrame({"key": ["k"], "number": [-1]}), *frames(3)]

    with pytest.raises(psycopg.errors.CheckViolation):
        copy_apart(store.writer, 2, "person", COLUMNS, iter(rows))
