"""The decision room: packages taken in, in the order their origins sealed them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from jinbao.decision.tables import METADATA, PACKAGE
from jinbao.model.acts import Act
from jinbao.store.engine import Store, Transaction
from jinbao.store.projection import Recorded
from jinbao.store.stage import Stage


@dataclass(frozen=True, slots=True)
class PackagedSegment:
    """One segment of a published submission: a snapshot replaces what its origin sent before."""

    library: str
    origin: str
    table: str
    origin_seq: int
    kind: str
    period: str
    sha256: str
    place: int = 0
    """Where it stands among all that was taken in: an origin created anew counts its batches from one again."""


class DecisionProjection:
    """Reads `packaged`."""

    kinds = frozenset({"packaged"})
    tables = tuple(METADATA.sorted_tables)

    def stage(self, store: Store, act: Act) -> tuple[Stage, ...]:
        """Nothing is staged: rows stay in their segments."""
        del store, act
        return ()

    def project(self, tx: Transaction, recorded: Recorded, stages: tuple[Stage, ...]) -> None:
        """One row per segment."""
        del stages
        body: Mapping[str, Any] = recorded.act.body
        names = ("library", "origin", "origin_seq", "period", "standard")
        common = {name: body[name] for name in names} | {"lsn": recorded.lsn}
        for at, use in enumerate(body["segments"]):
            row = {name: use[name] for name in ("table", "kind", "sha256", "rows")}
            tx.execute(PACKAGE.insert(), common | row | {"n": at})


class Decision:
    """Reads of what was taken in."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def segments(self, library: str) -> list[PackagedSegment]:
        """Every segment taken in of a library, by origin, table and order; `view.live` says which still count."""
        query = sa.select(PACKAGE).where(PACKAGE.c.library == library)
        order = (PACKAGE.c.origin, PACKAGE.c.table, PACKAGE.c.lsn, PACKAGE.c.n)
        with self._store.read() as connection:
            rows = connection.execute(query.order_by(*order)).mappings().all()
        names = ("library", "origin", "table", "origin_seq", "kind", "period", "sha256", "lsn")
        return [PackagedSegment(*(row[name] for name in names)) for row in rows]
