"""Refusals: what a database's error means for whoever asked. One table, for writing and for reading alike.

The database is away or took the work back: `UnavailableError`, the step is made again by pace. It
has no room: `SpaceError`. Its disk failed, or what is in it cannot be read: `DiskError` and
`CorruptionError`, which close the latch. It refuses what was asked: `LocalError`, an operator acts.
The policy of trying again is `flow.pace` and no other: nothing is repeated here.

Never words a statement's parameters, nor the value a database quotes from a row.
"""

from __future__ import annotations

import re
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from jinbao.model.errors import CorruptionError, DiskError, LocalError, SpaceError, UnavailableError
from jinbao.model.quoting import quoted

AWAY_CLASS = "08"
"""SQLSTATE class of connections that are not, or are no more."""

TAKEN_BACK = frozenset(
    {
        "25P03",  # idle in a transaction for longer than the server allows
        "25P04",  # the transaction lasted longer than the server allows
        "40001",  # could not be serialized
        "40003",  # nobody knows whether it was completed
        "40P01",  # deadlock
        "53000",  # the server lacks something
        "53200",  # memory
        "53300",  # connections
        "55P03",  # a lock that did not come in time
        "57014",  # somebody cancelled the statement
        "57P01",  # the server is shut down, or the session was ended
        "57P02",  # another session of the server crashed
        "57P03",  # the server starts or stops
        "57P05",  # idle for longer than the server allows
    }
)
"""SQLSTATEs of work that may well succeed when it is done again, unchanged."""

FULL = frozenset({"53100", "53400"})
"""SQLSTATEs of a disk that is full, and of a limit of temporary files that is reached."""

_DATA_CLASS = "22"
_FULL_TEXTS = ("disk is full", "No space left", "Disk quota exceeded")
_SQLITE_PASSING = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_INTERRUPT,  # a view that was held for too long was ended
        sqlite3.SQLITE_ABORT,  # the same, seen by a statement under way
    }
)
_SQLITE_ROOM = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN})
"""Codes that a want of room may hide behind: a quota, a limit of files, a shared index that cannot grow."""

_SQLITE_CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_QUOTED = re.compile(r'"[^"]*"')


def refusal(exc: BaseException, where: str, is_full: Callable[[], bool] = lambda: False) -> LocalError:
    """What `exc` means, worded for the operator; `where` names the database without its password.

    `is_full` looks at the disk of a database that is a file.
    """
    first = _first(exc)
    cause = _cause(first)
    code = _sqlite_code(first)
    if _is_full(first, cause) or (code in _SQLITE_ROOM and is_full()):
        return SpaceError(
            f"database {where}",
            expected="room to write",
            got=cause,
            next_step="free space; the zone retries by itself",
        )
    if _is_passing(first):
        return UnavailableError(
            f"database {where}",
            expected="a database that answers and keeps its word",
            got=cause,
            next_step="nothing is half done; the zone tries again by itself",
        )
    if code == sqlite3.SQLITE_IOERR:
        return DiskError(
            f"database {where}",
            expected="a disk that keeps what is written",
            got=cause,
            next_step="look at the disk and its mount; the zone ends, and looks at what it has when it starts",
        )
    if code in _SQLITE_CORRUPT:
        return CorruptionError(
            f"database {where}",
            expected="a database as it was written",
            got=cause,
            next_step="put back a copy or promote the backup; docs/how-to/when-a-disk-fails.md",
        )
    return LocalError(
        f"database {where}", expected="the transaction to commit", got=cause, next_step="jinbao status"
    )


@contextmanager
def telling_stage(path: Path, is_full: Callable[[Path], bool]) -> Iterator[None]:
    """Turn what keeps a stage's file from being written into SpaceError, or LocalError naming it."""
    import adbc_driver_manager as driver  # noqa: PLC0415  # a start-up cost only bulk work pays

    try:
        yield
    except driver.Error as exc:
        family = SpaceError if _is_full(exc, str(exc)) or is_full(path.parent) else LocalError
        raise family(
            f"file {path.name}", expected="a stage that can be written", got=without_values("", str(exc))
        ) from exc


def sqlstate(exc: BaseException) -> str:
    """The five characters a server gave, empty where there are none: the connection itself is at fault, or SQLite."""
    found = getattr(exc, "sqlstate", None) or ""
    return found.strip("\0") if isinstance(found, str) else ""


def is_passing_state(state: str) -> bool:
    """Whether a SQLSTATE says that the same may succeed later."""
    return state.startswith(AWAY_CLASS) or state in TAKEN_BACK


def without_values(state: str, text: str) -> str:
    """The first line of a database's error, bounded; what it quotes from a row is left out."""
    line = text.partition("\n")[0]  # PostgreSQL shows rows on the lines after
    return quoted(_QUOTED.sub('"…"', line) if state.startswith(_DATA_CLASS) else line, 300)


def with_driver(
    *others: type[BaseException], names: tuple[str, ...] = ("Error",)
) -> tuple[type[BaseException], ...]:
    """These errors, and those of PostgreSQL's driver by name; a process that never loaded it meets none of them.

    A tenth of a start is spared where every database is a file.
    """
    driver = sys.modules.get("psycopg")
    return others if driver is None else (*others, *(getattr(driver, name) for name in names))


def _first(exc: BaseException) -> BaseException:
    """The driver's own first error: what rolling back on a lost connection says of it tells nobody anything."""
    *_, first = _drivers(exc)
    return first


def _drivers(exc: BaseException) -> Iterator[BaseException]:
    yield exc
    at: BaseException | None = exc
    while at is not None:
        orig = at.orig if isinstance(at, sa.exc.DBAPIError) else at
        if isinstance(orig, with_driver(sqlite3.Error)):
            yield orig
        at = at.__context__


def _cause(exc: BaseException) -> str:
    return without_values(sqlstate(exc), str(exc))


def _sqlite_code(exc: BaseException) -> int:
    """SQLite's primary result code; 0 of anything else."""
    code = getattr(exc, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(exc, sqlite3.Error) and isinstance(code, int) else 0


def _is_full(exc: BaseException, cause: str) -> bool:
    return sqlstate(exc) in FULL or any(text in cause for text in _FULL_TEXTS)


def _is_passing(exc: BaseException) -> bool:
    """Whether the same may succeed later; an error of the connection itself has no SQLSTATE."""
    if isinstance(exc, sqlite3.Error):
        return _sqlite_code(exc) in _SQLITE_PASSING
    state = sqlstate(exc)
    if state:
        return is_passing_state(state)
    lost = with_driver(sa.exc.TimeoutError, OSError, names=("OperationalError", "InterfaceError"))
    return isinstance(exc, lost) or (
        # By name: the driver is loaded only where there are bulk rows to read.
        type(exc).__name__ in {"OperationalError", "InterfaceError"}
    )
