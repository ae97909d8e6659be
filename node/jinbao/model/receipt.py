"""Receipts 回执: what a receiver says, signed, about a batch it was sent.

Stages are those of the main line; a receipt names exactly one. Receipts travel as
batches of the topic `receipts`, so their seal is the seal of the batch. `overdue` and `held`
came with release 0.2 and travel in the topic `notices`: a node of 0.1 reads every stage of
the topic `receipts` and ends at a word it does not know, but passes by a topic it does not know.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from jinbao.model.stream import NOTICES, RECEIPTS, StreamId
from jinbao.model.zone import Endpoint

REASON_CHARACTERS_MAX = 4000
"""A refusal names tables, rules and numbers, never rows: a page says it."""


class Stage(StrEnum):
    """How far a batch has come at the receiver."""

    ACCEPTED = "accepted"  # 受理: segments, index, mark and this receipt are durable
    APPLIED = "applied"  # 入库: rows and apply mark are durable
    REFUSED = "refused"  # provable, but not acceptable; `reason` says why
    HELD = "held"  # equivocation or rollback: `reason` says which; empty once a person released the stream
    OVERDUE = "overdue"  # 逾期: accepted, and neither applied nor refused within the receiver's own time


def topic_of(stage: Stage) -> str:
    """The topic in which receipts of a stage travel."""
    return NOTICES if stage in {Stage.OVERDUE, Stage.HELD} else RECEIPTS


class Step(StrEnum):
    """Where on the line a receipt places a batch: its stage, read with who says it."""

    SUBMITTED = "submitted"  # 报送: the origin node's own exchange zone took it from production
    RELAYED = "relayed"  # 转送: a tier between accepted it, and serves it on
    ACCEPTED = "accepted"  # 受理: the top of the line accepted it
    APPLIED = "applied"
    REFUSED = "refused"
    HELD = "held"
    OVERDUE = "overdue"


@dataclass(frozen=True, slots=True)
class Receipt:
    """One receiver's word on one batch; `rows` and `digest` are of what it stored.

    `incarnation` is the header's, so that the origin can tell a head it never sealed from one
    of a store it lost; empty from receivers of 0.1 and at stages that do not need it.
    """

    receiver: Endpoint
    stream: StreamId
    seq: int
    head: str
    stage: Stage
    rows: int
    digest: str
    reason: str
    at: str
    incarnation: str = ""

    def step(self, *, is_top: bool) -> Step:
        """The stage in its place; `is_top` says that the receiver has nobody above."""
        if self.stage is not Stage.ACCEPTED:
            return Step(self.stage)
        if self.receiver.node == self.stream.origin.node:
            return Step.SUBMITTED
        return Step.ACCEPTED if is_top else Step.RELAYED


RECEIPT_COLUMNS = (
    "receiver",
    "stream",
    "seq",
    "head",
    "stage",
    "rows",
    "digest",
    "reason",
    "at",
    "incarnation",
)
"""Columns of a segment of receipts, in the order of its canonical digest."""

RECEIPT_KEY = ("receiver", "stream", "seq", "stage")
"""What tells receipts apart: one receiver says each stage of a batch once."""


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A manifest somebody has not answered: when it was sealed, and when they accepted it, empty if not yet."""

    seq: int
    head: str
    made_at: str
    accepted_at: str
