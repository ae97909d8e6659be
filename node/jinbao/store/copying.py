"""COPY: columns into a PostgreSQL table on the transaction's own connection.

Encodes Arrow to PostgreSQL's binary format with `pgpq`, in a thread that stays a few
blocks ahead of the connection, so that the server never waits for us; where there is no wheel
of it (aarch64) as CSV, whose rows are the same. Makes no table and commits nothing; a COPY
that ends in an error ends its transaction. Only where nobody else uses a database yet, several
sessions copy at once, each in a transaction of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from importlib.util import find_spec
from itertools import chain, islice
from typing import Any

import polars as pl
import sqlalchemy as sa

from jinbao.store.ahead import ahead

_BLOCK_ROWS = 16_384
"""About 8 MB of the binary format for 40 columns: what is in memory is a few of these."""


def sql_type(dtype: pl.DataType) -> str:
    """The SQL type of a staged column."""
    return "text" if dtype == pl.String else "bigint"


def copy_frames(
    connection: sa.Connection,
    table: str,
    columns: Sequence[str],
    frames: Iterator[pl.DataFrame],
    *,
    freeze: bool = False,
) -> None:
    """COPY `columns` of all `frames` into `table` (SQL, quoted); other columns take their defaults.

    `freeze` writes rows that no later vacuum has to touch; only for a table this very
    transaction made. Raises psycopg.Error for what the server refuses.
    """
    raw: Any = connection.connection.driver_connection
    names = ", ".join(f'"{column}"' for column in columns)
    kind, encode = ("binary", _encoded) if has_encoder() else ("csv", _lines)
    options = f"FORMAT {kind}, FREEZE" if freeze else f"FORMAT {kind}"
    pieces = ahead(encode(frames, columns), "copy-encode")
    with (
        raw.cursor() as cursor,
        closing(pieces),
        cursor.copy(f"COPY {table} ({names}) FROM STDIN ({options})") as copy,
    ):
        for piece in pieces:
            copy.write(piece)


def copy_apart(
    engine: sa.Engine, sessions: int, table: str, columns: Sequence[str], frames: Iterator[pl.DataFrame]
) -> None:
    """COPY as `copy_frames` does, in up to so many sessions of `engine`, each of which commits what it copied.

    The table must be there for all of them. Raises what the first that failed met; the others then end early.
    """
    shared = _Shared(frames)

    def copy(first: pl.DataFrame) -> None:
        with shared.ending(), engine.connect() as connection, connection.begin():
            copy_frames(connection, table, columns, chain([first], shared))

    with ThreadPoolExecutor(sessions, "copy") as threads:
        begun = [threads.submit(copy, first) for first in islice(shared, sessions)]
    for done in begun:
        done.result()


class _Shared:
    """Frames that several threads take from one iterator, each frame once; none any more after one of them failed."""

    def __init__(self, frames: Iterator[pl.DataFrame]) -> None:
        self._frames, self._lock, self._has_failed = frames, threading.Lock(), False

    def __iter__(self) -> Iterator[pl.DataFrame]:
        return self

    def __next__(self) -> pl.DataFrame:
        with self._lock:
            if self._has_failed:
                raise StopIteration
            return next(self._frames)

    @contextmanager
    def ending(self) -> Iterator[None]:
        """Let the others end once this one fails."""
        try:
            yield
        except BaseException:
            self._has_failed = True
            raise


def has_encoder() -> bool:
    """Whether the binary format can be written on this machine."""
    return find_spec("pgpq") is not None


def _lines(frames: Iterator[pl.DataFrame], columns: Sequence[str]) -> Iterator[bytes]:
    """The bytes of one CSV COPY, block by block: texts quoted, so that an empty one is not NULL, which is bare."""
    for frame in frames:
        for block in frame.select(columns).iter_slices(_BLOCK_ROWS):
            yield block.write_csv(include_header=False, quote_style="non_numeric").encode()


def _encoded(frames: Iterator[pl.DataFrame], columns: Sequence[str]) -> Iterator[bytes]:
    """The bytes of one binary COPY, block by block."""
    import pyarrow as pa  # noqa: PLC0415  # start-up costs only bulk work pays
    from pgpq import ArrowToPostgresBinaryEncoder  # noqa: PLC0415

    encoder = schema = None
    for frame in frames:
        if encoder is None:
            kinds = {c: pa.large_string() if frame.schema[c] == pl.String else pa.int64() for c in columns}
            schema = pa.schema(list(kinds.items()))
            encoder = ArrowToPostgresBinaryEncoder(schema)
            yield encoder.write_header()
        for block in frame.select(columns).iter_slices(_BLOCK_ROWS):
            # Polars hands out views, which the encoder does not know; large texts it need not copy once more.
            table = block.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema)
            for batch in table.combine_chunks().to_batches():
                yield encoder.write_batch(batch)
    assert encoder is not None, "a stage has at least one block"
    yield encoder.finish()
