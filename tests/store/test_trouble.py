"""A database in trouble: nothing is half applied, what passes is tried again by pace, the rest is told."""

from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest
import sqlalchemy as sa
from tests.library.parts import Applied, Row, open_library
from tests.link.wires import Wire, wire
from tests.servers import OwnServer, await_

from jinbao.flow.pace import Pace, PaceLimits, Worker
from jinbao.model import failpoint
from jinbao.model.batch import Kind
from jinbao.model.errors import LocalError, SpaceError, UnavailableError
from jinbao.store import engine
from jinbao.store.refusals import refusal

CITY = "140100"
BEFORE: Mapping[str, Row | None] = {f"{n:06d}": ("张三", n) for n in range(50)}
AFTER: Mapping[str, Row | None] = {f"{n:06d}": ("李四", n + 1) for n in range(4000)}
QUICK = PaceLimits(interval_s=0.02, backoff_s=0.05, backoff_max_s=0.2)
TARGET, ACTS = "pay__person", "journal_act"


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    """A server that tests kill and start again."""
    made = OwnServer()
    yield made
    made.close()


@pytest.fixture
def library(server: OwnServer, tmp_path: Path) -> Iterator[Applied]:
    """A library with one submission, in a fresh database."""
    with opened(server.sqlalchemy_url(server.fresh_database()), tmp_path) as made:
        yield made


@contextmanager
def opened(url: str, directory: Path) -> Iterator[Applied]:
    """A library with one submission."""
    made = open_library(url, directory)
    made.apply(CITY, Kind.SNAPSHOT, BEFORE)
    try:
        yield made
    finally:
        failpoint.set_hook(None)
        made.store.close()


def content(library: Applied) -> tuple[int, list[int], int]:
    """Rows of the city, the submissions there are, and the newest place of the journal."""
    rows = library.library.origins("pay", "person").get(CITY, 0)
    done = [row["seq"] for row in library.library.submissions()]
    return rows, done[::-1], library.ledger.acts()[-1].lsn


class Told:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def event(self, name: str, **values: Any) -> None:
        """One fact."""
        self.events.append({"event": name} | values)


@contextmanager
def applying(library: Applied) -> Iterator[tuple[Worker, Told]]:
    """A worker that applies the next submission, as an applier does: it looks what is there first."""
    bugs: list[BaseException] = []
    told = Told()

    def step() -> bool:
        if len(library.library.submissions()) == 2:
            return False
        library.seqs[CITY] = 2
        library.apply(CITY, Kind.CHANGE, AFTER)
        return True

    pace = Pace(QUICK, random.Random(1))
    worker = Worker("apply", step, pace=pace, observer=told, on_bug=bugs.append)
    worker.start()
    try:
        yield worker, told
    finally:
        assert worker.stop(30)
        assert bugs == []


def at_failpoint(name: str, act: Callable[[], None]) -> None:
    """Do something once, where the next transaction passes."""

    def hook(passed: str) -> None:
        if passed == name:
            failpoint.set_hook(None)
            act()

    failpoint.set_hook(hook)


def in_copy(server: OwnServer, way: Wire, _library: Applied) -> None:
    """Kill the server when the first 40 KB of the next transaction have gone to it."""

    def arm() -> None:
        most = way.requested + 40_000

        def kill(requested: int) -> None:
            if requested > most:
                way.on_request = lambda _: None
                server.kill()

        way.on_request = kill

    at_failpoint("ledger.before_record", arm)


def before_commit(server: OwnServer, _way: Wire, _library: Applied) -> None:
    """Kill the server when all rows are written, and not committed."""
    at_failpoint("store.before_commit", server.kill)


def after_commit(server: OwnServer, way: Wire, library: Applied) -> None:
    """Let the commit reach the server, lose its answer, and kill the server."""
    database = str(library.store.url.database)

    def start_watching() -> None:
        way.answers_lost = True

        def watch() -> None:
            with server.session(database) as session:
                session.autocommit = True
                await_(lambda: session.execute("SELECT count(*) FROM library_submission").fetchone() == (2,))
            server.kill()

        threading.Thread(target=watch, daemon=True).start()

    at_failpoint("store.before_commit", start_watching)


@pytest.mark.database
@pytest.mark.parametrize("strike", [in_copy, before_commit, after_commit])
def test_a_server_killed_in_mid_apply_is_gone_on_with(
    server: OwnServer, tmp_path: Path, strike: Callable[[OwnServer, Wire, Applied], None]
) -> None:
    """Killed while rows are copied, before or after the commit: once it is back all rows are there, each once."""
    database = server.fresh_database()
    with (
        wire(server.socket) as way,
        opened(server.tcp_url(way.address, database), tmp_path) as library,
    ):
        strike(server, way, library)
        with applying(library) as (worker, told):
            await_(lambda: worker.last_error)
            error = worker.last_error
            way.heal()
            server.start()
            await_(lambda: worker.last_error is None and worker.last_success_monotonic)
            await_(lambda: content(library) == (4000, [2, 4], 2))

        assert isinstance(error, UnavailableError)
        assert {event["code"] for event in told.events} == {"unavailable"}
        assert library.library.frame("pay", "person")["AAC003"].unique().to_list() == ["李四"]


def _waiting(server: OwnServer, library: Applied) -> list[int]:
    """Sessions of the library's database that wait for a lock."""
    name = library.store.url.database
    query = f"SELECT pid FROM pg_stat_activity WHERE datname = '{name}' AND wait_event_type = 'Lock'"
    return [pid for (pid,) in server.run(query)]


def terminated(server: OwnServer, library: Applied) -> None:
    """An administrator ends the writer's session when all rows are written."""
    mine = f"datname = '{library.store.url.database}' AND backend_xid IS NOT NULL"
    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {mine}"
    at_failpoint("store.before_commit", lambda: server.run(end))


def _locked(
    server: OwnServer, library: Applied, act: Callable[[Any, list[int]], None], table: str = TARGET
) -> None:
    """A foreign session holds a table until the writer waits for it, and then does something."""

    def hold() -> None:
        with server.session(str(library.store.url.database)) as session:
            session.execute("SET deadlock_timeout = '60s'")
            session.execute(f"LOCK TABLE {table} IN SHARE MODE")
            holding.set()
            await_(lambda: _waiting(server, library))
            act(session, _waiting(server, library))
            session.rollback()

    holding = threading.Event()
    threading.Thread(target=hold, daemon=True).start()
    assert holding.wait(10)


def deadlocked(server: OwnServer, library: Applied) -> None:
    """A foreign session wants what the writer has while the writer waits for what it has."""
    _locked(server, library, lambda session, _: session.execute(f"LOCK TABLE {ACTS} IN SHARE MODE"))


def cancelled(server: OwnServer, library: Applied) -> None:
    """An administrator cancels the writer's statement; the lock is held until its transaction is over."""
    name = library.store.url.database
    waits = "wait_event_type = 'Lock' AND query LIKE '%ACCESS EXCLUSIVE%'"
    writers = f"SELECT pid, xact_start::text FROM pg_stat_activity WHERE datname = '{name}' AND {waits}"

    def cancel(_session: object, _pids: list[int]) -> None:
        found: list[tuple[int, str]] = []
        await_(lambda: found or found.extend(server.run(writers)) or found)
        pid, begun = found[0]
        # Between two attempts at the lock it runs nothing that could be cancelled: until its transaction is over.
        again = f"SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid = {pid} AND xact_start::text = '{begun}'"
        await_(lambda: not list(server.run(again)))

    _locked(server, library, cancel)


def locked_out(server: OwnServer, library: Applied) -> None:
    """A foreign session holds the journal for longer than the writer waits."""
    with library.store.writer.connect() as connection:  # the one the writer will have
        connection.exec_driver_sql("SET lock_timeout = 200")
        connection.commit()
    _locked(server, library, lambda *_: await_(lambda: not _waiting(server, library)), ACTS)


@pytest.mark.database
@pytest.mark.parametrize(
    ("strike", "said"),
    [
        (terminated, "terminating connection due to administrator command"),
        (deadlocked, "deadlock detected"),
        (cancelled, "canceling statement due to user request"),
        (locked_out, "canceling statement due to lock timeout"),
    ],
)
def test_work_that_was_taken_back_is_done_again(
    server: OwnServer, library: Applied, strike: Callable[[OwnServer, Applied], None], said: str
) -> None:
    """A session that is ended, a deadlock, a cancelled statement, a lock that does not come: once more, by pace, once."""
    strike(server, library)

    with applying(library) as (worker, told):
        await_(lambda: content(library) == (4000, [2, 4], 2))
        await_(lambda: worker.last_error is None)

    assert {event["code"] for event in told.events} == {"unavailable"}
    assert said in told.events[0]["reason"]
    assert all(event["failures"] <= 3 for event in told.events)


CLOSING = "library_submission"
"""What a submission writes last: its rows are loaded beside the table, past any trigger of it."""

FULL = """
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  RAISE EXCEPTION 'could not extend file "base/5/16385": No space left on device' USING ERRCODE = '53100';
END $$"""


@pytest.mark.database
@pytest.mark.fault_row(8)
def test_a_full_tablespace_waits_for_room(server: OwnServer, library: Applied) -> None:
    """While the server has no room nothing of a batch is there and the mark stands; with room it goes on by itself."""
    with server.session(str(library.store.url.database)) as session:
        session.execute(FULL)
        session.execute(f"CREATE TRIGGER full_disk AFTER INSERT ON {CLOSING} EXECUTE FUNCTION full_disk()")
    with applying(library) as (worker, told):
        await_(lambda: worker.last_error)
        before, error = content(library), worker.last_error
        with server.session(str(library.store.url.database)) as session:
            session.execute(f"DROP TRIGGER full_disk ON {CLOSING}")
        await_(lambda: content(library) == (4000, [2, 4], 2))

    assert before == (50, [2], 1)
    assert isinstance(error, SpaceError)
    assert {event["code"] for event in told.events} == {"space"}


@pytest.mark.database
@pytest.mark.fault_row(8)
def test_a_limit_of_temporary_files_is_a_want_of_room(server: OwnServer, library: Applied) -> None:
    """A real limit of temporary files that is reached is told as such, and the next transaction works."""

    def overflow() -> None:
        with library.store.transaction() as tx:
            tx.execute(sa.text("SET LOCAL work_mem = '64kB'"))
            tx.execute(sa.text("SET LOCAL temp_file_limit = '256kB'"))
            tx.execute(
                sa.text("SELECT count(*) FROM (SELECT g FROM generate_series(1, 200000) g ORDER BY -g) s")
            )

    with pytest.raises(SpaceError, match="temp_file_limit"):
        overflow()

    library.apply(CITY, Kind.CHANGE, AFTER)

    assert content(library)[0] == 4000


@pytest.mark.database
def test_a_value_the_database_cannot_hold_is_told_without_the_value(library: Applied) -> None:
    """A number beyond 64 bits and a text that is no number are refused by name of the fault; no cell is quoted."""
    for value, said in (("9223372036854775808", "out of range"), ("'张三'::bigint", "invalid input syntax")):
        with pytest.raises(LocalError) as found, library.store.transaction() as tx:
            tx.execute(sa.text(f'UPDATE {TARGET} SET "AAE180" = {value}'))

        assert found.value.code == "local"
        assert said in str(found.value)
        assert "张三" not in str(found.value)
    assert content(library) == (50, [2], 1)


@pytest.mark.database
def test_a_server_without_a_free_connection_is_tried_again(server: OwnServer, library: Applied) -> None:
    """No place for one more session passes: readers and writers get it as unavailable, in words."""
    server.run("DROP ROLE IF EXISTS zone", "CREATE ROLE zone LOGIN CONNECTION LIMIT 0")
    url = library.store.url.set(username="zone")
    narrow = engine.Store(url.render_as_string(hide_password=False), library.store._stage_directory)
    try:
        for use in (narrow.transaction, narrow.read):
            with pytest.raises(UnavailableError, match="too many connections"), use():
                pass
        with pytest.raises(UnavailableError, match="too many connections"):
            narrow.frame(sa.select(sa.literal("x").label("X")), {"X": pl.String()})
    finally:
        narrow.close()


def test_a_locked_sqlite_file_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A SQLite zone whose file another process keeps locked says unavailable, and applies once it is free."""
    monkeypatch.setattr(engine, "_BUSY_MS", 50)
    path = tmp_path / "zone.db"
    with opened(f"sqlite:///{path}", tmp_path) as library:
        foreign = sqlite3.connect(path, isolation_level=None)
        foreign.execute("BEGIN IMMEDIATE")
        with applying(library) as (worker, told):
            await_(lambda: worker.last_error)
            foreign.execute("ROLLBACK")
            await_(lambda: content(library) == (4000, [2, 4], 2))
        foreign.close()

    assert {event["code"] for event in told.events} == {"unavailable"}


@pytest.mark.parametrize(
    ("exc", "code"),
    [
        (psycopg.errors.SerializationFailure, "unavailable"),
        (psycopg.errors.CrashShutdown, "unavailable"),
        (psycopg.errors.CannotConnectNow, "unavailable"),
        (psycopg.errors.DiskFull, "space"),
        (psycopg.errors.UndefinedTable, "local"),
        (psycopg.errors.InsufficientPrivilege, "local"),
    ],
)
def test_every_refusal_has_one_meaning(exc: type[psycopg.Error], code: str) -> None:
    """What may succeed later, what wants room and what wants a person are told apart by the server's own state."""
    assert refusal(sa.exc.DBAPIError("SELECT", {}, exc("why")), "here").code == code
