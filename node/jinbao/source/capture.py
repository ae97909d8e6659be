"""Capture: what changed in a business table since the last run, found by content.

Each run reads the whole table and writes it, with a digest per row, to a new `current`
file while it is read; the difference to the file before is found on digests alone (24 bytes
a row), and only changed rows are read again. The first `current` of a table is its own
change: everything. No clock, trigger or log of the source is trusted.
Rows with one key twice are a multiset: every one is kept and the doubling is a finding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import polars_hash as plh
from polars.io.plugins import register_io_source

from jinbao.model.errors import SourceError
from jinbao.source.decode import UNDECODABLE
from jinbao.source.reader import Snapshot, TableShape
from jinbao.trust.digest import QUICK, encode, quick

KEY, ROW, OP = "__key", QUICK, "op"
"""Columns of digests, and of what a change does; under another release's ROW every row counts as changed, no more."""

GROUP_ROWS = 65_536
"""Rows of a row group: what the writer holds, and the least that is read again."""


@dataclass(frozen=True, slots=True)
class CaptureFiles:
    """What one capture of one table wrote; `changes` is None when nothing changed.

    The first capture's changes are `current` itself: every row, and no `op`.
    """

    current: Path | None
    changes: Path | None
    rows: int
    upserts: int
    deletes: int
    findings: tuple[str, ...]


def find_table(snapshot_tables: dict[str, TableShape], source: str, table: str) -> TableShape:
    """The shape of a table, whatever the case of its name; raises SourceError naming those there are."""
    shape = snapshot_tables.get(table.upper())
    if shape is None:
        raise SourceError(
            f"source {source}",
            expected=f"table {table}",
            got=", ".join(sorted(snapshot_tables)) or "no tables",
            next_step="correct the mapping, or grant the reading account this table",
        )
    return shape


def require_columns(shape: TableShape, source: str, columns: Sequence[str]) -> None:
    """Raise SourceError naming the first column of `columns` the table does not have."""
    have = {c.upper() for c in shape.columns}
    for column in columns:
        if column.upper() not in have:
            raise SourceError(
                f"source {source}: table {shape.name}",
                expected=f"column {column}",
                got=", ".join(shape.columns),
                next_step="correct the mapping, or grant the reading account this column",
            )


def key_of(shape: TableShape, source: str, declared: Sequence[str]) -> tuple[str, ...]:
    """The columns that tell rows apart; raises SourceError with the line that mends it if there are none."""
    key = tuple(declared) or shape.key
    if not key:
        raise SourceError(
            f"source {source}: table {shape.name}",
            expected="a key",
            got="no primary key",
            next_step=f'set keys.{shape.name} = ["COLUMN", …] for this source',
        )
    names = {c.upper(): c for c in shape.columns}
    require_columns(shape, source, key)
    return tuple(names[k.upper()] for k in key)


def capture_table(
    snapshot: Snapshot, shape: TableShape, key: Sequence[str], previous: Path | None, directory: Path
) -> CaptureFiles:
    """Read one table and compare it with its previous `current` file.

    Files are written under `directory`, complete but not yet durable: the caller shelves
    them. `current` is None when the previous file still says it all.
    """
    current = directory / f"capture-{shape.name}.current"
    rows = _write_current(snapshot.batches(shape), shape, key, current)
    now = pl.read_parquet(current, columns=[KEY, ROW])
    findings = _findings(current, now)
    before = _digests(previous, current)
    changed, gone = _difference(now, before)
    if previous is not None and changed.is_empty() and gone.is_empty() and _same_columns(previous, current):
        current.unlink()
        return CaptureFiles(None, None, rows, 0, 0, findings)
    if changed.is_empty() and gone.is_empty():
        return CaptureFiles(current, None, rows, 0, 0, findings)
    if previous is None:
        return CaptureFiles(current, current, rows, rows, 0, findings)
    changes = directory / f"capture-{shape.name}.changes"
    upserts, deletes = _write_changes(current, previous, changed, gone, changes)
    return CaptureFiles(current, changes, rows, upserts, deletes, findings)


def _write_current(batches: Iterator[pl.DataFrame], shape: TableShape, key: Sequence[str], path: Path) -> int:
    """Write all rows with their digests in the source's order, while they are read; memory is a few batches."""
    schema: dict[str, pl.DataType] = dict.fromkeys((c.upper() for c in shape.columns), pl.String())
    schema |= {UNDECODABLE: pl.String(), KEY: pl.UInt128(), ROW: pl.UInt64()}
    rows = 0

    def source(
        columns: list[str] | None, _predicate: object, _rows: object, _size: object
    ) -> Iterator[pl.DataFrame]:
        nonlocal rows
        for batch in batches:
            rows += batch.height
            named = _with_digests(batch, key).rename({c: c.upper() for c in shape.columns})
            yield named.select(columns or list(schema))

    rows_as_read = register_io_source(source, schema=schema)
    # Statistics cost a quarter of a write, and nobody reads them.
    rows_as_read.sink_parquet(
        path, compression="zstd", compression_level=1, statistics=False, row_group_size=GROUP_ROWS
    )
    return rows


def _with_digests(batch: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """Add the digests of key and row, and the column of undecodable bytes where there is none."""
    if UNDECODABLE not in batch.columns:
        batch = batch.with_columns(pl.lit(None, dtype=pl.String).alias(UNDECODABLE))
    keys = pl.DataFrame({KEY: encode(batch, key)}).select(plh.col(KEY).nchash.xxh3_128())
    return batch.hstack([keys.to_series(), quick(batch).alias(ROW)])


def _findings(current: Path, now: pl.DataFrame) -> tuple[str, ...]:
    """What the operator should know of this table: rows with one key, bytes that did not decode."""
    doubled = now.get_column(KEY).len() - now.get_column(KEY).n_unique()
    broken = pl.scan_parquet(current).select(pl.col(UNDECODABLE).count()).collect().item()
    said = [(doubled, "rows repeat a key"), (broken, "rows hold bytes that do not decode")]
    return tuple(f"{count} {text}" for count, text in said if count)


def _digests(previous: Path | None, current: Path) -> pl.DataFrame:
    """Digests of the previous run; none of its rows if columns or algorithm differ: then every row changed."""
    if previous is None:
        return pl.read_parquet(current, columns=[KEY, ROW], n_rows=0)
    if _same_columns(previous, current):
        return pl.read_parquet(previous, columns=[KEY, ROW])
    keys = pl.read_parquet(previous, columns=[KEY])
    return keys.with_columns(pl.lit(None, pl.UInt64).alias(ROW))


def _same_columns(previous: Path, current: Path) -> bool:
    return pl.read_parquet_schema(previous) == pl.read_parquet_schema(current)


def _difference(now: pl.DataFrame, before: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Keys whose rows are new or changed, and keys that are gone; a key's rows count as one multiset."""
    current, previous = _by_key(now), _by_key(before)
    return current.join(previous, on=[KEY, ROW], how="anti"), previous.join(current, on=KEY, how="anti")


def _by_key(digests: pl.DataFrame) -> pl.DataFrame:
    """One line per key: the digest of its row, or of all its rows together."""
    if digests.get_column(KEY).n_unique() == digests.height:
        return digests
    together = pl.col(ROW).sort().implode().hash(1)
    many = pl.col(KEY).is_duplicated()
    grouped = digests.filter(many).group_by(KEY, maintain_order=True).agg(together.alias(ROW))
    # A key of one row keeps its digest: a repeated key elsewhere must not make every row look changed.
    return pl.concat([digests.filter(~many), grouped])


def _write_changes(
    current: Path, previous: Path | None, changed: pl.DataFrame, gone: pl.DataFrame, path: Path
) -> tuple[int, int]:
    """Write changed rows (op U) and the last content of rows that are gone (op D); returns how many of each."""
    upserts = pl.scan_parquet(current).join(changed.lazy().select(KEY), on=KEY, how="semi").collect()
    parts = [upserts.with_columns(pl.lit("U").alias(OP))]
    if previous is not None and gone.height:
        deletes = pl.scan_parquet(previous).join(gone.lazy().select(KEY), on=KEY, how="semi").collect()
        parts.append(deletes.with_columns(pl.lit("D").alias(OP)))
    pl.concat(parts, how="diagonal").drop(KEY, ROW).write_parquet(
        path, compression="zstd", compression_level=1
    )
    return upserts.height, sum(part.height for part in parts[1:])
