"""Parts of a PostgreSQL table, one per value of a column, each replaced whole by a swap.

A new part is loaded beside the table, where no reader looks, and its key is built after
the load; the swap then drops the old part and attaches the new one, in the transaction
that loaded it. Parts lie in a schema of their own and are reached through their table.
Knows no room and loads no rows. SQLite has no parts.

Partitions are looked up in the newest catalogue and not in a reader's snapshot: who read
without the table's lock first could find the new part and none of its rows. So a swap
takes the table's strongest lock for its few milliseconds, and readers (`Store.read`,
`Store.frame`) lock before they look.
"""

from __future__ import annotations

import hashlib
import time

import sqlalchemy as sa

from jinbao.model.errors import LocalError

SCHEMA = "table_parts"
_LOCK_WAITS_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8)
"""A swap that waits keeps new readers out: it gives way after each of these, and rests as long."""
_LOCK_NOT_AVAILABLE = "55P03"


class Part:
    """The part of `table` whose `column` is `value`, on one transaction's connection."""

    def __init__(self, connection: sa.Connection, table: sa.Table, column: str, value: str) -> None:
        self._connection = connection
        self._quote = connection.dialect.identifier_preparer.quote
        self._column, self._value = self._quote(column), _literal(connection, value)
        self._parent = self._quote(table.name)
        self._key = ", ".join(self._quote(c.name) for c in table.primary_key)
        self.table = table
        self._name = _part_name(table.name, value)
        self._filled_in: dict[str, str] = {}

    @property
    def name(self) -> str:
        """The part's SQL name."""
        return f"{SCHEMA}.{self._quote(self._name)}"

    @property
    def fresh(self) -> str:
        """The SQL name of the part while it is being loaded."""
        return f"{SCHEMA}.{self._quote(self._name + '_new')}"

    def exists(self) -> bool:
        """Whether the table has this part."""
        found = self._connection.execute(sa.select(sa.func.to_regclass(self.name))).scalar_one()
        return found is not None

    def holds(self, rows: int) -> bool:
        """Whether the part has more than about `rows` rows; reads at most that many."""
        known = (
            f"SELECT reltuples FROM pg_class WHERE oid = to_regclass({_literal(self._connection, self.name)})"
        )
        estimate = self._connection.exec_driver_sql(known).scalar_one()
        if estimate > 0:
            return bool(estimate > rows)
        beyond = f"SELECT count(*) FROM (SELECT FROM {self.name} LIMIT {rows + 1}) AS few"
        return bool(self._connection.exec_driver_sql(beyond).scalar_one() > rows)

    def create(self, apart: sa.Connection | None = None, /, **defaults: str | int) -> None:
        """Make the fresh table, empty and without a key; columns in `defaults` and the part's own are filled in.

        On a connection `apart`, if one is given, that commits before others copy into it; else on the transaction's own.
        """
        connection = apart if apart is not None else self._connection
        # The check proves row by row what the swap would scan the whole table for.
        check = f"CONSTRAINT part CHECK ({self._column} = {self._value})"
        connection.exec_driver_sql(f"CREATE TABLE {self.fresh} (LIKE {self._parent}, {check})")
        given = {self._quote(c): _literal(self._connection, value) for c, value in defaults.items()}
        self._filled_in = given | {self._column: self._value}
        actions = (f"ALTER {column} SET DEFAULT {value}" for column, value in self._filled_in.items())
        connection.exec_driver_sql(f"ALTER TABLE {self.fresh} {', '.join(actions)}")

    def finish(self) -> None:
        """Build the key of the loaded table. Raises sqlalchemy's IntegrityError for a key that is there twice."""
        actions = [f"ALTER {column} DROP DEFAULT" for column in self._filled_in]
        self._run(f"ALTER TABLE {self.fresh} {', '.join(actions)}, ADD PRIMARY KEY ({self._key})")

    def swap(self) -> None:
        """Put the finished table in the part's place; readers wait from here to the commit.

        Raises LocalError when readers do not let go of the table.
        """
        if self.exists():
            self._lock()
            self._run(f"DROP TABLE {self.name}")
        self._run(f"ALTER TABLE {self.fresh} RENAME TO {self._quote(self._name)}")
        self._run(f"ALTER TABLE {self._parent} ATTACH PARTITION {self.name} FOR VALUES IN ({self._value})")
        self._run(f"ALTER TABLE {self.name} DROP CONSTRAINT part")

    def _lock(self) -> None:
        """Lock the table, then the part, as readers do; give way between attempts."""
        for wait_s in _LOCK_WAITS_S:
            if self._try_lock(wait_s):
                return
            time.sleep(wait_s)
        raise LocalError(
            f"table {self.table.name}",
            expected=f"its readers to let go within {2 * sum(_LOCK_WAITS_S):.0f} s",
            got="one that holds it",
            next_step="end long reads of this database (pg_stat_activity); the zone retries by itself",
        )

    def _try_lock(self, wait_s: float) -> bool:
        try:
            with self._connection.begin_nested():
                self._run(f"SET LOCAL lock_timeout = {int(wait_s * 1000)}")
                for name in (self._parent, self.name):
                    self._run(f"LOCK TABLE ONLY {name} IN ACCESS EXCLUSIVE MODE")
                self._run("SET LOCAL lock_timeout = DEFAULT")
        except sa.exc.OperationalError as exc:
            if getattr(exc.orig, "sqlstate", "") != _LOCK_NOT_AVAILABLE:
                raise
            return False
        return True

    def _run(self, statement: str) -> None:
        self._connection.exec_driver_sql(statement)


def prepare(connection: sa.Connection) -> None:
    """Make the schema the parts lie in."""
    connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")


def is_partitioned(connection: sa.Connection, table: sa.Table) -> bool:
    """Whether the table, which must be there, is in parts."""
    name = _literal(connection, connection.dialect.identifier_preparer.quote(table.name))
    kind = connection.exec_driver_sql(
        f"SELECT relkind FROM pg_class WHERE oid = to_regclass({name})"
    ).scalar_one()
    return kind in {"p", b"p"}


def _part_name(table: str, value: str) -> str:
    """A name within PostgreSQL's 63 bytes with `_new_pkey` after it; equal for equal table and value alone."""
    unique = hashlib.sha256(f"{table}\n{value}".encode()).hexdigest()[:16]
    return f"{table.encode()[:32].decode(errors='ignore')}_{unique}"


def _literal(connection: sa.Connection, value: str | int) -> str:
    kind = sa.Text() if isinstance(value, str) else sa.BigInteger()
    return str(
        sa.literal(str(value) if isinstance(value, str) else value, kind).compile(
            dialect=connection.dialect, compile_kwargs={"literal_binds": True}
        )
    )
