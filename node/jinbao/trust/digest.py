r"""Canonical digest 规范摘要: one encoding of rows, equal in Polars, SQLite and PostgreSQL.

Clauses D1-D5 are the specification and are cited by the vectors in
`tests/trust/test_digest.py`. The digest is computed from stored rows, so that
completeness is measured from content.

D1  A cell is `N` when NULL, `T<bytes>:<text>` for text (UTF-8 as is, length in bytes),
    `I<bytes>:<decimal>` for an integer (amounts and rates scaled, dates YYYYMMDD).
    NULL and the empty text differ.
D2  A row is its cells in the column order of the standard, one after the other.
D3  A row's bucket is the first two hex digits of SHA-256 of its key's cells.
D4  A bucket's digest is SHA-256 over the lines `<SHA-256 of row in hex>\n` of its rows,
    sorted by that hex; an empty bucket has no digest.
D5  The root is SHA-256 over the lines `<bucket> <bucket digest>\n` of the non-empty
    buckets in order; the root of no rows is SHA-256 of nothing.
D6  The path of a row is the sorted row hashes of its bucket, and the digests of all other
    buckets. Row and path give the root; the path holds nothing of another row but its hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl
import polars_hash as plh

BUCKETS = 256
_BUCKET_NAMES = pl.Series([f"{number:02x}" for number in range(BUCKETS)])
_AT_ONCE_ROWS = 65_536
"""Rows whose hex and lines are a few megabytes; sixteen passes over them would cost more than they save."""
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


_PREFIXES = {tag: pl.Series([f"{tag}{size}:" for size in range(4096)]) for tag in "TI"}
"""What stands before a cell of so many bytes; looked up, because to word a number costs more than the rest."""


def _cell(name: str, tag: str, shortest: int | None, longest: int | None, *, nulls: bool) -> list[pl.Expr]:
    """Clause D1 for one column of texts: what stands before the cell, and the cell."""
    text = pl.col(name)
    if longest is None:  # no cell at all
        return [pl.lit("N"), text]
    if shortest == longest and not nulls:
        return [pl.lit(f"{tag}{longest}:"), text]
    size = text.str.len_bytes()
    if longest < len(_PREFIXES[tag]):
        return [pl.lit(_PREFIXES[tag]).gather(size).fill_null("N"), text]
    return [pl.format(f"{tag}{{}}:", size).fill_null("N"), text]


def _texts(frame: pl.DataFrame, columns: Iterable[str]) -> tuple[pl.DataFrame, dict[str, list[pl.Expr]]]:
    """Some columns as text, and clause D1 for each of them."""
    texts = frame.select(pl.col(c).cast(pl.String) for c in columns)
    size = pl.all().str.len_bytes()
    said = texts.select(
        size.min().name.prefix("min "), size.max().name.prefix("max "), pl.all().null_count()
    ).row(0, named=True)
    return texts, {
        c: _cell(
            c,
            "T" if frame.schema[c] == pl.String else "I",
            said[f"min {c}"],
            said[f"max {c}"],
            nulls=said[c] > 0,
        )
        for c in texts.columns
    }


def _row(cells: Mapping[str, list[pl.Expr]], columns: Iterable[str]) -> pl.Expr:
    """Clause D2."""
    return pl.concat_str([expr for c in columns for expr in cells[c]], ignore_nulls=True)


def encode(frame: pl.DataFrame, columns: Sequence[str]) -> pl.Series:
    """Canonical text of each row (clauses D1, D2), in the frame's order."""
    if frame.is_empty():
        return pl.Series("row", [], pl.String)
    texts, cells = _texts(frame, columns)
    return texts.select(_row(cells, columns).alias("row")).to_series()


def leaves(frame: pl.DataFrame, columns: Sequence[str], key: Sequence[str]) -> pl.DataFrame:
    """One line per row: `bucket` (two hex digits) and `leaf` (hex), unsorted (clause D3)."""
    if frame.is_empty():
        return pl.DataFrame(schema={"bucket": pl.String(), "leaf": pl.String()})
    texts, cells = _texts(frame, dict.fromkeys([*columns, *key]))
    # Looked up: a piece of a hash would keep the whole of it in memory.
    number = _sha256_of(_row(cells, key)).str.slice(0, 2).str.to_integer(base=16)
    return texts.select(
        pl.lit(_BUCKET_NAMES).gather(number).alias("bucket"),
        _sha256_of(_row(cells, columns)).alias("leaf"),
    )


def _sha256_of(texts: pl.Expr) -> pl.Expr:
    """Of each text, in hex."""
    return plh.CryptographicHashingNameSpace(texts).sha2_256()


def root_of(buckets: Mapping[str, str]) -> str:
    """Clause D5."""
    tree = hashlib.sha256()
    for bucket in sorted(buckets):
        tree.update(f"{bucket} {buckets[bucket]}\n".encode())
    return tree.hexdigest()


def digest(frames: Iterable[pl.DataFrame], columns: Sequence[str], key: Sequence[str]) -> Digest:
    """Digest of all rows of `frames` (clauses D1-D5); memory is 100 bytes a row, whatever its width."""
    return digest_of_leaves(leaves(frame, columns, key) for frame in frames)


def digest_of_leaves(parts: Iterable[pl.DataFrame]) -> Digest:
    """Digest of rows by their leaves (clauses D4, D5); `parts` in any order, each leaf in hex or as its 32 bytes."""
    found = list(parts)
    if not found:
        return Digest(0, EMPTY_ROOT, {})
    joined = pl.concat(found)
    in_hex = pl.col("leaf") if joined.schema["leaf"] == pl.String else pl.col("leaf").bin.encode("hex")
    lines = in_hex.sort().str.join("\n")
    buckets: dict[str, str] = {}
    for some in _parts(joined):
        for bucket, text in some.group_by("bucket").agg(lines).iter_rows():
            buckets[bucket] = _sha256(f"{text}\n")
    return Digest(joined.height, root_of(buckets), dict(sorted(buckets.items())))


def _parts(joined: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """All rows in parts of whole buckets: many a sixteenth at a time, whose hex and lines are as large as the rows."""
    if joined.height <= _AT_ONCE_ROWS:
        yield joined
        return
    for first in "0123456789abcdef":
        yield joined.filter(pl.col("bucket").str.starts_with(first))


def digest_of_shares(shares: Iterable[pl.DataFrame]) -> Digest:
    """As `digest_of_leaves` of shares that hold whole buckets each: as much memory as the largest takes."""
    rows, buckets = 0, dict[str, str]()
    for share in shares:
        found = digest_of_leaves([share])
        rows += found.rows
        buckets |= found.buckets
    return Digest(rows, root_of(buckets), dict(sorted(buckets.items())))


QUICK = f"__row_polars-{pl.__version__}"
"""Column of the quick digest. Private to a zone, and equal only under one id: that of the column engine's version."""


def quick(frame: pl.DataFrame) -> pl.Series:
    """64 bits of each row's content, in the frame's order: which rows changed since a run, and nothing more."""
    return frame.hash_rows(1).alias(QUICK)


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
