"""The current view of a library's table: an ibis expression over the segments where they lie.

DuckDB, in memory, is the engine and never a place where data lives: it reads the Parquet
files, loads no extension and so opens no socket. ibis writes the expressions; they are
compiled for DuckDB and run by its own connection, since the ibis back end still calls
functions that DuckDB 2.0 warns about.

Invariants: one row per (origin, key), from the latest segment that names it; a deleted key
is absent; nothing older than an origin's last snapshot of a table counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb
import ibis
import polars as pl

from jinbao.decision.room import PackagedSegment
from jinbao.model.batch import Kind
from jinbao.model.standard import Table

ORIGIN = "_origin"
PATH = "_path"
RANK = "_rank"
OP = "op"
DELETE = "D"

ENGINE_MEMORY_BYTES = 1 << 30
"""What DuckDB may hold: a city of a few million persons, below the 1.5 GB a zone process may take."""

PathOf = Callable[[str], Path]
"""From a segment's SHA-256 to the file that holds it."""


def schema(table: Table) -> dict[str, str]:
    """Columns of a table's view: the standard's, and the origin node."""
    return {ORIGIN: "string"} | {item.code: "string" if item.is_text else "int64" for item in table.items}


def live(
    segments: Iterable[PackagedSegment], *, as_of_seq: int | None = None, as_of_period: str | None = None
) -> list[PackagedSegment]:
    """Segments that still count, oldest first, of each (origin, table): none before the last snapshot.

    `as_of_seq` and `as_of_period` leave out later submissions and later months. Segments of
    one submission keep the order they are given in.
    """
    known = [
        s
        for s in segments
        if (as_of_seq is None or s.origin_seq <= as_of_seq)
        and (as_of_period is None or s.period <= as_of_period)
    ]
    known.sort(key=lambda s: (s.origin, s.table, s.place, s.origin_seq))
    floor = {(s.origin, s.table): (s.place, s.origin_seq) for s in known if s.kind == Kind.SNAPSHOT}
    return [s for s in known if (s.place, s.origin_seq) >= floor.get((s.origin, s.table), (0, 0))]


def current(table: Table) -> Any:
    """The current rows of a table, over the relations `Engine.attach` makes."""
    columns = schema(table)
    raw = ibis.table(
        {n: t for n, t in columns.items() if n != ORIGIN} | {OP: "string", PATH: "string"}, "raw"
    )
    uses = ibis.table({PATH: "string", ORIGIN: "string", RANK: "int64"}, "uses")
    rows = raw.join(uses, PATH)
    newest = ibis.row_number().over(group_by=[ORIGIN, *table.key], order_by=[rows[RANK].desc()])
    kept = rows.mutate(_nth=newest)
    return kept.filter((kept["_nth"] == 0) & (kept[OP] != DELETE)).select(*columns)


class Engine:
    """One DuckDB in memory; close it when done."""

    def __init__(self, memory_bytes: int = ENGINE_MEMORY_BYTES) -> None:
        """Open it with extensions and spilling to disk switched off."""
        config: dict[str, str | bool | int | float | list[str]] = {
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "memory_limit": f"{memory_bytes // 1_000_000}MB",
            "temp_directory": "",
        }
        self._connection = duckdb.connect(":memory:", config=config)

    def __enter__(self) -> Self:
        """This engine."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self._connection.close()

    def attach(self, segments: Sequence[PackagedSegment], table: Table, path: PathOf) -> None:
        """Make the live `segments` of one table the relations `raw` (rows) and `uses` (whose, in which order)."""
        files = [str(path(s.sha256)) for s in segments]
        typed = (
            f'NULL::{"VARCHAR" if kind == "string" else "BIGINT"} AS "{name}"'
            for name, kind in (schema(table) | {OP: "string", PATH: "string"}).items()
            if name != ORIGIN
        )
        # The empty first branch gives columns their types when there is no file, or an older standard's.
        raw = f"SELECT {', '.join(typed)} WHERE false"
        if files:
            listed = ", ".join(_literal(_unglobbed(file)) for file in sorted(set(files)))
            # Rows name their file, so that a segment two packages share is read once.
            raw += f" UNION ALL BY NAME SELECT * FROM read_parquet([{listed}], union_by_name=true, filename='{PATH}')"
        self._connection.execute(f"CREATE OR REPLACE TEMP VIEW raw AS {raw}")
        self._connection.execute(
            f"CREATE OR REPLACE TEMP TABLE uses ({PATH} VARCHAR, {ORIGIN} VARCHAR, {RANK} BIGINT)"
        )
        if files:
            uses = [(file, s.origin, at) for at, (file, s) in enumerate(zip(files, segments, strict=True))]
            self._connection.executemany("INSERT INTO uses VALUES (?, ?, ?)", uses)

    def keep(self, name: str, expression: Any) -> None:
        """Hold an expression's rows as a temporary table until the engine closes or `name` is kept again."""
        self._connection.execute(f'CREATE OR REPLACE TEMP TABLE "{name}" AS {sql(expression)}')

    def rows(self, query: str) -> pl.DataFrame:
        """The result of a query, as columns."""
        frame = pl.from_arrow(self._connection.sql(query).to_arrow_table())
        assert isinstance(frame, pl.DataFrame)
        return frame


def view(
    segments: Iterable[PackagedSegment],
    table: Table,
    path: PathOf,
    *,
    as_of_seq: int | None = None,
    as_of_period: str | None = None,
) -> pl.DataFrame:
    """Current rows of one library's table, sorted by origin and key."""
    mine = live((s for s in segments if s.table == table.id), as_of_seq=as_of_seq, as_of_period=as_of_period)
    with Engine() as engine:
        engine.attach(mine, table, path)
        return engine.rows(sql(current(table).order_by([ORIGIN, *table.key])))


def sql(expression: Any) -> str:
    """The DuckDB text of an expression."""
    return str(ibis.to_sql(expression, dialect="duckdb"))


def _unglobbed(path: str) -> str:
    """A path in which `*`, `?` and `[` stand for themselves."""
    return re.sub(r"([*?\[])", r"[\1]", path)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
