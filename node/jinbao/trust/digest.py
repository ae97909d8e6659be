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
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
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


def root_of(buckets: dict[str, str]) -> str:
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
