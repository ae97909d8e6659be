"""Readers of business databases: SQLite and PostgreSQL as columns through ADBC, any other by SQLAlchemy.

One snapshot holds for all tables of a run: SQLite `BEGIN` on one read-only connection,
PostgreSQL `REPEATABLE READ READ ONLY`, others a transaction at the isolation their
dialect offers (Oracle: `SET TRANSACTION READ ONLY`). Text is cast in the database, so
that no driver guesses a type and a column may change its mind in mid-table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import polars as pl
import pyarrow as pa
import sqlalchemy as sa

from jinbao.model.errors import SourceError, SpaceError
from jinbao.source.catalogue import Catalogue, PostgresCatalogue, SqliteCatalogue, TableShape, quoted
from jinbao.source.decode import decode_columns
from jinbao.source.wording import ALTERED, worded
from jinbao.store.ahead import ahead

BATCH_ROWS = 65_536
"""Rows read at once: about 30 MB of a wide table; more is no faster."""

ASKED_ROWS = 32_768
"""Keys asked for in one statement: half a megabyte of SQL."""

TOKEN = "__token"  # noqa: S105  # none that opens anything
"""Column of what the database says instead of a row's content."""


class Snapshot(Protocol):
    """All tables of one database as of one moment."""

    def tables(self) -> dict[str, TableShape]:
        """Tables by upper-case name."""
        ...

    def batches(self, shape: TableShape, token: str = "") -> Iterator[pl.DataFrame]:
        """Rows of a table, every column as text, in the order the database gives them; `TOKEN` too if one is named."""
        ...

    def tokens(self, shape: TableShape, key: Sequence[str], token: str) -> Iterator[pl.DataFrame]:
        """The key's columns and `TOKEN` of every row, as text."""
        ...

    def rows_of(self, shape: TableShape, keys: pl.DataFrame, token: str) -> Iterator[pl.DataFrame]:
        """As `batches`, at least the rows of these keys; those the database does not find by its text are left out."""
        ...


class Source:
    """One business database; `name` is the operator's word for it."""

    def __init__(self, name: str, url: str, encoding: str = "utf-8") -> None:
        self.name = name
        self.url = sa.make_url(url)
        self.encoding = encoding

    def error(self, expected: str, got: object, next_step: str = "") -> SourceError:
        """An error about this source; the URL's password is never part of it."""
        return SourceError(f"source {self.name}", expected=expected, got=got, next_step=next_step)

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Open one consistent view; raises SourceError if the database cannot be read."""
        kind = self.url.get_backend_name()
        try:
            if kind == "sqlite":
                yield from self._sqlite()
            elif kind == "postgresql":
                yield from self._postgresql()
            else:
                yield from self._other()
        except sa.exc.SQLAlchemyError as exc:
            said = worded(exc.orig if isinstance(exc, sa.exc.DBAPIError) and exc.orig else exc)
            raise self.error(said.expected, said.got, "jinbao config show") from exc
        except OSError as exc:
            # The body of a snapshot writes segments: that is our disk, and not the source's fault.
            raise SpaceError(
                f"capture of {self.name}",
                expected="to write what was read",
                got=exc.strerror or str(exc),
                next_step="free space; capture goes on by itself",
            ) from exc
        finally:
            pa.default_memory_pool().release_unused()  # Arrow keeps what reading took, and nobody reads till tomorrow

    def _sqlite(self) -> Iterator[Snapshot]:
        import adbc_driver_sqlite.dbapi as adbc  # noqa: PLC0415  # only where there is one

        path = Path(str(self.url.database))
        if not path.is_file():
            raise self.error("a SQLite file", f"none at {path}", "mount it, or correct sources.url")
        with self._driver_errors(adbc), adbc.connect(f"file:{path}?mode=ro") as connection:
            yield AdbcSnapshot(self, connection, SqliteCatalogue())

    def _postgresql(self) -> Iterator[Snapshot]:
        import adbc_driver_postgresql.dbapi as adbc  # noqa: PLC0415

        uri = self.url.set(drivername="postgresql").render_as_string(hide_password=False)
        with self._driver_errors(adbc), adbc.connect(uri) as connection:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield AdbcSnapshot(self, connection, PostgresCatalogue())

    def _other(self) -> Iterator[Snapshot]:
        try:
            engine = sa.create_engine(self.url)
        except ImportError as exc:
            raise self.error("a driver", str(exc), "install it into the environment of jinbao") from exc
        try:
            with engine.connect() as connection:
                if engine.dialect.name == "oracle":
                    connection.exec_driver_sql("SET TRANSACTION READ ONLY")
                yield RowSnapshot(self, connection)
        finally:
            engine.dispose()

    @contextmanager
    def _driver_errors(self, driver: Any) -> Iterator[None]:
        try:
            yield
        except driver.Error as exc:
            raise self.error(*worded(exc)) from exc

    def stream(self, reader: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """What a driver streams. Raises SourceError where it breaks off: Arrow's OSError looks like our full disk."""
        while True:
            try:
                batch = next(reader)
            except StopIteration:
                return
            except (OSError, pa.ArrowException) as exc:
                raise self.error(*worded(exc, reading=True)) from exc
            yield batch


class AdbcSnapshot:
    """A snapshot read as Arrow."""

    def __init__(self, source: Source, connection: Any, catalogue: Catalogue) -> None:
        self._source, self._connection, self._catalogue = source, connection, catalogue

    def tables(self) -> dict[str, TableShape]:
        """Tables by upper-case name."""
        with self._connection.cursor() as cursor:
            return {shape.name.upper(): shape for shape in self._catalogue.shapes(cursor)}

    def batches(self, shape: TableShape, token: str = "") -> Iterator[pl.DataFrame]:
        """Rows as text, decoded if the source is not UTF-8."""
        yield from self._selected(shape, shape.columns, token)

    def tokens(self, shape: TableShape, key: Sequence[str], token: str) -> Iterator[pl.DataFrame]:
        """The key's columns and `TOKEN`, as text."""
        yield from self._selected(shape, tuple(key), token)

    def rows_of(self, shape: TableShape, keys: pl.DataFrame, token: str) -> Iterator[pl.DataFrame]:
        """Rows of some keys, by the key's index where there is one."""
        with self._connection.cursor() as cursor:
            types = self._catalogue.types(cursor, shape.name)
        for some in keys.iter_slices(ASKED_ROWS):
            where = self._catalogue.among({quoted(c): types.get(c, "") for c in keys.columns}, some)
            yield from self._selected(shape, shape.columns, token, where)

    def _selected(
        self, shape: TableShape, columns: Sequence[str], token: str, where: str = ""
    ) -> Iterator[pl.DataFrame]:
        """Some columns of a table as text."""
        raw = self._source.encoding != "utf-8" and isinstance(self._catalogue, SqliteCatalogue)
        chosen = [f"{self._catalogue.text(c, raw=raw)} AS {quoted(c)}" for c in columns]
        names = [*columns, TOKEN] if token else list(columns)
        typing = self._catalogue.typing_row(names, raw=raw)
        with self._connection.cursor() as cursor:
            if not self._catalogue.is_as_seen(cursor, shape.name):
                thing = f"source {self._source.name}: table {shape.name}"
                raise SourceError(thing, **ALTERED._asdict())
            if token:
                chosen.append(f"{self._catalogue.token(cursor, shape, token)} AS {quoted(TOKEN)}")
            cursor.adbc_statement.set_options(**self._options())
            cursor.execute(f"{typing}SELECT {', '.join(chosen)} FROM {quoted(shape.name)}{where}")
            batches = self._source.stream(iter(cursor.fetch_record_batch()))
            frames = ahead(self._frames(names, batches, raw=raw, has_typing=bool(typing)), "read")
            with closing(frames):  # the thread ends before its cursor
                yield from frames

    def _frames(
        self, names: Sequence[str], batches: Iterator[pa.RecordBatch], *, raw: bool, has_typing: bool
    ) -> Iterator[pl.DataFrame]:
        for at, batch in enumerate(batches):
            yield self._shaped(names, batch.slice(1) if has_typing and at == 0 else batch, raw=raw)

    def _options(self) -> dict[str, str]:
        sqlite = isinstance(self._catalogue, SqliteCatalogue)
        name = "adbc.sqlite.query.batch_rows" if sqlite else "adbc.postgresql.batch_size_hint_bytes"
        return {name: str(BATCH_ROWS if sqlite else 28 << 20)}

    def _shaped(self, names: Sequence[str], batch: pa.RecordBatch, *, raw: bool) -> pl.DataFrame:
        if raw or not _is_utf8(batch):
            frame = decode_columns(batch, self._source.encoding)
        else:
            # A batch of NULLs alone has no type of its own.
            arrays = [batch.column(at).cast(pa.large_string()) for at in range(batch.num_columns)]
            made = pl.from_arrow(pa.table(arrays, names=list(names)))
            assert isinstance(made, pl.DataFrame)
            frame = made
        return frame.with_columns(_WITHOUT_NUL) if _has_nul(batch) else frame


_NUL = "\0"
"""Padding of some old systems; no database of ours takes one, and no name has one."""

_WITHOUT_NUL = pl.col(pl.String).str.replace_all(_NUL, "", literal=True)


def _has_nul(batch: pa.RecordBatch) -> bool:
    """Whether any byte of any text is NUL; a look at the bytes costs a thousandth of a look at the cells."""
    bodies = (array.buffers()[-1] for array in batch.columns)
    return any(body is not None and re.search(rb"\x00", body) is not None for body in bodies)


def _is_utf8(batch: pa.RecordBatch) -> bool:
    """Whether all text is UTF-8: SQLite, and a PostgreSQL of SQL_ASCII, hand out any bytes as text."""
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


class RowSnapshot:
    """A snapshot read by rows, in bounded blocks, for databases without a columnar driver."""

    def __init__(self, source: Source, connection: sa.Connection) -> None:
        self._source, self._connection = source, connection

    def tables(self) -> dict[str, TableShape]:
        """Tables by upper-case name."""
        inspector = sa.inspect(self._connection)
        shapes = {}
        for name in inspector.get_table_names():
            columns = tuple(c["name"] for c in inspector.get_columns(name))
            key = tuple(inspector.get_pk_constraint(name)["constrained_columns"])
            shapes[name.upper()] = TableShape(name, columns, key)
        return shapes

    def batches(self, shape: TableShape, token: str = "") -> Iterator[pl.DataFrame]:
        """Rows as text; the driver's own text form of each value."""
        if token:
            raise self._without(shape, token)
        table = sa.table(shape.name, *(sa.column(c) for c in shape.columns))
        result = self._connection.execution_options(yield_per=BATCH_ROWS).execute(sa.select(table))
        for block in result.partitions():
            columns = zip(*block, strict=True)
            yield pl.DataFrame(
                {name: _texts(values) for name, values in zip(shape.columns, columns, strict=True)},
                schema=dict.fromkeys(shape.columns, pl.String()),
            )

    def tokens(self, shape: TableShape, key: Sequence[str], token: str) -> Iterator[pl.DataFrame]:
        """None: settings offer tokens for PostgreSQL and SQLite alone."""
        del key
        raise self._without(shape, token)

    def rows_of(self, shape: TableShape, keys: pl.DataFrame, token: str) -> Iterator[pl.DataFrame]:
        """None, as `tokens`."""
        del keys
        raise self._without(shape, token)

    def _without(self, shape: TableShape, token: str) -> SourceError:
        expected = "a database whose rows can be read by token, PostgreSQL or SQLite"
        got = f"{token or 'a token'} of {shape.name} at {self._connection.dialect.name}"
        return self._source.error(expected, got, 'set change = "content" for this source')


def _texts(values: Sequence[Any]) -> list[str | None]:
    return [None if value is None else _text(value) for value in values]


def _text(value: Any) -> str:
    # A decimal's own form of a small amount is 1E-7, which no rule takes for a number.
    text = format(value, "f") if isinstance(value, Decimal) else str(value)
    return text.replace(_NUL, "")
