"""What an operator should know of a zone's database: every finding with what was expected and what is.

Looks and changes nothing. A finding is `ok`, a `note` to be read, or `wrong`: then rows may be lost,
or the zone will not work. Names of findings are stable; the CLI words them.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import sqlalchemy as sa

from jinbao.appliance.assembly import MIGRATIONS
from jinbao.appliance.database.findings import Finding, Level
from jinbao.appliance.database.usable import Server, begun_at, server, unreachable
from jinbao.model.quoting import quoted
from jinbao.store.engine import Store
from jinbao.store.migrations import revisions
from jinbao.store.partition import SCHEMA as PARTS_SCHEMA
from jinbao.store.refusals import with_driver

SERVER_MIN = 12
"""PostgreSQL 12 attaches a partition without stopping its readers; nothing newer is needed."""

SERVER_MAINTAINED = 15
"""The oldest major version that still gets fixes (14 got its last in November 2026)."""

SERVER_TESTED = 18
"""The newest major version the tests run on."""

CONNECTIONS = 12
"""Two to write, eight to read, and one or two for bulk reads."""

_DURABLE = ("on", "local", "remote_write", "remote_apply")


def look(
    store: Store, tables: Iterable[sa.Table], reserve_bytes: int, for_release: str = ""
) -> list[Finding]:
    """Every finding of an open database; one alone if it does not answer. `tables` are the zone's.

    With `for_release` also whether that release could run on the schema as it is now.
    """
    try:
        said = None if store.is_sqlite else server(store.url)
        found = [Finding("reach", "yes", "yes", "ok"), *(judge(said) if said else ())]
        if said and not said.is_readable:
            return found
        with store.read() as connection:
            kind = _sqlite if store.is_sqlite else _postgresql
            more = kind(connection, store.url, [t.name for t in tables], reserve_bytes)
            former = _former(connection, for_release) if for_release else ()
            return [*found, _conversion(connection), _schema(connection), *former, *more]
    except with_driver(sa.exc.DBAPIError) as exc:
        return [Finding("reach", "yes", str(unreachable(store.url, exc).got), "wrong")]


def is_fit(findings: Iterable[Finding]) -> bool:
    """Whether nothing is wrong."""
    return all(finding.level != "wrong" for finding in findings)


def _exactly(thing: str, expected: str, got: object, otherwise: Level = "wrong") -> Finding:
    text = str(got)
    return Finding(thing, expected, text, "ok" if text == expected else otherwise)


def _conversion(connection: sa.Connection) -> Finding:
    begun = begun_at(connection)
    return _exactly("conversion", "none", "none" if begun is None else f"unfinished since {begun}")


def _schema(connection: sa.Connection) -> Finding:
    found = revisions(connection, MIGRATIONS)
    if not found.is_borne:
        return Finding("schema", "this release or older", ", ".join(found.unknown), "wrong")
    if found.ahead:
        return Finding("schema", "newest", f"expanded by {', '.join(sorted(found.ahead))}", "note")
    if not found.present:
        return Finding("schema", "newest", "empty", "note")
    if found.pending:
        return Finding("schema", "newest", f"lacks {', '.join(found.pending)}", "note")
    return Finding("schema", "newest", "newest", "ok")


def _former(connection: sa.Connection, release: str) -> Iterator[Finding]:
    """Whether a release can run on it, which is not asked itself: its program would ask the zone that runs now."""
    found = revisions(connection, MIGRATIONS, release)
    if found.is_borne:
        yield Finding("for_release", "yes", "yes", "ok")
        return
    yield Finding("for_release", "yes", f"no: {', '.join(found.refused or found.unknown)}", "wrong")
    yield Finding("copy_before", "", found.copy or "none", "note")


def _space(thing: str, directory: Path, reserve_bytes: int) -> Finding:
    free = shutil.disk_usage(directory).free
    return Finding(
        thing, f">= {reserve_bytes} bytes", f"{free} bytes", "ok" if free >= reserve_bytes else "wrong"
    )


def _sqlite(
    connection: sa.Connection, url: sa.URL, _tables: Sequence[str], reserve_bytes: int
) -> Iterator[Finding]:
    def pragma(name: str) -> str:
        return str(connection.exec_driver_sql(f"PRAGMA {name}").scalar())

    yield Finding("version", "SQLite", f"SQLite {sqlite3.sqlite_version}", "ok")
    yield _exactly("encoding", "UTF-8", pragma("encoding"))
    yield _exactly("quick_check", "ok", pragma("quick_check(1)"))
    yield _exactly("journal_mode", "wal", pragma("journal_mode"))
    yield Finding("size", "", f"{int(pragma('page_count')) * int(pragma('page_size'))} bytes", "ok")
    yield _space("space", Path(str(url.database)).parent, reserve_bytes)


def _postgresql(
    connection: sa.Connection, url: sa.URL, tables: Sequence[str], reserve_bytes: int
) -> Iterator[Finding]:
    def setting(name: str) -> str:
        """Empty where a server derived from PostgreSQL does not know it."""
        return str(connection.scalar(sa.func.current_setting(name, True)) or "")

    for name in ("fsync", "full_page_writes"):
        value = setting(name)
        yield _exactly(name, "on", value or "unknown", "wrong" if value else "note")
    commit = setting("synchronous_commit")
    yield Finding("synchronous_commit", "on", commit, "ok" if commit in _DURABLE else "wrong")
    yield _exactly("read_only", "off", _read_only(connection))
    yield from _privileges(connection, tables)
    allowed = int(setting("max_connections")) - int(setting("superuser_reserved_connections") or 0)
    level: Level = "ok" if allowed >= CONNECTIONS else "wrong"
    yield Finding("connections", f">= {CONNECTIONS}", str(allowed), level)
    size = connection.scalar(sa.func.pg_database_size(sa.func.current_database()))
    yield Finding("size", "", f"{size} bytes", "ok")
    # A view, and not the setting itself: whoever may not see it gets no row, and no error.
    directory = connection.scalar(sa.text("SELECT setting FROM pg_settings WHERE name = 'data_directory'"))
    yield _server_space(url, str(directory or ""), reserve_bytes)


def judge(found: Server) -> Iterator[Finding]:
    """What a server says of itself: version, maker, encoding."""
    major = found.version // 10_000
    name = quoted(found.text.partition(" on ")[0].partition(",")[0], 60)
    expected = f">= {SERVER_MIN}, best {SERVER_MAINTAINED}-{SERVER_TESTED}"
    level: Level = "ok" if SERVER_MAINTAINED <= major <= SERVER_TESTED else "note"
    yield Finding("version", expected, f"{major}: {name}", "wrong" if major < SERVER_MIN else level)
    if not found.text.startswith("PostgreSQL "):
        named = "PostgreSQL" in found.text
        yield Finding("derived", "PostgreSQL in version()", name, "note" if named else "wrong")
    yield _exactly("encoding", "UTF8", found.encoding)


def _read_only(connection: sa.Connection) -> str:
    """Whether nothing can be written: a standby, or a role or database set so."""
    if connection.scalar(sa.func.pg_is_in_recovery()):
        return "on: a standby server"
    return str(connection.scalar(sa.func.current_setting("default_transaction_read_only")))


def _privileges(connection: sa.Connection, tables: Sequence[str]) -> Iterator[Finding]:
    schema = connection.scalar(sa.func.current_schema())
    may_create = bool(schema) and connection.scalar(sa.func.has_schema_privilege(schema, "CREATE"))
    yield _exactly("create_tables", "yes", "yes" if may_create else "no")
    database = sa.func.current_database()
    parts = connection.scalar(sa.select(sa.func.to_regnamespace(PARTS_SCHEMA)))
    may_part = (
        sa.func.has_database_privilege(database, "CREATE")
        if parts is None
        else sa.func.has_schema_privilege(PARTS_SCHEMA, "CREATE")
    )
    yield _exactly("create_parts", "yes", "yes" if connection.scalar(may_part) else "no")
    temporary = connection.scalar(sa.func.has_database_privilege(database, "TEMPORARY"))
    yield _exactly("temporary_tables", "yes", "yes" if temporary else "no")
    owned = sa.text(
        "SELECT c.relname FROM pg_class c WHERE c.relnamespace = to_regnamespace(quote_ident(:schema)) "
        "AND c.relname = ANY (:names) AND c.relkind IN ('r', 'p') AND NOT pg_has_role(c.relowner, 'USAGE') ORDER BY 1"
    )
    foreign = list(connection.scalars(owned, {"schema": schema or "", "names": list(tables)}))
    yield _exactly("owner", "this role", f"another role of {', '.join(foreign)}" if foreign else "this role")
    is_super = connection.scalar(sa.text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"))
    yield _exactly("superuser", "no", "yes" if is_super else "no", "note")


def _server_space(url: sa.URL, data_directory: str, reserve_bytes: int) -> Finding:
    """Free space where the server is this machine and says where its files are; else nobody here can know."""
    host = str(url.host or url.query.get("host", ""))
    is_here = not host or host.startswith("/") or host in {"localhost", "127.0.0.1", "::1"}
    if is_here and data_directory and Path(data_directory).is_dir():
        return _space("space", Path(data_directory), reserve_bytes)
    return Finding("space", f">= {reserve_bytes} bytes", "not known from here", "note")
