"""The business table `person` in a PostgreSQL and in a SQLite database: loaded once, copied for each run, changed.

A business database is somebody else's: typed columns, a primary key, no trigger, no token.
SQLite holds the same text for every value that PostgreSQL prints. Loading is never measured.
"""

from __future__ import annotations

import io
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import psycopg
from benchmarks.line.people import AMOUNTS, COLUMNS, DATES, MOMENTS, blocks
from benchmarks.line.server import Server

KEPT, USED = "source_kept", "source_used"
"""The database that is made once, and the copy of it that a run may change."""
TABLE, _HIDDEN = "person", "person_hidden"
_NAMES = ", ".join(f'"{name}"' for name in (c.lower() for c in COLUMNS))


def _type(name: str) -> str:
    if name in AMOUNTS:
        return "numeric(12,2)"
    if name in DATES:
        return "date"
    return "timestamp(0)" if name in MOMENTS else "varchar(100)"


def table_ddl(*, keyed: bool = True) -> str:
    """CREATE TABLE as a business system has it in PostgreSQL."""
    columns = [f'"{name.lower()}" {_type(name)}' for name in COLUMNS]
    key = [f'PRIMARY KEY ("{COLUMNS[0].lower()}")'] if keyed else []
    return f"CREATE TABLE {TABLE} ({', '.join([*columns, *key])})"


def load_postgresql(server: Server, rows: int) -> int:
    """Make the source if it is not there or has other rows; returns its bytes as CSV."""
    marked = f"{KEPT}_{rows}"
    if not server.has(marked):
        server.fresh(KEPT)
        server.execute(table_ddl(), database=KEPT)
        size = 0
        with psycopg.connect(server.url(KEPT)) as connection, connection.cursor() as cursor:
            with cursor.copy(f"COPY {TABLE} FROM STDIN (FORMAT csv)") as copy:
                for block in blocks(rows):
                    text = io.BytesIO()
                    block.write_csv(text, include_header=False)
                    size += text.tell()
                    copy.write(text.getvalue())
            cursor.execute("CREATE TABLE made AS SELECT %s::bigint AS csv_bytes", [size])
        server.execute("VACUUM (FREEZE, ANALYZE)", database=KEPT)
        server.execute(f"ALTER DATABASE {KEPT} RENAME TO {marked}")
    return int(str(server.value("SELECT csv_bytes FROM made", marked)))


def load_sqlite(path: Path, rows: int) -> Path:
    """Make the file if it is not there; returns where it is."""
    import adbc_driver_sqlite.dbapi as adbc  # noqa: PLC0415  # somebody else's database, not a zone's

    made = path.with_name(f"{path.stem}-{rows}.db")
    if made.exists():
        return made
    path.unlink(missing_ok=True)
    columns = ", ".join(f'"{name}" TEXT' for name in COLUMNS)
    with sqlite3.connect(path) as plain:
        plain.execute("PRAGMA journal_mode=WAL")
        plain.execute(f"CREATE TABLE {TABLE} ({columns}, PRIMARY KEY ({COLUMNS[0]})) WITHOUT ROWID")
    plain.close()
    with adbc.connect(str(path)) as connection, connection.cursor() as cursor:
        for block in blocks(rows):
            cursor.adbc_ingest(TABLE, block.to_arrow(), mode="append")
        connection.commit()
    with sqlite3.connect(path) as plain:
        plain.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    plain.close()
    return path.rename(made)


@dataclass(frozen=True)
class Business:
    """A source a run may read and change; one of the two."""

    rows: int
    server: Server | None = None
    path: Path | None = None

    @property
    def url(self) -> str:
        """As a zone's settings name it."""
        if self.server is not None:
            return self.server.url(USED)
        return f"sqlite:///{self.path}"

    def renew(self, kept: Path | None = None) -> None:
        """As it was made."""
        if self.server is not None:
            self.server.fresh(USED, f"{KEPT}_{self.rows}")
        else:
            assert self.path is not None, "a source is one of the two"
            assert kept is not None, "a file is renewed from a file"
            shutil.copyfile(kept, self.path)

    def hide(self) -> None:
        """Keep the table out of sight: a zone that starts reads at once, and is to wait."""
        self.run(f"ALTER TABLE {TABLE} RENAME TO {_HIDDEN}")

    def show(self) -> None:
        """Bring it into sight again."""
        self.run(f"ALTER TABLE {_HIDDEN} RENAME TO {TABLE}")

    def run(self, *statements: str) -> None:
        """Change it, in one transaction."""
        if self.server is not None:
            with psycopg.connect(self.server.url(USED)) as connection:
                for statement in statements:
                    connection.execute(statement.encode())
            return
        assert self.path is not None
        plain = sqlite3.connect(self.path)
        with plain:
            for statement in statements:
                plain.execute(statement)
        plain.close()


_SERIAL = "CAST(substr(aac001, 7) AS bigint)"


def a_day(day: int = 1) -> list[str]:
    """What a day does to the table: 1 % updated, 0.1 % inserted, 0.05 % deleted."""
    others = ", ".join(c.lower() for c in COLUMNS[1:])
    return [
        (
            f"UPDATE {TABLE} SET aae180 = '{8000 + day}.07', aae036 = '2024-11-{day:02d} 01:02:03' "
            f"WHERE {_SERIAL} % 100 = {day}"
        ),
        (
            f"INSERT INTO {TABLE} (aac001, {others}) SELECT '1402' || substr(aac001, 5), {others} "
            f"FROM {TABLE} WHERE aac001 LIKE '140100%' AND {_SERIAL} % 1000 = {day}"
        ),
        f"DELETE FROM {TABLE} WHERE {_SERIAL} % 2000 = {day + 50}",
    ]


def many(rows: int, changed: int) -> list[str]:
    """`changed` of `rows` updated in one statement."""
    return [f"UPDATE {TABLE} SET aae180 = '7777.07' WHERE {_SERIAL} % {max(rows // changed, 1)} = 0"]
