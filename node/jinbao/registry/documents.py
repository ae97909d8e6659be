"""Trust documents 信任文件 as this zone holds them: authorities, revocation lists, the topology.

A projection of the acts `trust_learned`; of each document the one with the highest number
stands. Proves nothing: what is recorded was proved before.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from jinbao.model.acts import Act
from jinbao.model.trust import DocumentKind, TrustDocument
from jinbao.registry.tables import DOCUMENT, METADATA
from jinbao.store.engine import Store, Transaction
from jinbao.store.projection import Recorded
from jinbao.store.stage import Stage


class DocumentProjection:
    """Reads `trust_learned`."""

    kinds = frozenset({"trust_learned"})
    tables = tuple(METADATA.sorted_tables)

    def stage(self, store: Store, act: Act) -> tuple[Stage, ...]:
        """Nothing is staged: documents are few."""
        del store, act
        return ()

    def project(self, tx: Transaction, recorded: Recorded, stages: tuple[Stage, ...]) -> None:
        """Keep each document unless one of that number or a higher one is here."""
        del stages
        body = recorded.act.body
        for row in body["documents"]:
            place = sa.and_(DOCUMENT.c.kind == row["kind"], DOCUMENT.c.name == row["name"])
            held = tx.execute(sa.select(DOCUMENT.c.number, DOCUMENT.c.peer).where(place)).first()
            # An operator's import makes a document this zone's own word, also one a peer had brought.
            is_taken_up = held is not None and held.number == row["number"] and held.peer and not body["peer"]
            if held is not None and held.number >= row["number"] and not is_taken_up:
                continue
            tx.execute(DOCUMENT.delete().where(place))
            tx.execute(
                DOCUMENT.insert(), dict(row) | {"peer": body["peer"], "at": recorded.at, "lsn": recorded.lsn}
            )


@dataclass(frozen=True, slots=True)
class HeldDocument:
    """A document with the way it came: `peer` is empty for one an operator imported here."""

    document: TrustDocument
    peer: str
    at: str


class Documents:
    """Reads of one zone's trust documents."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def held(self) -> list[HeldDocument]:
        """Every document, by kind and name."""
        query = sa.select(DOCUMENT).order_by(DOCUMENT.c.kind, DOCUMENT.c.name)
        with self._store.read() as connection:
            rows = connection.execute(query).all()
        return [
            HeldDocument(
                TrustDocument(DocumentKind(r.kind), r.name, r.number, base64.b64decode(r.body)), r.peer, r.at
            )
            for r in rows
        ]

    def local(self) -> Sequence[TrustDocument]:
        """Those an operator imported here: what this zone passes on as its own word."""
        return [held.document for held in self.held() if not held.peer]
