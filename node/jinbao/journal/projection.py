"""How the journal's own tables follow from its acts: headers, segments, marks, holds, receipts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from jinbao.journal.segments import SegmentShelf
from jinbao.journal.tables import (
    HEADER,
    HOLD,
    MARK,
    METADATA,
    MISSING,
    PAUSE,
    RECEIPT,
    RECEIPT_DUE,
    SEGMENT,
    STREAM,
    ZONE,
)
from jinbao.model.acts import Act, envelope_of
from jinbao.model.batch import Header
from jinbao.model.errors import InvariantError, PeerError, PoisonError
from jinbao.model.receipt import Stage as Said
from jinbao.model.stream import JOURNAL, Mark, StreamId
from jinbao.model.zone import Endpoint
from jinbao.store.engine import Store, Transaction
from jinbao.store.projection import Recorded
from jinbao.store.stage import Stage
from jinbao.trust.encoding import decode_header
from jinbao.trust.objects import kept_as
from jinbao.trust.verify import check_follows

ACCEPTED = "accepted"
APPLIED = "applied"

ANSWERS = {
    Said.ACCEPTED: Said.ACCEPTED,
    Said.APPLIED: Said.APPLIED,
    Said.REFUSED: Said.APPLIED,
}
"""Which awaited stage a receipt answers, of its batch and of all before it: batches are dealt with in order."""


def upsert(tx: Transaction, table: sa.Table, row: Mapping[str, Any]) -> None:
    """Write one row by its primary key; what stood there is replaced. The row has every column."""
    tx.execute(_upsert_of(table, tx.connection.dialect.name), row)


@cache
def _upsert_of(table: sa.Table, database: str) -> sa.Executable:
    """The statement for one table, made once: to make it costs more than to run it."""
    statement = (sqlite.insert if database == "sqlite" else postgresql.insert)(table)
    rest = {c.name: statement.excluded[c.name] for c in table.columns if not c.primary_key}
    return statement.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=rest)


def _decoded(recorded: Recorded) -> tuple[Header, str]:
    """The header of a sealed or accepted batch, and its head."""
    payload = envelope_of(recorded.act.body["envelope"]).payload
    return decode_header(payload), hashlib.sha256(payload).hexdigest()


def _require_next(tx: Transaction, header: Header) -> None:
    """Check that an accepted header follows the mark of its stream as this transaction sees it.

    It was proved to follow before; this is what stands between a mistake of ours and a gap that
    nobody could mend. Raises InvariantError.
    """
    at = tx.execute(_MARK_OF, {"of": str(header.stream)}).first()
    last = Mark(header.stream, *at) if at is not None else Mark(header.stream)
    try:
        check_follows(header, last)
    except PeerError as exc:
        raise InvariantError(
            f"{header.stream}#{header.seq}: batch to record",
            expected=f"one that follows the mark at {last.seq}",
            got=str(exc),
            next_step="nothing was recorded; restart the zone and report this",
        ) from exc


_MARK_OF = sa.select(MARK.c.incarnation, MARK.c.epoch, MARK.c.seq, MARK.c.head).where(
    MARK.c.stage == ACCEPTED, MARK.c.stream == sa.bindparam("of")
)


_TOLD = (
    MISSING.update()
    .where(
        MISSING.c.stream == sa.bindparam("of"),
        MISSING.c.receiver == sa.bindparam("by"),
        MISSING.c.stage == sa.bindparam("at_stage"),
        MISSING.c.seq <= sa.bindparam("until"),
        MISSING.c.answered_at == "",
    )
    .values(answered_at=sa.bindparam("told_at"))
)
"""What was missing of the stream `of`, until it was answered; built once, for there are many receipts."""


class JournalProjection:
    """Reads every act the journal room knows; see `tables` for what it writes."""

    def __init__(self, shelf: SegmentShelf) -> None:
        self._shelf = shelf
        self._readings: dict[str, Callable[[Transaction, Recorded], None]] = {
            "created": self._created,
            "healed": self._healed,
            "sealed": self._sealed,
            "accepted": self._accepted,
            "applied": self._moved,
            "refused": self._moved,
            "skipped": self._moved,
            "followed": self._moved,
            "witnessed": self._moved,
            "packaged": self._moved,
            "held": self._held,
            "released": self._released,
            "rebased": self._rebased,
            "receipt_due": self._receipt_due,
            "receipts_kept": self._receipts_kept,
            "missing": self._missing,
            "paused": self._paused,
            "resumed": self._resumed,
        }
        self.kinds = frozenset(self._readings)
        self.tables = tuple(t for t in METADATA.sorted_tables if t.name != "journal_act")

    def stage(self, store: Store, act: Act) -> tuple[Stage, ...]:
        """Receipts arrive by the dozen, not by the million: nothing is staged."""
        del store, act
        return ()

    def project(self, tx: Transaction, recorded: Recorded, stages: tuple[Stage, ...]) -> None:
        """Write what the act means for streams, marks, holds and receipts."""
        del stages
        self._readings[recorded.act.kind](tx, recorded)

    def _created(self, tx: Transaction, recorded: Recorded) -> None:
        body = recorded.act.body
        row = {"endpoint": body["endpoint"], "incarnation": body["incarnation"]}
        tx.execute(ZONE.insert(), row | {"epoch": body.get("epoch", 1)})

    def _healed(self, tx: Transaction, recorded: Recorded) -> None:
        tx.execute(ZONE.update().values(epoch=recorded.act.body["epoch"]))

    def _sealed(self, tx: Transaction, recorded: Recorded) -> None:
        self._header(tx, recorded, *_decoded(recorded), peer="")
        for lsn in recorded.act.body["receipts"]:
            tx.execute(RECEIPT_DUE.delete().where(RECEIPT_DUE.c.lsn == lsn))

    def _accepted(self, tx: Transaction, recorded: Recorded) -> None:
        header, head = _decoded(recorded)
        _require_next(tx, header)
        self._header(tx, recorded, header, head, peer=recorded.act.body["peer"])
        mark = Mark(header.stream, header.incarnation, header.epoch, header.seq, head)
        self._mark(tx, ACCEPTED, mark, recorded.lsn)
        # Poison is ended by a person alone: what comes after it says nothing of it.
        tx.execute(HOLD.delete().where(HOLD.c.stream == str(header.stream), HOLD.c.code != PoisonError.code))

    def _header(self, tx: Transaction, recorded: Recorded, header: Header, head: str, *, peer: str) -> None:
        stream = str(header.stream)
        place = {"incarnation": header.incarnation, "epoch": header.epoch, "seq": header.seq, "head": head}
        tx.execute(
            HEADER.insert(),
            place
            | {
                "stream": stream,
                "kind": str(header.kind),
                "period": header.period,
                "standard": header.standard,
                "rows": sum(s.rows for s in header.segments),
                "bytes": sum(s.bytes for s in header.segments),
                "made_at": header.made_at,
                "peer": peer,
                "envelope": json.dumps(recorded.act.body["envelope"], sort_keys=True),
                "lsn": recorded.lsn,
            },
        )
        upsert(tx, STREAM, place | {"stream": stream, "lsn": recorded.lsn})
        keeper = self._keeper(tx) if peer and header.stream.topic == JOURNAL else ""
        for ref in header.segments:
            name = kept_as(keeper, header.stream, ref.sha256)
            row = {"sha256": name, "stream": stream, "seq": header.seq, "table": ref.table}
            upsert(tx, SEGMENT, row | {"bytes": ref.bytes, "rows": ref.rows})

    @staticmethod
    def _keeper(tx: Transaction) -> str:
        """Our own node, which keeps the copies that are for it."""
        return Endpoint.parse(str(tx.execute(sa.select(ZONE.c.endpoint)).scalar_one())).node

    def _mark(self, tx: Transaction, stage: str, mark: Mark, lsn: int) -> None:
        """Move a mark; `lsn` is the place of the header it points to, or of the re-base that set it."""
        row = {"stage": stage, "stream": str(mark.stream), "incarnation": mark.incarnation}
        upsert(tx, MARK, row | {"epoch": mark.epoch, "seq": mark.seq, "head": mark.head, "lsn": lsn})

    def _moved(self, tx: Transaction, recorded: Recorded) -> None:
        body = recorded.act.body
        at = tx.execute(
            sa.select(HEADER.c.incarnation, HEADER.c.epoch, HEADER.c.lsn).where(
                HEADER.c.stream == body["stream"], HEADER.c.seq == body["seq"], HEADER.c.head == body["head"]
            )
        ).one()
        stream = StreamId.parse(body["stream"])
        mark = Mark(stream, at.incarnation, at.epoch, body["seq"], body["head"])
        self._mark(tx, APPLIED, mark, at.lsn)

    def _held(self, tx: Transaction, recorded: Recorded) -> None:
        body = recorded.act.body
        row = {"stream": body["stream"], "seq": body["seq"], "code": body["code"]}
        upsert(tx, HOLD, row | {"reason": body["reason"], "at": recorded.at})

    def _released(self, tx: Transaction, recorded: Recorded) -> None:
        tx.execute(HOLD.delete().where(HOLD.c.stream == recorded.act.body["stream"]))

    def _rebased(self, tx: Transaction, recorded: Recorded) -> None:
        body = recorded.act.body
        stream = StreamId.parse(body["stream"])
        mark = Mark(stream, body["incarnation"], body["epoch"], body["seq"], body["head"])
        for stage in (ACCEPTED, APPLIED):
            self._mark(tx, stage, mark, recorded.lsn)
        tx.execute(HOLD.delete().where(HOLD.c.stream == body["stream"]))

    def _receipt_due(self, tx: Transaction, recorded: Recorded) -> None:
        body = recorded.act.body
        self._receipt(tx, body)
        audience = StreamId.parse(body["stream"]).origin.node
        row = {"lsn": recorded.lsn, "audience": audience, "body": json.dumps(body, sort_keys=True)}
        tx.execute(RECEIPT_DUE.insert(), row)

    def _receipts_kept(self, tx: Transaction, recorded: Recorded) -> None:
        for sha256 in recorded.act.body["sha256"]:
            for row in pl.read_parquet(self._shelf.open_path(sha256)).iter_rows(named=True):
                self._receipt(tx, row)
        self._moved(tx, recorded)

    def _receipt(self, tx: Transaction, body: Mapping[str, Any]) -> None:
        upsert(tx, RECEIPT, {c.name: body[c.name] for c in RECEIPT.columns})
        waited = ANSWERS.get(body["stage"])
        if waited is not None:
            told = {"of": body["stream"], "by": body["receiver"], "until": body["seq"], "told_at": body["at"]}
            tx.execute(_TOLD, {**told, "at_stage": waited})

    def _missing(self, tx: Transaction, recorded: Recorded) -> None:
        upsert(tx, MISSING, {**recorded.act.body, "at": recorded.at, "answered_at": ""})

    def _paused(self, tx: Transaction, recorded: Recorded) -> None:
        body = recorded.act.body
        upsert(tx, PAUSE, {"peer": body["peer"], "reason": body["reason"], "at": recorded.at})

    def _resumed(self, tx: Transaction, recorded: Recorded) -> None:
        tx.execute(PAUSE.delete().where(PAUSE.c.peer == recorded.act.body["peer"]))
