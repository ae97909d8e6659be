"""An empty database that becomes a zone's: checked before the first row, marked as unfinished until the last.

Whoever fills it proves what it filled, then leaves the context; a database that was left by an
error keeps its mark, and no zone starts on it. Does not say what it is filled with.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from jinbao.appliance.assembly import rfc3339, utc_now
from jinbao.appliance.database.checking import look
from jinbao.appliance.database.dumping import tables_of
from jinbao.appliance.database.opening import opened
from jinbao.appliance.database.upgrading import bring_up
from jinbao.appliance.database.urls import shown
from jinbao.appliance.database.usable import UNFINISHED, begun_at, require_answer
from jinbao.journal.segments import SegmentShelf
from jinbao.library.room import LibraryProjection
from jinbao.model.errors import LocalError
from jinbao.model.zone import Endpoint
from jinbao.store.engine import Store
from jinbao.store.projection import Projection

SESSIONS_MAX = 4
"""Sessions one table is loaded by: beyond, they all wait for the server's log."""


@dataclass(frozen=True, slots=True)
class Rooms:
    """How every table of a zone follows from its journal, and where its segments lie."""

    libraries: LibraryProjection
    projections: tuple[Projection, ...]
    shelf: SegmentShelf


@contextmanager
def filling(
    url: sa.URL, rooms: Rooms, stage: Path, endpoint: Endpoint, reserve_bytes: int
) -> Iterator[Store]:
    """A store of the newest schema without a row, for `endpoint`.

    Raises LocalError for a database that is not empty or not fit; then nothing was changed.
    """
    _make_file(url)
    with closing(opened(url, stage)) as store:
        _require_empty(store, rooms, reserve_bytes)
        _begin(store, str(endpoint))
        bring_up(store, rooms.libraries)
        # One more than there are cores, for each waits at times; what is left unfinished is dropped whole.
        store.sessions = min(SESSIONS_MAX, 1 + (os.cpu_count() or 1))
        yield store
        _end(store)


def now_text() -> str:
    """UTC now."""
    return rfc3339(utc_now())


def _make_file(url: sa.URL) -> None:
    """A SQLite target is a file this account alone can read."""
    if url.get_backend_name() != "sqlite":
        return
    path = Path(str(url.database))
    if not path.parent.is_dir():
        raise LocalError(
            f"database {shown(url)}",
            expected=f"a directory at {path.parent}",
            got="none",
            next_step=f"install -d -m 700 {path.parent}",
        )
    path.touch(mode=0o600)


def _require_empty(store: Store, rooms: Rooms, reserve_bytes: int) -> None:
    """The target answers, is fit, and holds no table."""
    thing = f"database {shown(store.url)}"
    require_answer(store)
    with store.read() as connection:
        begun = begun_at(connection)
        tables = sa.inspect(connection).get_table_names()
    if tables:
        got = f"{len(tables)} tables, among them {min(tables)}"
        raise LocalError(
            thing,
            expected="an empty database",
            got=got if begun is None else f"a conversion begun at {begun} that did not end",
            next_step="name another one" if begun is None else "drop and create it, or name another one",
        )
    wrong = [f for f in look(store, tables_of(rooms.projections), reserve_bytes) if f.level == "wrong"]
    if wrong:
        raise LocalError(
            thing,
            expected="; ".join(f"{f.thing} {f.expected}" for f in wrong),
            got="; ".join(f.got for f in wrong),
            next_step="see docs/how-to/use-postgresql.md",
        )


def _begin(store: Store, endpoint: str) -> None:
    with store.transaction() as tx:
        UNFINISHED.create(tx.connection)
        tx.execute(UNFINISHED.insert(), {"endpoint": endpoint, "begun_at": now_text()})


def _end(store: Store) -> None:
    with store.transaction() as tx:
        UNFINISHED.drop(tx.connection)
