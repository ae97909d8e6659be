"""Reading PostgreSQL as columns: ADBC connections that are kept between reads, for many small ones cost little else.

A kept connection is in no transaction; a read that did not come to its end closes its own.
Knows no room and writes nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

import polars as pl
import sqlalchemy as sa

from jinbao.store.ahead import ahead

_READ_BYTES = 16 << 20
_KEPT = 2
"""Connections kept: whoever attests and whoever shows, at once."""


class PostgresReader:
    """Reads of one database; `close` ends what is kept."""

    def __init__(self, url: sa.URL) -> None:
        self._uri = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._lock = threading.Lock()
        self._kept: list[Any] = []
        self._is_closed = False

    def read(
        self, query: str, schema: Mapping[str, pl.DataType], locked: Sequence[str]
    ) -> Iterator[pl.DataFrame]:
        """The rows of `query` block by block, on a connection of its own that first locks tables (`partition`)."""
        with self._connection() as connection, closing(connection.cursor()) as cursor:
            for table in locked:
                cursor.execute(f"LOCK TABLE ONLY {table} IN ACCESS SHARE MODE")
            cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(_READ_BYTES)})
            cursor.execute(query)
            with closing(ahead(blocks_of(cursor, schema), "read")) as blocks:
                yield from blocks

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        """One in a transaction; kept again if the block ends well."""
        connection = self._take()
        try:
            yield connection
            connection.adbc_connection.set_autocommit(True)  # ends the transaction, and its locks
        except BaseException:
            connection.close()
            raise
        with self._lock:
            if not self._is_closed and len(self._kept) < _KEPT:
                self._kept.append(connection)
                return
        connection.close()

    def _take(self) -> Any:
        """A kept connection whose server still answers, or a new one."""
        import adbc_driver_manager as driver  # noqa: PLC0415  # a start-up cost only bulk work pays
        import adbc_driver_postgresql.dbapi as adbc  # noqa: PLC0415

        while (kept := self._pop()) is not None:
            try:
                kept.adbc_connection.set_autocommit(False)
                with closing(kept.cursor()) as cursor:  # the driver begins with the first statement
                    cursor.execute("SELECT 1").fetchone()
            except driver.Error:  # of a server that went away meanwhile; a new one says if it is back
                kept.close()
            else:
                return kept
        connection = adbc.connect(self._uri, autocommit=True)
        connection.adbc_connection.set_autocommit(False)
        return connection

    def _pop(self) -> Any:
        with self._lock:
            return self._kept.pop() if self._kept else None

    def close(self) -> None:
        """End every kept connection; those in use end after their read."""
        with self._lock:
            self._is_closed, kept = True, self._kept
            self._kept = []
        for connection in kept:
            connection.close()


def blocks_of(cursor: Any, schema: Mapping[str, pl.DataType]) -> Iterator[pl.DataFrame]:
    """What the cursor finds, as columns of `schema`."""
    for batch in cursor.fetch_record_batch():
        frame = pl.from_arrow(batch)
        assert isinstance(frame, pl.DataFrame)
        yield frame.select(pl.col(name).cast(dtype) for name, dtype in schema.items())
