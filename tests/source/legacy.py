"""A stub DBAPI and its dialect: a database that only SQLAlchemy speaks to, with values as such drivers give them."""

# ruff: noqa: ARG002  # the signatures are DBAPI's and SQLAlchemy's
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import types
from sqlalchemy.dialects import registry
from sqlalchemy.engine.default import DefaultDialect

Rows = list[tuple[Any, ...]]  # any cell value

apilevel, threadsafety, paramstyle = "2.0", 1, "qmark"


class Error(Exception):
    """Root of the driver's errors."""


class OperationalError(Error):
    """The server went away."""


class Server:
    """What the stub serves, and what it was asked; `fails_after` rows the line is cut."""

    tables: dict[str, tuple[tuple[str, ...], Rows]] = {}  # noqa: RUF012  # one server per test process
    statements: list[str] = []  # noqa: RUF012
    fetched: list[int] = []  # noqa: RUF012
    fails_after: int | None = None

    @classmethod
    def serve(cls, table: str, columns: tuple[str, ...], rows: Rows, fails_after: int | None = None) -> None:
        """Serve one table and forget what was asked before; the first column is its key."""
        cls.tables = {table: (columns, rows)}
        cls.statements, cls.fetched, cls.fails_after = [], [], fails_after


class Cursor:
    """A cursor that serves whole tables and hands out rows as asked."""

    arraysize, rowcount = 1, -1

    def __init__(self) -> None:
        self.description: Sequence[tuple[Any, ...]] | None = None
        self._rows: Iterator[tuple[Any, ...]] = iter(())
        self._given = 0

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> None:
        """Serve the table the statement selects from; anything else is only noted."""
        Server.statements.append(" ".join(statement.split()))
        _, _, name = Server.statements[-1].partition(" FROM ")
        if name:
            columns, rows = Server.tables[name.strip('"').lower()]
            self.description = [(column, None, None, None, None, None, None) for column in columns]
            self._rows = iter(rows)

    def fetchmany(self, size: int) -> Rows:
        """At most `size` rows."""
        Server.fetched.append(size)
        if Server.fails_after is not None and self._given >= Server.fails_after:
            raise OperationalError("end-of-file on communication channel")
        part = [row for _, row in zip(range(size), self._rows, strict=False)]
        self._given += len(part)
        return part

    def fetchall(self) -> Rows:
        """Never asked of a whole table: memory would be its size."""
        raise AssertionError("all rows were asked for at once")

    def close(self) -> None:
        """Nothing is held."""


class Connection:
    """A connection that never writes."""

    def cursor(self) -> Cursor:
        """A new cursor."""
        return Cursor()

    def commit(self) -> None:
        """Nothing to keep."""

    def rollback(self) -> None:
        """Nothing to undo."""

    def close(self) -> None:
        """Nothing is held."""


def connect(*arguments: Any, **named: Any) -> Connection:
    """DBAPI's way in."""
    return Connection()


class LegacyDialect(DefaultDialect):
    """A dialect of no columnar driver."""

    name, driver, supports_statement_cache = "legacy", "stub", True

    @classmethod
    def import_dbapi(cls) -> Any:
        """This module."""
        import tests.source.legacy as dbapi

        return dbapi

    def create_connect_args(self, url: Any) -> Any:
        """None are needed."""
        return (), {}

    def get_table_names(self, connection: Any, schema: str | None = None, **kw: Any) -> list[str]:
        """Names as the catalogue spells them."""
        return list(Server.tables)

    def get_columns(self, connection: Any, table_name: str, schema: str | None = None, **kw: Any) -> Any:
        """All columns, of no type that matters."""
        columns, _ = Server.tables[table_name]
        return [{"name": c, "type": types.NullType(), "nullable": True, "default": None} for c in columns]

    def get_pk_constraint(
        self, connection: Any, table_name: str, schema: str | None = None, **kw: Any
    ) -> Any:
        """The first column."""
        return {"constrained_columns": [Server.tables[table_name][0][0]], "name": None}


class OracleLike(LegacyDialect):
    """The stub under Oracle's name."""

    name, supports_statement_cache = "oracle", True


class Driverless(LegacyDialect):
    """A dialect whose driver is not installed."""

    name = "driverless"

    @classmethod
    def import_dbapi(cls) -> Any:
        """Fails as an import does."""
        raise ModuleNotFoundError("No module named 'olddb'")


for name, dialect in (("legacy", LegacyDialect), ("oracle.stub", OracleLike), ("driverless", Driverless)):
    registry.register(name, __name__, dialect.__name__)
