"""Connections that read columns are kept between reads, and never stand in the way of the next."""

from __future__ import annotations

import polars as pl
import psycopg
import pytest
import sqlalchemy as sa
from tests.postgres import fresh_database
from tests.servers import await_

from jinbao.store.reading import PostgresReader

pytestmark = pytest.mark.database

SCHEMA = {"pid": pl.Int64()}
PID = "SELECT pg_backend_pid()::bigint AS pid"


@pytest.fixture
def url() -> sa.URL:
    """An empty database."""
    return sa.make_url(fresh_database())


def sessions(url: sa.URL, where: str = "true") -> int:
    """How many other sessions the database has."""
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        f"AND pid <> pg_backend_pid() AND {where}"
    )
    with psycopg.connect(plain, autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


def pid_of(reader: PostgresReader) -> int:
    """The session that reads."""
    return int(pl.concat(reader.read(PID, SCHEMA, ())).item())


def test_reads_after_one_another_share_a_session(url: sa.URL) -> None:
    """The next read has the session of the last, which is in no transaction in between and ends with the reader."""
    reader = PostgresReader(url)

    assert pid_of(reader) == pid_of(reader)
    await_(
        lambda: sessions(url, "state = 'idle'") == 1
    )  # the server's word on its sessions comes a moment later
    assert sessions(url) == 1
    reader.close()
    assert pid_of(reader) > 0
    await_(lambda: sessions(url) == 0)


def test_a_session_that_was_ended_is_replaced(url: sa.URL) -> None:
    """A session the server ended between two reads costs neither of them."""
    reader = PostgresReader(url)
    first = pid_of(reader)
    assert sessions(url, f"pid = {first} AND pg_terminate_backend({first})") == 1

    assert pid_of(reader) != first
    reader.close()


def test_a_read_that_was_left_keeps_no_session(url: sa.URL) -> None:
    """A read that is left early, or that fails, ends its session."""
    reader = PostgresReader(url)
    blocks = reader.read("SELECT n::bigint AS pid FROM generate_series(1, 3000000) AS n", SCHEMA, ())
    next(blocks)
    blocks.close()  # type: ignore[attr-defined]  # a generator
    with pytest.raises(Exception, match="nowhere"):
        list(reader.read("SELECT pid FROM nowhere", SCHEMA, ()))

    assert sessions(url) == 0
