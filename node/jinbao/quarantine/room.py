"""The quarantine room: keeps what the gate stopped, and records what was let go.

`QuarantineProjection` writes from the `converted` act; `Quarantine` reads for city staff.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import polars as pl
import sqlalchemy as sa

from jinbao.model.acts import Act
from jinbao.quarantine.tables import FINDING, METADATA, RELEASE, ROW
from jinbao.store.engine import Store, Transaction
from jinbao.store.projection import Recorded
from jinbao.store.stage import Stage

ROW_COLUMNS = ("table", "key", "n", "row")
"""Columns of a quarantine segment; `n` tells rows of one key apart, `row` is the record as JSON."""

FINDING_COLUMNS = ("n", "table", "key", "item", "rule", "severity", "value")
"""Columns of a findings segment; `n` numbers the findings of the run."""


class Segments(Protocol):
    """Where segments lie; the journal's shelf."""

    def open_path(self, sha256: str) -> Path:
        """The path of a segment that must be there."""
        ...


class QuarantineProjection:
    """Reads `converted`: a library's quarantine is always that of its newest run."""

    kinds = frozenset({"converted"})
    tables = tuple(METADATA.sorted_tables)

    def __init__(self, segments: Segments) -> None:
        self._segments = segments

    def stage(self, store: Store, act: Act) -> tuple[Stage, ...]:
        """Rows and findings of the run."""
        parts = ((ROW_COLUMNS, act.body["quarantine"]), (FINDING_COLUMNS, act.body["findings"]))
        return tuple(
            store.stage(columns, lambda s=sha256, c=columns: iter([self._read(s, c)]))  # type: ignore[misc]
            for columns, sha256 in parts
            if sha256
        )

    def _read(self, sha256: str, columns: tuple[str, ...]) -> pl.DataFrame:
        return pl.read_parquet(self._segments.open_path(sha256)).select(columns)

    def project(self, tx: Transaction, recorded: Recorded, stages: tuple[Stage, ...]) -> None:
        """Replace the library's rows and findings; rows that are gone are recorded as released."""
        body = recorded.act.body
        library, run = body["library"], body["run"]
        ready = list(stages)
        rows = ready.pop(0) if body["quarantine"] else None
        findings = ready.pop(0) if body["findings"] else None
        self._release(tx, recorded, rows)
        tx.execute(ROW.delete().where(ROW.c.library == library))
        tx.execute(FINDING.delete().where(FINDING.c.library == library))
        if rows is not None:
            new = tx.staged(rows)
            values = [sa.literal(library), *(new.c[c] for c in ROW_COLUMNS), sa.literal(body["period"])]
            names = ["library", *ROW_COLUMNS, "period", "run"]
            tx.execute(ROW.insert().from_select(names, sa.select(*values, sa.literal(run))))
        if findings is not None:
            new = tx.staged(findings)
            names = ["library", *FINDING_COLUMNS, "run"]
            chosen = sa.select(sa.literal(library), *(new.c[c] for c in FINDING_COLUMNS), sa.literal(run))
            tx.execute(FINDING.insert().from_select(names, chosen))

    def _release(self, tx: Transaction, recorded: Recorded, rows: Stage | None) -> None:
        body = recorded.act.body
        gone = ROW.c.library == body["library"]
        if rows is not None:
            new = tx.staged(rows)
            still = sa.exists().where(new.c.table == ROW.c.table, new.c.key == ROW.c.key)
            gone = sa.and_(gone, ~still)
        chosen = sa.select(
            ROW.c.library, ROW.c.table, ROW.c.key, sa.literal(body["run"]), ROW.c.run, sa.literal(recorded.at)
        )
        names = ["library", "table", "key", "run", "quarantined_in", "at"]
        tx.execute(RELEASE.insert().from_select(names, chosen.where(gone).distinct()))


class Quarantine:
    """Reads of what was stopped, for the zone's own staff."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def summary(self) -> list[dict[str, Any]]:
        """Findings per library, table, rule, item and severity, most first."""
        columns = (FINDING.c.library, FINDING.c.table, FINDING.c.rule, FINDING.c.item, FINDING.c.severity)
        count = sa.func.count().label("rows")
        query = sa.select(*columns, count).group_by(*columns).order_by(count.desc(), *columns)
        with self._store.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def rows(self, library: str, table: str = "", *, limit: int, skip: int = 0) -> list[dict[str, Any]]:
        """Quarantined rows of a library with their findings, by table and key, at most `limit` after `skip`."""
        query = sa.select(ROW).where(ROW.c.library == library)
        if table:
            query = query.where(ROW.c.table == table)
        order = (ROW.c.table, ROW.c.key, ROW.c.n)
        with self._store.read() as connection:
            rows = [
                dict(r)
                for r in connection.execute(query.order_by(*order).limit(limit).offset(skip)).mappings()
            ]
            for row in rows:
                found = sa.select(FINDING).where(
                    FINDING.c.library == library, FINDING.c.table == row["table"], FINDING.c.key == row["key"]
                )
                row["findings"] = [
                    dict(f) for f in connection.execute(found.order_by(FINDING.c.n)).mappings()
                ]
        return rows

    def findings(self, library: str) -> list[dict[str, Any]]:
        """All findings of a library's newest run, in the order of the gate."""
        query = sa.select(FINDING).where(FINDING.c.library == library).order_by(FINDING.c.n)
        with self._store.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def releases(self, library: str) -> list[dict[str, Any]]:
        """Rows that left quarantine, newest first."""
        query = (
            sa.select(RELEASE)
            .where(RELEASE.c.library == library)
            .order_by(RELEASE.c.at.desc(), RELEASE.c.key)
        )
        with self._store.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]
