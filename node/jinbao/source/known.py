"""Known: rows as 64 bits each, so that a table is compared with what was kept of it in bounded memory.

Two rows or keys with the same 64 bits, one in 10**19 pairs, pass for the same row, as two contents of one
quick digest do; keys that all differ in them differ, without a doubt. Keys met lie in a file of eight bytes
each, in no order, and are looked at a share at a time. Knows nothing of databases.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl

from jinbao.source.kept import KEY, Kept

Hashes = npt.NDArray[np.uint64]

KNOWN_ROWS_MAX = 1 << 24
"""Rows of which 64 bits are held at once, 128 MB; a larger table is written to a file and compared share by share."""

SHARE_ROWS = 1 << 21
"""Rows whose keys and digests are held and joined at once, about 300 MB."""

_SLICE_ROWS = 1 << 18
_SEED = 1


def shares(rows: int) -> int:
    """How many shares so many rows are looked at in."""
    return 1 + rows // SHARE_ROWS


def of_share(at: int, of: int) -> pl.Expr:
    """Whether a row's KEY is of the share `at`: every row of a key is."""
    return pl.lit(value=True) if of == 1 else pl.col(KEY).hash(_SEED) % of == at


def _hashes(rows: pl.DataFrame) -> Hashes:
    return rows.hash_rows(_SEED).to_numpy()


def _key_hashes(rows: pl.DataFrame) -> Hashes:
    return rows.get_column(KEY).hash(_SEED).to_numpy()


def _among(some: Hashes, ordered: Hashes) -> npt.NDArray[np.bool_]:
    """Whether each of `some` is one of `ordered`."""
    if not ordered.size:
        return np.zeros(some.size, dtype=bool)
    at = np.minimum(np.searchsorted(ordered, some), ordered.size - 1)
    found: npt.NDArray[np.bool_] = ordered[at] == some
    return found


class Known:
    """Keys with what stands for a row's content, as they were kept; a batch is looked up at a cost of its own size."""

    def __init__(self, previous: Kept, mark: str) -> None:
        self._columns = [KEY, mark]
        found = np.empty(previous.rows_max, np.uint64)
        rows = 0
        for part in previous.slices(self._columns, _SLICE_ROWS):
            found[rows : rows + part.height] = _hashes(part)
            rows += part.height
        self._ordered = found[:rows]
        self._ordered.sort()

    def has(self, batch: pl.DataFrame) -> pl.Series:
        """Whether each row was kept with the same mark; NULL is the same as nothing."""
        marks = batch.select(self._columns)
        is_same = pl.Series(_among(_hashes(marks), self._ordered))
        return is_same & marks.get_column(self._columns[1]).is_not_null()


class Among:
    """Keys, however many, by which the rows of large files are told."""

    def __init__(self, parts: Iterable[pl.DataFrame]) -> None:
        self._ordered = np.sort(np.concatenate([np.empty(0, np.uint64), *map(_key_hashes, parts)]))

    def has(self, rows: pl.DataFrame) -> pl.Series:
        """Whether each row's KEY is one of them."""
        return pl.Series(_among(_key_hashes(rows), self._ordered))


class Seen:
    """The keys a source has now; as a context it leaves no file behind."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("w+b", buffering=0)
        self.rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Begin anew."""
        self._file.seek(0)
        self._file.truncate()
        self.rows = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Take in the column KEY of some rows; raises OSError where the disk is full."""
        left = memoryview(_key_hashes(rows).tobytes())
        while left:  # a disk that fills up takes a part, and says so at the next
            left = left[self._file.write(left) :]
        self.rows += rows.height

    def repeats(self) -> bool:
        """Whether a key came twice."""
        of = shares(self.rows)
        return any(_has_equals(self._share(at, of)) for at in range(of))

    def gone(self, previous: Kept) -> pl.Series | None:
        """The keys that were kept and did not come; None if one came twice, or was kept twice."""
        of, gone = shares(max(self.rows, previous.rows_max)), [np.empty(0, np.uint64)]
        for at in range(of):
            now, before = self._share(at, of), _share(_kept_hashes(previous), at, of)
            if _has_equals(now) or _has_equals(before):
                return None
            gone.append(before[~_among(before, now)])
        return self._keys_of(previous, np.sort(np.concatenate(gone)))

    def _keys_of(self, previous: Kept, ordered: Hashes) -> pl.Series:
        found = [pl.Series(KEY, [], pl.UInt128)]
        if ordered.size:
            for part in previous.slices([KEY], _SLICE_ROWS):
                keys = part.get_column(KEY)
                found.append(keys.filter(pl.Series(_among(_key_hashes(part), ordered))))
        return pl.concat(found)

    def _share(self, at: int, of: int) -> Hashes:
        return _share(self._pieces(), at, of)

    def _pieces(self) -> Iterator[Hashes]:
        self._file.seek(0)
        while piece := self._file.read(_SLICE_ROWS * 8):
            yield np.frombuffer(piece, np.uint64)


def _kept_hashes(previous: Kept) -> Iterator[Hashes]:
    for part in previous.slices([KEY], _SLICE_ROWS):
        yield _key_hashes(part)


def _share(pieces: Iterator[Hashes], at: int, of: int) -> Hashes:
    """Those of one share, in order."""
    mine = [piece if of == 1 else piece[piece % np.uint64(of) == at] for piece in pieces]
    ordered = np.concatenate([np.empty(0, np.uint64), *mine])
    ordered.sort()
    return ordered


def _has_equals(ordered: Hashes) -> bool:
    return bool((ordered[1:] == ordered[:-1]).any())
