"""A segment that grows part by part, so that a table of any size is written with a part of it in memory.

Rows have the order in which they came. Until it is kept it is a file that is being written, and
nothing refers to it; left without that, it is gone. Compares and digests nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Self

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from jinbao.store.files import telling_full_disk

GROUP_ROWS = 131_072
"""Rows that are held before they are written: enough for a row group."""


class GrowingSegment:
    """One file of the shelf on its way; `add` takes what is written, in a thread or none."""

    def __init__(self, temporary: Path, shelve: Callable[[Path], tuple[str, int]]) -> None:
        self._temporary, self._shelve = temporary, shelve
        self._waiting: list[pl.DataFrame] = []
        self._writer: pq.ParquetWriter | None = None
        self.rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._close()
        finally:
            self._temporary.unlink(missing_ok=True)

    def add(self, part: pl.DataFrame) -> None:
        """Write some rows; all parts have the same columns. Raises SpaceError where the disk is full."""
        self._waiting.append(part)
        self.rows += part.height
        if sum(one.height for one in self._waiting) >= GROUP_ROWS:
            self._flush()

    def keep(self) -> tuple[str, int]:
        """Put it on the shelf, after its last part and one part at least; returns hash and bytes, durable on return."""
        self._flush()
        self._close()
        return self._shelve(self._temporary)

    def _close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            with telling_full_disk("segment"):
                writer.close()

    def _flush(self) -> None:
        if not self._waiting and self._writer is not None:
            return
        together = pl.concat(self._waiting).to_arrow(compat_level=pl.CompatLevel.oldest())
        self._waiting = []
        with telling_full_disk("segment"):
            if self._writer is None:
                self._writer = _writer(self._temporary, together.schema)
            self._writer.write_table(together)


def _writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    # As the shelf writes others: no statistics, and no list of values that hardly repeat.
    return pq.ParquetWriter(
        path, schema, compression="zstd", compression_level=1, write_statistics=False, use_dictionary=False
    )
