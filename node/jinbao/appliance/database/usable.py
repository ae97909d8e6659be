"""What keeps a zone from its database: no answer, a conversion that did not end, a newer release's schema.

Says it in the operator's words and changes nothing. An unfinished conversion is known by a table that
is made before its first row and dropped, in one transaction, after its last comparison.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from jinbao.appliance.database.urls import shown
from jinbao.model.errors import LocalError
from jinbao.model.quoting import quoted
from jinbao.store.engine import Store
from jinbao.store.migrations import Revisions, revisions
from jinbao.store.refusals import with_driver

UNFINISHED = sa.Table(
    "unfinished_conversion",
    sa.MetaData(),
    sa.Column("endpoint", sa.Text, primary_key=True),
    sa.Column("begun_at", sa.Text, nullable=False),
)
"""There only while a conversion into this database is under way, or was cut off."""


@dataclass(frozen=True, slots=True)
class Server:
    """What a PostgreSQL server says of itself before anything is asked of the database."""

    version: int
    text: str
    encoding: str

    @property
    def is_readable(self) -> bool:
        """Whether the libraries below us can speak to it: they read its version from its text, as UTF-8."""
        return self.encoding == "UTF8" and re.search(r"(PostgreSQL|EnterpriseDB) \d", self.text) is not None


def server(url: sa.URL) -> Server:
    """Ask a PostgreSQL server who it is; raises psycopg.Error if it does not let us in."""
    import psycopg  # noqa: PLC0415  # only where there is a server

    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        said = connection.execute("SELECT version()", binary=True).fetchone()
        text = said[0] if said else ""
        return Server(
            connection.info.server_version,
            text.decode("ascii", "replace") if isinstance(text, bytes) else str(text),
            connection.info.parameter_status("server_encoding") or "",
        )


def require_usable(store: Store, folders: Sequence[Path]) -> Revisions:
    """Where the schema of a database stands that a zone may open; raises LocalError saying why it may not."""
    thing = f"database {shown(store.url)}"
    require_answer(store)
    with store.read() as connection:
        begun = begun_at(connection)
        found = revisions(connection, folders)
    if begun is not None:
        raise LocalError(
            thing,
            expected="a whole database",
            got=f"a conversion begun at {begun} that did not end",
            next_step="empty it and run jinbao database convert again, or name another in zones.*.database",
        )
    found.require_borne(thing)
    return found


def require_answer(store: Store) -> None:
    """Raise LocalError if the database does not let us in, or is none we can read."""
    try:
        if not store.is_sqlite:
            _require_readable(store.url, server(store.url))
        with store.read() as connection:
            connection.execute(sa.select(1))
    except with_driver(sa.exc.DBAPIError) as exc:
        raise unreachable(store.url, exc) from exc


def _require_readable(url: sa.URL, found: Server) -> None:
    if not found.is_readable:
        raise LocalError(
            f"database {shown(url)}",
            expected="PostgreSQL with encoding UTF8",
            got=f"{found.text[:40]} with encoding {found.encoding}",
            next_step="see docs/how-to/use-postgresql.md",
        )


def begun_at(connection: sa.Connection) -> str | None:
    """When the conversion began that did not end in this database; None when there is none."""
    if not sa.inspect(connection).has_table(UNFINISHED.name):
        return None
    return str(connection.execute(sa.select(UNFINISHED.c.begun_at)).scalar() or "an unknown time")


def unreachable(url: sa.URL, exc: BaseException) -> LocalError:
    """A database that does not let us in, in the server's own words."""
    cause = exc.orig if isinstance(exc, sa.exc.DBAPIError) else exc
    is_file = url.get_backend_name() == "sqlite"
    return LocalError(
        f"database {shown(url)}",
        expected="an answer",
        got=quoted(str(cause).strip().partition("\n")[0], 300),
        next_step="check the file and its owner"
        if is_file
        else "check server, database, role, password file and pg_hba.conf",
    )
