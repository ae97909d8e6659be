"""The canonical dump of a database, table by table, as sums that do not depend on the order of rows.

A row's text is that of the wire's digest (clauses D1, D2), so that SQLite and PostgreSQL say the same
of the same rows. Pages by primary key: memory is that of one page, whatever the table holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl
import polars_hash as plh
import sqlalchemy as sa

from jinbao.journal.tables import ACT
from jinbao.store.engine import Store
from jinbao.store.projection import Projection
from jinbao.trust.digest import encode

PAGE_ROWS = 65_536
"""About 30 MB of a wide table."""

_LANES, _DIGITS = 8, 8  # 256 bits of hash in lanes of 32: sums of 2^31 rows fit into 64 bits


@dataclass(frozen=True, slots=True)
class Sums:
    """What a table holds: how many rows, and the sums over the lanes of their hashes."""

    rows: int
    lanes: tuple[int, ...]


def tables_of(projections: Sequence[Projection]) -> list[sa.Table]:
    """Every table of a zone's database: the journal, and what follows from it."""
    return [ACT, *(table for projection in projections for table in projection.tables)]


def dump(store: Store, table: sa.Table) -> Sums:
    """Rows of a table and their sums; equal for equal rows, in whatever database and order."""
    rows, lanes = 0, (0,) * _LANES
    for page in pages(store, table):
        rows += page.height
        lanes = tuple(a + b for a, b in zip(lanes, _sums(page), strict=True))
    return Sums(rows, lanes)


def pages(store: Store, table: sa.Table, page_rows: int = PAGE_ROWS) -> Iterator[pl.DataFrame]:
    """All rows of a table in the database's own order of its key, page by page."""
    key = list(table.primary_key.columns)
    schema = {c.name: pl.String() if isinstance(c.type, sa.Text) else pl.Int64() for c in table.columns}
    query = sa.select(*table.columns).order_by(*key).limit(page_rows)
    page = store.frame(query, schema)
    while page.height:
        yield page
        if page.height < page_rows:
            return
        last = page.select(c.name for c in key).row(-1)
        page = store.frame(query.where(sa.tuple_(*key) > sa.tuple_(*last)), schema)


def _sums(page: pl.DataFrame) -> tuple[int, ...]:
    coded = pl.DataFrame({"row": encode(page, page.columns)})
    hashed = coded.select(plh.col("row").chash.sha2_256().alias("hash"))
    lanes = hashed.select(
        pl.col("hash").str.slice(at * _DIGITS, _DIGITS).str.to_integer(base=16).sum().alias(str(at))
        for at in range(_LANES)
    )
    return tuple(lanes.row(0))
