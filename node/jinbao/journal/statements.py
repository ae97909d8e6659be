"""Questions a zone asks its journal in every round, as statements that are built once.

SQLAlchemy needs longer to build one than the database to answer it. What is asked for by name (`of`, `by`, `at_stage`, …)
is bound when it is asked. Asks nothing itself; questions that are asked now and then stay with `index`.
"""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from jinbao.journal.projection import APPLIED
from jinbao.journal.tables import (
    ACT,
    HEADER,
    HOLD,
    MARK,
    MISSING,
    PAUSE,
    RECEIPT,
    RECEIPT_DUE,
    SEGMENT,
    STREAM,
    ZONE,
)
from jinbao.model.batch import Kind
from jinbao.model.receipt import Stage

_OF: sa.BindParameter[str] = sa.bindparam("of")
_BY: sa.BindParameter[str] = sa.bindparam("by")
_AT_STAGE: sa.BindParameter[str] = sa.bindparam("at_stage")
_INCARNATION: sa.BindParameter[str] = sa.bindparam("within")
_SEQ: sa.BindParameter[int] = sa.bindparam("at_seq")
_MOST: sa.BindParameter[int] = sa.bindparam("most", type_=sa.Integer)

INCARNATION = sa.select(ZONE.c.incarnation)
"""What a zone chose at its creation."""

NEWEST_ACT = sa.select(ACT.c.lsn, ACT.c.hash).order_by(ACT.c.lsn.desc()).limit(1)
"""Place of the newest act, and the chain's hash there."""

HEAD = sa.select(STREAM).where(STREAM.c.stream == _OF)
"""The newest header of the stream `of`."""

STREAMS = sa.select(STREAM).order_by(STREAM.c.stream)
"""The newest header of every stream."""

MARK_OF = sa.select(MARK).where(MARK.c.stage == _AT_STAGE, MARK.c.stream == _OF)
"""The mark of the stream `of`."""

MARKS = sa.select(MARK).where(MARK.c.stage == _AT_STAGE).order_by(MARK.c.stream)
"""Marks of all streams."""

HELD = sa.select(HOLD)
"""Streams that wait for a person."""

PAUSED = sa.select(PAUSE)
"""Peers an operator paused."""

PLACE = sa.select(HEADER.c.epoch, HEADER.c.head).where(
    HEADER.c.stream == _OF, HEADER.c.incarnation == _INCARNATION, HEADER.c.seq == _SEQ
)
"""The header at `at_seq` of the incarnation `within` of the stream `of`."""

BATCH = (
    sa.select(HEADER.c.envelope)
    .where(HEADER.c.stream == _OF, HEADER.c.seq == _SEQ)
    .order_by(HEADER.c.lsn.desc())
    .limit(1)
)
"""The newest batch at `at_seq` of the stream `of`."""

NEAREST = (
    sa.select(HEADER)
    .where(HEADER.c.stream == _OF, HEADER.c.incarnation == _INCARNATION, HEADER.c.seq <= _SEQ)
    .order_by(HEADER.c.seq.desc())
    .limit(1)
)
"""The header at `at_seq` of the incarnation `within` of the stream `of`, or the one nearest before it."""

FIRST = sa.select(sa.func.min(HEADER.c.lsn)).where(HEADER.c.stream == _OF)
"""Where the first batch of the stream `of` was recorded."""

FIRST_OF = FIRST.where(HEADER.c.incarnation == _INCARNATION)
"""Where the first batch of the incarnation `within` was."""

FIRST_BEYOND = FIRST_OF.where(HEADER.c.seq > _SEQ)
"""Where the first one beyond `at_seq` was."""

SINCE = (
    sa.select(HEADER.c.envelope)
    .where(HEADER.c.stream == _OF, HEADER.c.lsn >= sa.bindparam("at_lsn"))
    .order_by(HEADER.c.lsn)
    .limit(_MOST)
)
"""The first `most` batches of the stream `of` that were recorded at `at_lsn` or later."""

SEGMENT_OF = sa.select(SEGMENT.c.sha256).where(
    SEGMENT.c.stream == _OF, SEGMENT.c.seq == _SEQ, SEGMENT.c.sha256 == sa.bindparam("named")
)
"""The segment `named`, if the batch at `at_seq` of the stream `of` has it."""


def _unapplied() -> sa.Select[tuple[str]]:
    applied = sa.select(MARK.c.lsn).where(MARK.c.stage == APPLIED, MARK.c.stream == _OF)
    beyond = HEADER.c.lsn > sa.func.coalesce(applied.scalar_subquery(), 0)
    found = sa.select(HEADER.c.envelope).where(HEADER.c.stream == _OF, HEADER.c.peer != "", beyond)
    return found.order_by(HEADER.c.lsn).limit(_MOST)


UNAPPLIED = _unapplied()
"""The first `most` batches of the stream `of` accepted after the one its apply mark points to."""

ANSWERED = sa.select(RECEIPT.c.stream, RECEIPT.c.seq).where(
    RECEIPT.c.receiver == _BY, RECEIPT.c.stage == _AT_STAGE
)
"""What `by` issued receipts for."""

RECEIPTS_DUE = sa.select(RECEIPT_DUE).order_by(RECEIPT_DUE.c.lsn).limit(_MOST)
"""Receipts not yet sealed, oldest first."""


def _waiting() -> sa.Select[tuple[str, int]]:
    applied = sa.select(MARK).where(MARK.c.stage == APPLIED).subquery()
    return (
        sa.select(HEADER.c.stream, sa.func.count().label("batches"))
        .join(applied, applied.c.stream == HEADER.c.stream, isouter=True)
        .where(HEADER.c.peer != "", HEADER.c.lsn > sa.func.coalesce(applied.c.lsn, 0))
        .group_by(HEADER.c.stream)
        .order_by(HEADER.c.stream)
    )


WAITING = _waiting()
"""Streams with batches accepted after the one their apply mark points to, and how many."""

_RECEIVED = RECEIPT.c.receiver == _BY, RECEIPT.c.stream == _OF
_OF_HEADER = sa.and_(RECEIPT.c.seq == HEADER.c.seq, RECEIPT.c.head == HEADER.c.head)


def _noted() -> sa.Exists:
    return sa.exists().where(
        MISSING.c.seq == HEADER.c.seq,
        MISSING.c.head == HEADER.c.head,
        MISSING.c.stream == _OF,
        MISSING.c.receiver == _BY,
        MISSING.c.stage == _AT_STAGE,
    )


def _overdue() -> sa.Exists:
    return sa.exists().where(_OF_HEADER, *_RECEIVED, RECEIPT.c.stage == Stage.OVERDUE)


def _unanswered(but: Callable[[], sa.Exists]) -> sa.Select[tuple[int, str, str, str]]:
    mine = HEADER.c.stream == _OF, HEADER.c.incarnation == _INCARNATION
    any_stage = RECEIPT.c.stage.in_(sa.bindparam("stages", expanding=True))
    answered = (
        sa.select(sa.func.max(HEADER.c.seq)).join(RECEIPT, _OF_HEADER).where(*mine, *_RECEIVED, any_stage)
    )
    accepted = sa.select(RECEIPT.c.at).where(_OF_HEADER, *_RECEIVED, RECEIPT.c.stage == Stage.ACCEPTED)
    return (
        sa.select(HEADER.c.seq, HEADER.c.head, HEADER.c.made_at, accepted.scalar_subquery().label("taken"))
        .where(*mine, HEADER.c.kind == Kind.MANIFEST)
        .where(HEADER.c.seq > sa.func.coalesce(answered.correlate(None).scalar_subquery(), 0))
        .where(~but())
        .order_by(HEADER.c.seq)
        .limit(_MOST)
    )


UNANSWERED = _unanswered(_noted)
"""Manifests of `of` after the last one `by` answered with any of `stages`, but those noted as missing for `at_stage`."""

UNTOLD = _unanswered(_overdue)
"""The same, but those of which `by` said itself that it is late."""
