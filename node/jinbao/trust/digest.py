r"""Canonical digest 规范摘要: one encoding of rows, equal in Polars, SQLite and PostgreSQL.

Clauses D1-D5 are the specification and are cited by the vectors in
`tests/trust/test_digest.py`. The digest is computed from stored rows, so that
completeness is measured from content.

D1  A cell is `N` when NULL, `T<bytes>:<text>` for text (UTF-8 as is, length in bytes),
    `I<bytes>:<decimal>` for an integer (amounts and rates scaled, dates YYYYMMDD).
    NULL and the empty text differ.
D2  A row is its cells in the column order of the standard, one after the other.
D3  A row's bucket is the first two hex digits of SHA-256 of its key's cells.
D4  A bucket's digest is SHA-256 over the lines `<SHA-256 of row in hex>\\n` of its rows,
    sorted by that hex; an empty bucket has no digest.
D5  The root is SHA-256 over the lines `<bucket> <bucket digest>\\n` of the non-empty
    buckets in order; the root of no rows is SHA-256 of nothing.
D6  The path of a row is the sorted row hashes of its bucket, and the digests of all other
    buckets. Row and path give the root; the path holds nothing of another row but its hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl
import polars_hash as plh

BUCKETS = 256
EMPTY_ROOT = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Digest:
    """Root and buckets of one table's rows; `buckets` maps two hex digits to a hex digest."""

    rows: int
    root: str
    buckets: dict[str, str]

    def differing(self, other: Digest) -> tuple[str, ...]:
        """Buckets that are not equal in both, in order: where to look for the difference."""
        names = sorted(self.buckets.keys() | other.buckets.keys())
        return tuple(b for b in names if self.buckets.get(b) != other.buckets.get(b))


def _cell(name: str, dtype: pl.DataType) -> pl.Expr:
    """Clause D1 for one column."""
    tag = "T" if dtype == pl.String else "I"
    text = pl.col(name).cast(pl.String)
    coded = pl.concat_str([pl.lit(tag), text.str.len_bytes().cast(pl.String), pl.lit(":"), text])
    return coded.fill_null("N")


def encode(frame: pl.DataFrame, columns: Sequence[str]) -> pl.Series:
    """Canonical text of each row (clauses D1, D2), in the frame's order."""
    schema = frame.schema
    return frame.select(pl.concat_str([_cell(c, schema[c]) for c in columns]).alias("row")).to_series()


def leaves(frame: pl.DataFrame, columns: Sequence[str], key: Sequence[str]) -> pl.DataFrame:
    """One line per row: `bucket` (two hex digits) and `leaf` (hex), unsorted (clause D3)."""
    coded = pl.DataFrame({"row": encode(frame, columns), "key": encode(frame, key)})
    return coded.select(
        plh.col("key").chash.sha2_256().str.slice(0, 2).alias("bucket"),
        plh.col("row").chash.sha2_256().alias("leaf"),
    )


def root_of(buckets: Mapping[str, str]) -> str:
    """Clause D5."""
    tree = hashlib.sha256()
    for bucket in sorted(buckets):
        tree.update(f"{bucket} {buckets[bucket]}\n".encode())
    return tree.hexdigest()


def digest(frames: Iterable[pl.DataFrame], columns: Sequence[str], key: Sequence[str]) -> Digest:
    """Digest of all rows of `frames` (clauses D1-D5); memory is 66 bytes a row, whatever its width."""
    parts = [leaves(frame, columns, key) for frame in frames]
    if not parts:
        return Digest(0, EMPTY_ROOT, {})
    joined = pl.concat(parts).sort("bucket", "leaf")
    grouped = joined.group_by("bucket", maintain_order=True).agg(pl.col("leaf").str.join("\n"))
    buckets = {
        bucket: hashlib.sha256(f"{lines}\n".encode()).hexdigest() for bucket, lines in grouped.iter_rows()
    }
    return Digest(joined.height, root_of(buckets), buckets)


@dataclass(frozen=True, slots=True)
class RowPath:
    """What leads from one row to the root (clause D6): `leaves` of its bucket, digests of the other `buckets`."""

    leaves: tuple[str, ...]
    buckets: Mapping[str, str]


def path(frame: pl.DataFrame, columns: Sequence[str], key: Sequence[str], row: int) -> RowPath:
    """The path of the `row`-th row of a frame that holds all rows under the root."""
    found = leaves(frame, columns, key)
    bucket = found.item(row, "bucket")
    mine = found.filter(pl.col("bucket") == bucket).get_column("leaf").sort()
    others = digest([frame], columns, key).buckets
    return RowPath(tuple(mine), {name: root for name, root in others.items() if name != bucket})


def encode_cells(cells: Iterable[str | int | None]) -> str:
    """Canonical text of one row's cells (clauses D1, D2), without an engine."""
    return "".join(map(_encode_cell, cells))


def _encode_cell(value: str | int | None) -> str:
    if value is None:
        return "N"
    return f"{'T' if isinstance(value, str) else 'I'}{len(str(value).encode())}:{value}"


def root_from_path(cells: Sequence[str | int | None], key: Sequence[int], way: RowPath) -> str:
    """The root a row leads to by its path; `key` names the key's cells by place.

    Raises ValueError when the path is none of this row: another bucket, or one without it.
    """
    bucket = _sha256(encode_cells(cells[at] for at in key))[:2]
    if bucket in way.buckets:
        msg = f"path: expected the digests of all buckets but {bucket}, got that one too"
        raise ValueError(msg)
    if _sha256(encode_cells(cells)) not in way.leaves:
        msg = f"path: expected the row among {len(way.leaves)} of bucket {bucket}, got none like it"
        raise ValueError(msg)
    lines = "".join(f"{leaf}\n" for leaf in sorted(way.leaves))
    return root_of({**way.buckets, bucket: _sha256(lines)})


def digest_of_tables(tables: Iterable[tuple[str, int, str]]) -> str:
    """SHA-256 over the lines `<table> <rows> <root>` in order of table: one word for a whole library."""
    return _sha256("".join(f"{table} {rows} {root}\n" for table, rows, root in sorted(tables)))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
