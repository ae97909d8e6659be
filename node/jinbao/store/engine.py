"""The store: one engine per zone database, one writer, readers that cannot write.

SQLite: opened by this process's `sqlite3` alone (two SQLite libraries on one file lose
committed rows), WAL, synchronous FULL; one connection writes and checkpoints, readers
are `query_only` and never checkpoint. PostgreSQL: any SQLAlchemy URL of it. Bulk rows
enter and leave as columns (`stage`, `frame`), never as Python rows. A database whose disk failed
is written no more (`latch`); a log that views keep from being emptied is bounded (`log`).

Invariant: everything inside one `transaction()` is committed together or not at all.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy.pool import QueuePool, StaticPool

from jinbao.model.errors import CorruptionError, DiskError, LocalError
from jinbao.model.failpoint import declare, hit
from jinbao.store.latch import Latch, is_full
from jinbao.store.log import Log, LogLimits
from jinbao.store.reading import PostgresReader
from jinbao.store.refusals import refusal, telling_stage, with_driver
from jinbao.store.stage import Frames, PostgresStage, SqliteStage, Stage, read_sqlite

COMMIT_BEFORE = declare("store.before_commit", "rows are written in the transaction, not committed")
COMMIT_AFTER = declare("store.after_commit", "the transaction is committed, nobody was told")
_READERS_MAX = 8
_BUSY_MS = 30_000
"""How long a writer waits for a lock another session holds, in either database."""

_PATIENCE = {
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
"""What libpq is told unless the URL says otherwise: a server without power is noticed in half a minute, not two hours."""


class Transaction:
    """What rooms are handed: execute SQL, merge staged rows; commits at the end of its `with`."""

    def __init__(self, connection: sa.Connection, stages: Sequence[Stage], sessions: int = 1) -> None:
        self.connection = connection
        self.sessions = sessions
        self._stages = tuple(stages)

    def execute(
        self,
        statement: sa.Executable,
        parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    ) -> sa.CursorResult[Any]:
        """Run one statement inside this transaction."""
        return self.connection.execute(statement, parameters)

    def staged(self, stage: Stage) -> sa.TableClause:
        """The staged rows as a table, readable only inside this transaction."""
        assert stage in self._stages, "stage was not handed to this transaction"
        return stage.load(self.connection)

    def copy(
        self, stage: Stage, table: str, columns: Sequence[str], only: pl.Expr, *, freeze: bool = False
    ) -> None:
        """COPY columns of staged rows straight into a PostgreSQL table (`table`: SQL, quoted)."""
        assert stage in self._stages, "stage was not handed to this transaction"
        assert isinstance(stage, PostgresStage), "SQLite has no COPY"
        stage.copy(self.connection, table, columns, only, freeze=freeze)

    def copy_apart(self, stage: Stage, table: str, columns: Sequence[str], only: pl.Expr) -> None:
        """The same in `sessions` at once; the table must be committed, and what is copied stays whatever comes of us."""
        assert stage in self._stages, "stage was not handed to this transaction"
        assert isinstance(stage, PostgresStage), "SQLite has no COPY"
        stage.copy_apart(self.connection.engine, self.sessions, table, columns, only)


class Store:
    """One zone's database. Close it; a second store on the same SQLite file is a bug."""

    def __init__(
        self,
        url: str,
        stage_directory: Path,
        *,
        latch: Latch | None = None,
        log_limits: LogLimits = LogLimits(),  # noqa: B008  # frozen
    ) -> None:
        self.url = sa.make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.latch = latch or Latch()
        self.log = Log(str(self.url.database), log_limits)
        self._stage_directory = stage_directory
        stage_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for leftover in stage_directory.glob("stage-*"):  # of a process that was killed
            leftover.unlink()
        self._stages = 0
        self.sessions = 1
        """Sessions one load may use; more only while nobody else uses a PostgreSQL database, for each commits by itself."""
        self.committed: Callable[[float], None] = lambda _: None
        """Told how many seconds each commit took."""
        self._write_lock = threading.RLock()
        self._stage_lock = threading.Lock()
        self._staging = threading.local()
        self.writer = self._engine(writer=True)
        self.reader = self._engine(writer=False)
        self._columns = PostgresReader(self._patient)

    def _engine(self, *, writer: bool) -> sa.Engine:
        if not self.is_sqlite:
            # Writers are one by our own lock; readers see one snapshot, as in SQLite.
            level = "READ COMMITTED" if writer else "REPEATABLE READ"
            size = 2 if writer else _READERS_MAX
            engine = sa.create_engine(
                self._patient, pool_size=size, pool_pre_ping=True, isolation_level=level, hide_parameters=True
            )
            sa.event.listen(engine, "connect", _limit_locks)
            return engine
        engine = sa.create_engine(
            self.url,
            hide_parameters=True,  # they are persons, and an error's text goes into a log
            connect_args={"check_same_thread": False, "timeout": _BUSY_MS / 1000},
            **(
                {"poolclass": StaticPool}
                if writer
                else {"poolclass": QueuePool, "pool_size": _READERS_MAX, "max_overflow": 0}
            ),
        )

        @sa.event.listens_for(engine, "connect")
        def _prepare(connection: Any, _record: object) -> None:
            connection.isolation_level = None  # BEGIN is ours, see below
            cursor = connection.cursor()
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=FULL")
            cursor.execute("PRAGMA foreign_keys=ON")
            cursor.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
            cursor.execute("PRAGMA cache_size=-65536")
            if not writer:
                cursor.execute("PRAGMA wal_autocheckpoint=0")
                cursor.execute("PRAGMA query_only=ON")
            cursor.close()

        @sa.event.listens_for(engine, "begin")
        def _begin(connection: sa.Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writer else "BEGIN")

        if not writer:
            sa.event.listen(engine, "before_cursor_execute", _require_view)
        return engine

    def stage(self, columns: Sequence[str], frames: Frames) -> Stage:
        """Prepare rows for a later transaction, block by block; there must be at least one block.

        SQLite: a separate file, written and closed here, attached by the writer.
        PostgreSQL: copied on the transaction's own connection when it is used.
        """
        with self._stage_lock:
            self._stages += 1
            name = f"stage_{self._stages}"
        if self.is_sqlite:
            path = self._stage_directory / f"{name.replace('_', '-')}.db"
            getattr(self._staging, "paths", []).append(path)
            with telling_stage(path, is_full):
                return SqliteStage(name, columns, frames, path)
        return PostgresStage(name, columns, frames)

    @property
    def _patient(self) -> sa.URL:
        """The URL with what libpq should know of lost servers."""
        missing = {key: value for key, value in _PATIENCE.items() if key not in self.url.query}
        return self.url.update_query_dict(missing)

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Turn what the database refuses inside into our errors.

        Raises UnavailableError when it is away or took the work back, SpaceError when its disk is
        full, and LocalError for any other refusal; of them DiskError and CorruptionError close the latch.
        """
        try:
            yield
        except with_driver(sa.exc.DBAPIError, sa.exc.TimeoutError, sqlite3.Error) as exc:
            # The drivers' own errors: COPY and ATTACH go past SQLAlchemy.
            raise self._refusal(exc) from exc

    def _refusal(self, exc: BaseException) -> LocalError:
        found = refusal(exc, self.url.render_as_string(hide_password=True), self._is_full)
        if isinstance(found, DiskError | CorruptionError):
            self.latch.close(found)
        return found

    def _is_full(self) -> bool:
        return self.is_sqlite and is_full(Path(str(self.url.database)).parent)

    @contextmanager
    def staging(self) -> Iterator[None]:
        """Stages this thread makes inside are forgotten again if it ends in an error."""
        self._staging.paths = paths = list[Path]()
        try:
            yield
        except Exception:
            for path in paths:
                path.unlink(missing_ok=True)
            raise
        finally:
            del self._staging.paths

    @contextmanager
    def transaction(self, *stages: Stage) -> Iterator[Transaction]:
        """One writing transaction; `stages` are readable in it through `Transaction.staged`.

        Raises what `telling` raises; nothing of the transaction is then stored. Only where the
        connection is lost or a disk fails while it commits may all of it be: whoever tries again
        looks first. Raises DiskError once the latch is closed.
        """
        with self._write_lock:
            try:
                self.latch.require("transaction")
                with self.telling(), self.writer.connect() as connection, _attached(connection, stages):
                    with connection.begin():
                        yield Transaction(connection, stages, self.sessions)
                        hit(COMMIT_BEFORE)
                        self.latch.require("transaction")
                        began = time.monotonic()
                    self.committed(time.monotonic() - began)
                    hit(COMMIT_AFTER)
                if self.is_sqlite and self.log.is_long():
                    self._bound_log()
            finally:
                for stage in stages:
                    stage.close()

    def _bound_log(self) -> None:
        try:
            with self.telling(), self.writer.connect() as connection:
                self.log.bound(connection.connection.driver_connection)
        except LocalError:  # what was to be stored is: the log is emptied after the next commit
            self.log.kept(self.log.bytes(), 0)

    @contextmanager
    def read(self, *tables: sa.Table) -> Iterator[sa.Connection]:
        """One consistent view of what is committed; cannot write. `tables`: those in parts that will be read.

        Raises what `telling` raises; UnavailableError also for a view that was held for too long.
        """
        with (
            self.telling(),
            self.reader.connect() as connection,
            self._viewed(connection),
            connection.begin(),
        ):
            for name in self._locked(tables):
                connection.exec_driver_sql(f"LOCK TABLE ONLY {name} IN ACCESS SHARE MODE")
            yield connection

    @contextmanager
    def _viewed(self, connection: sa.Connection) -> Iterator[None]:
        """Let the view be ended by whoever must empty the log."""
        if not self.is_sqlite:
            yield
            return
        with self.log.viewed(connection.connection.driver_connection) as view:
            connection.info[_VIEW] = view
            try:
                yield
            finally:
                del connection.info[_VIEW]

    def _locked(self, tables: Sequence[sa.FromClause]) -> list[str]:
        """Tables to lock before the view is taken, in order of name: a view older than a swap finds no rows."""
        if self.is_sqlite:
            return []
        quote = self.reader.dialect.identifier_preparer.quote
        return sorted(quote(table.name) for table in tables if isinstance(table, sa.Table))

    def frames(self, query: sa.Select[Any], schema: Mapping[str, pl.DataType]) -> Iterator[pl.DataFrame]:
        """The rows of `query` as columns of `schema`, in bounded blocks of one view (order of the query).

        The view is held until the blocks are read or the iterator is closed. Raises what `telling` raises.
        """
        compiled = str(query.compile(self.reader, compile_kwargs={"literal_binds": True}))
        with self._telling_columns():
            if self.is_sqlite:
                with self._stage_lock:
                    self._stages += 1
                    path = self._stage_directory / f"stage-{self._stages}.db"
                yield from read_sqlite(str(self.url.database), compiled, schema, path)
            else:
                # Compiled for a driver that undoes the doubling of every percent sign; ADBC does not.
                plain, locked = compiled.replace("%%", "%"), self._locked(query.get_final_froms())
                yield from self._columns.read(plain, schema, locked)

    @contextmanager
    def _telling_columns(self) -> Iterator[None]:
        """As `telling`, for reading past SQLAlchemy; a server lost in mid-stream is an OSError of Arrow's."""
        import adbc_driver_manager as driver  # noqa: PLC0415  # as the driver itself: only bulk work pays

        try:
            yield
        except (driver.Error, sqlite3.Error, OSError) as exc:
            if self.is_sqlite and isinstance(exc, OSError):
                raise
            raise self._refusal(exc) from exc

    def frame(self, query: sa.Select[Any], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
        """The rows of `query` as columns of `schema`, all at once (order of the query)."""
        return pl.concat([pl.DataFrame(schema=schema), *self.frames(query, schema)])

    def close(self) -> None:
        """Close readers first, so that the owner of checkpoints goes last."""
        self._columns.close()
        self.reader.dispose()
        self.writer.dispose()


_VIEW = "view"


def _require_view(connection: sa.Connection, *_: object) -> None:
    """Let no statement run on a connection whose view was ended: it would see another."""
    view = connection.info.get(_VIEW)
    if view is not None:
        view.require()


def _limit_locks(connection: Any, _record: object) -> None:
    """Let no lock of another session hold a writer for ever, as SQLite's busy timeout does."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout = {_BUSY_MS}")
    connection.commit()


@contextmanager
def _attached(connection: sa.Connection, stages: Sequence[Stage]) -> Iterator[None]:
    """Attach SQLite stages outside the transaction, where SQLite allows it, and detach them after."""
    raw = connection.connection.driver_connection
    attached = [stage for stage in stages if isinstance(stage, SqliteStage)]
    for stage in attached:
        raw.execute(f"ATTACH DATABASE ? AS {stage.name}", (str(stage.path),))  # type: ignore[union-attr]
        # Indexes a room adds to staged rows are gone with them.
        raw.execute(f"PRAGMA {stage.name}.synchronous=OFF")  # type: ignore[union-attr]
        raw.execute(f"PRAGMA {stage.name}.journal_mode=MEMORY")  # type: ignore[union-attr]
    try:
        yield
    finally:
        for stage in attached:
            raw.execute(f"DETACH DATABASE {stage.name}")  # type: ignore[union-attr]
