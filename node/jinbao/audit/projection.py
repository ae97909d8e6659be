"""How the trail's tables follow from its acts: each entry gets its number and its link in the same transaction."""

from __future__ import annotations

import sqlalchemy as sa

from jinbao.audit.tables import CUT, ENTRY, METADATA
from jinbao.model.acts import Act
from jinbao.model.audit import GENESIS, body_text, entry_hash
from jinbao.store.engine import Store, Transaction
from jinbao.store.projection import Recorded
from jinbao.store.stage import Stage

_TAKEN_OUT = ("id", "about", "outcome", "account", "action")


class AuditProjection:
    """Reads `audited` and `audit_cut`."""

    kinds = frozenset({"audited", "audit_cut"})
    tables = tuple(METADATA.sorted_tables)

    def stage(self, store: Store, act: Act) -> tuple[Stage, ...]:
        """An entry is one row: nothing is staged."""
        del store, act
        return ()

    def project(self, tx: Transaction, recorded: Recorded, stages: tuple[Stage, ...]) -> None:
        """Append the entry, or cut what a sealed head has taken the place of."""
        del stages
        body = recorded.act.body
        if recorded.act.kind == "audit_cut":
            tx.execute(CUT.insert(), {"number": body["number"], "hash": body["hash"], "at": recorded.at})
            tx.execute(ENTRY.delete().where(ENTRY.c.number <= body["number"]))
            return
        number, previous = newest(tx.connection)
        text = body_text(body)
        link = {"number": number + 1, "previous": previous, "at": recorded.at, "body": text}
        digest = entry_hash(previous, number + 1, recorded.at, text)
        tx.execute(ENTRY.insert(), link | {"hash": digest} | {name: body[name] for name in _TAKEN_OUT})


def newest(connection: sa.Connection) -> tuple[int, str]:
    """Number and hash of the newest entry; of the last one cut away if none is left, (0, "") if there never was one."""
    for table in (ENTRY, CUT):
        query = sa.select(table.c.number, table.c.hash).order_by(table.c.number.desc()).limit(1)
        row = connection.execute(query).first()
        if row:
            return row.number, row.hash
    return 0, GENESIS
