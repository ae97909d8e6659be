"""The library room: applies submissions, counts, reads and digests what is stored.

`LibraryProjection` writes (`merging` says how); `Library` reads. Neither judges rows nor
decides what to apply.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import polars as pl
import sqlalchemy as sa

from jinbao.library.merging import OP, Merge, merger
from jinbao.library.tables import METADATA, ORIGIN, SEQ, SUBMISSION, sql_table, table_name
from jinbao.library.upgrading import ensure_table
from jinbao.model.acts import Act
from jinbao.model.batch import Kind
from jinbao.model.standard import Standard
from jinbao.model.stream import StreamId
from jinbao.store.engine import Store, Transaction
from jinbao.store.partition import prepare
from jinbao.store.projection import Recorded
from jinbao.store.stage import Stage
from jinbao.trust.digest import Digest, digest


class Segments(Protocol):
    """Where segments lie; the journal's shelf."""

    def open_path(self, sha256: str) -> Path:
        """The path of a segment that must be there."""
        ...


def _blocks(read: Callable[[], Iterator[pl.DataFrame]], columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    for rows in read():
        yield rows.select(columns)


class LibraryProjection:
    """Reads `applied` and `refused`; writes library rows and the list of submissions."""

    kinds = frozenset({"applied", "refused"})

    def __init__(self, standards: Mapping[str, Standard], segments: Segments) -> None:
        self._standards = standards
        self._segments = segments
        library_tables = [sql_table(s, t) for s in standards.values() for t in s.tables]
        self._sql = {t.name: t for t in library_tables}
        self.tables = (*METADATA.sorted_tables, *library_tables)

    def ensure(self, store: Store) -> None:
        """Bring the tables of every standard this zone holds to today's shape, all or none.

        Makes those that are not there, adds columns a newer version brought, and on
        PostgreSQL puts the tables of release 0.1 in parts, one per origin.
        """
        with store.writer.connect() as connection, connection.begin():
            if not store.is_sqlite:
                prepare(connection)
            for table in self._sql.values():
                ensure_table(connection, table)

    def stage(self, store: Store, act: Act) -> tuple[Stage, ...]:
        """One stage per table of the submission, its segments one after the other, in table order."""
        if act.kind != "applied":
            return ()
        standard = self._standards[act.body["library"]]
        stages = []
        for table, uses in _by_table(act.body["segments"]).items():
            columns = (*standard.table(table).columns, OP)
            if act.bulk is not None:
                read = partial(act.bulk.rows, table)
            else:
                paths = [self._segments.open_path(use["sha256"]) for use in uses]
                read = partial(map, pl.read_parquet, paths)
            stages.append(store.stage(columns, partial(_blocks, read, columns)))
        return tuple(stages)

    def project(self, tx: Transaction, recorded: Recorded, stages: tuple[Stage, ...]) -> None:
        """Write the rows of an applied submission, or note a refused one."""
        body = recorded.act.body
        origin = StreamId.parse(body["stream"]).origin.node
        if recorded.act.kind == "applied":
            self._merge(tx, body, origin, stages)
        tx.execute(SUBMISSION.insert(), _submission(recorded, origin))

    def _merge(
        self, tx: Transaction, body: Mapping[str, Any], origin: str, stages: tuple[Stage, ...]
    ) -> None:
        standard, way = self._standards[body["library"]], merger(tx)
        for (name, uses), stage in zip(_by_table(body["segments"]).items(), stages, strict=True):
            table = standard.table(name)
            merge = Merge(
                target=self._sql[table_name(standard.library, table.id)],
                table=table,
                stage=stage,
                origin=origin,
                seq=body["seq"],
                rows=sum(use["rows"] for use in uses),
                snapshot=any(use["kind"] == Kind.SNAPSHOT for use in uses),
            )
            way.merge(tx, merge)
        way.settle(tx)


def _by_table(uses: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    grouped: dict[str, list[Mapping[str, Any]]] = {}
    for use in uses:
        grouped.setdefault(use["table"], []).append(use)
    return grouped


def _submission(recorded: Recorded, origin: str) -> dict[str, Any]:
    body, was_applied = recorded.act.body, recorded.act.kind == "applied"
    topic = StreamId.parse(body["stream"]).topic
    return {
        "stream": body["stream"],
        "seq": body["seq"],
        "first": body["first"],
        "head": body["head"],
        "origin": origin,
        "library": body.get("library", topic),
        "standard": body.get("standard", ""),
        "period": body.get("period", ""),
        "status": recorded.act.kind,
        "reason": "" if was_applied else body["reason"],
        "segments": json.dumps(body.get("segments", []), sort_keys=True),
        "tables": json.dumps(body.get("tables", []), sort_keys=True),
        "lsn": recorded.lsn,
    }


def _newest_applied() -> sa.Select[Any]:
    newest = sa.select(SUBMISSION.c.stream, sa.func.max(SUBMISSION.c.lsn).label("lsn"))
    found = newest.where(SUBMISSION.c.status == "applied").group_by(SUBMISSION.c.stream).subquery()
    same = sa.and_(SUBMISSION.c.stream == found.c.stream, SUBMISSION.c.lsn == found.c.lsn)
    named = (
        SUBMISSION.c.stream,
        SUBMISSION.c.seq,
        SUBMISSION.c.head,
        SUBMISSION.c.library,
        SUBMISSION.c.tables,
    )
    return sa.select(*named).join(found, same).order_by(SUBMISSION.c.lsn.desc())


_NEWEST_APPLIED = _newest_applied()
"""The newest applied submission of each stream, newest first; asked in every round, so built once."""


class Library:
    """Reads of stored rows; `standards` by library id."""

    def __init__(self, store: Store, standards: Mapping[str, Standard]) -> None:
        self._store = store
        self.standards = standards
        self._tables: dict[str, sa.Table] = {}

    def origins(self, library: str, table: str) -> dict[str, int]:
        """Rows stored per origin node, by origin."""
        sql = self._sql(library, table)
        query = sa.select(sql.c[ORIGIN], sa.func.count()).group_by(sql.c[ORIGIN]).order_by(sql.c[ORIGIN])
        with self._store.read(sql) as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def frame(
        self,
        library: str,
        table: str,
        *,
        origin: str = "",
        key: Mapping[str, Any] | None = None,
        limit: int | None = None,
    ) -> pl.DataFrame:
        """Stored rows: `_origin`, the standard's columns, `_seq`; of one origin, of one key, the first `limit`."""
        standard = self.standards[library].table(table)
        sql = self._sql(library, table)
        query = sa.select(*sql.columns)
        if origin:
            query = query.where(sql.c[ORIGIN] == origin)
        elif key:
            # The primary key begins with the origin: so named, every origin's rows are found by it.
            query = query.where(sql.c[ORIGIN].in_(self._origins(library)))
        for name, value in (key or {}).items():
            query = query.where(sql.c[name] == value)
        if limit is not None:
            query = query.order_by(sql.c[ORIGIN], *(sql.c[k] for k in standard.key)).limit(limit)
        return self._store.frame(query, _schema(sql))

    def digest(self, library: str, table: str, origin: str) -> Digest:
        """Canonical digest of one origin's stored rows, read back from the database in bounded blocks."""
        standard = self.standards[library].table(table)
        return digest(self.blocks(library, table, origin, standard.columns), standard.columns, standard.key)

    def blocks(
        self, library: str, table: str, origin: str, columns: Sequence[str], after: int | None = None
    ) -> Iterator[pl.DataFrame]:
        """One origin's stored rows in bounded blocks, in no order; with `after` those of later submissions alone."""
        sql = self._sql(library, table)
        query = sa.select(*(sql.c[c] for c in columns)).where(sql.c[ORIGIN] == origin)
        if after is not None:
            query = query.where(sql.c[SEQ] > after)
        schema = _schema(sql)
        return self._store.frames(query, {c: schema[c] for c in columns})

    def nothing(self, library: str, table: str) -> pl.DataFrame:
        """No row of a table, in its columns."""
        return pl.DataFrame(schema=_schema(self._sql(library, table)))

    def only_changed_since(self, stream: str, seq: int, head: str) -> bool:
        """Whether this very submission was applied here, and after it of its stream nothing but changes."""
        applied = sa.and_(SUBMISSION.c.stream == stream, SUBMISSION.c.status == "applied")
        query = sa.select(SUBMISSION.c.lsn).where(applied, SUBMISSION.c.seq == seq, SUBMISSION.c.head == head)
        with self._store.read() as connection:
            lsn = connection.execute(query).scalar()
            if lsn is None:
                return False
            later = sa.select(SUBMISSION.c.segments).where(applied, SUBMISSION.c.lsn > lsn)
            uses = [use for text in connection.execute(later).scalars() for use in json.loads(text)]
        return all(use["kind"] != Kind.SNAPSHOT for use in uses)

    def digests(self, library: str, origin: str) -> dict[str, Digest]:
        """Digest of every table of one origin's library, by table id."""
        return {table.id: self.digest(library, table.id, origin) for table in self.standards[library].tables}

    def submissions(self, library: str = "") -> list[dict[str, Any]]:
        """Submissions applied or refused here, newest first."""
        query = sa.select(SUBMISSION).order_by(SUBMISSION.c.lsn.desc())
        if library:
            query = query.where(SUBMISSION.c.library == library)
        with self._store.read() as connection:
            rows = connection.execute(query).mappings().all()
        return [
            dict(row) | {"segments": json.loads(row["segments"]), "tables": json.loads(row["tables"])}
            for row in rows
        ]

    def newest_applied(self, without: Collection[tuple[str, int]]) -> list[dict[str, Any]]:
        """The newest applied submission of each stream, newest first, but those whose stream and seq are in `without`."""
        with self._store.read() as connection:
            rows = connection.execute(_NEWEST_APPLIED).mappings().all()
        return [
            dict(row) | {"tables": json.loads(row["tables"])}
            for row in rows
            if (row["stream"], row["seq"]) not in without
        ]

    def _origins(self, library: str) -> list[str]:
        """Origins that a submission of the library was applied of."""
        query = sa.select(SUBMISSION.c.origin).where(SUBMISSION.c.library == library).distinct()
        with self._store.read() as connection:
            return sorted(connection.execute(query).scalars())

    def _sql(self, library: str, table: str) -> sa.Table:
        name = table_name(library, table)
        if name not in self._tables:
            standard = self.standards[library]
            self._tables[name] = sql_table(standard, standard.table(table))
        return self._tables[name]


def _schema(table: sa.Table) -> dict[str, pl.DataType]:
    """A library table's columns as Polars reads them."""
    return {c.name: pl.String() if isinstance(c.type, sa.Text) else pl.Int64() for c in table.columns}
