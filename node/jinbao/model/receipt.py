"""Receipts 回执: what a receiver says, signed, about a batch it was sent.

Stages are those of the main line; a receipt names exactly one. Receipts travel as
batches of the topic `receipts`, so their seal is the seal of the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from jinbao.model.stream import StreamId
from jinbao.model.zone import Endpoint

REASON_CHARACTERS_MAX = 4000
"""A refusal names tables, rules and numbers, never rows: a page says it."""


class Stage(StrEnum):
    """How far a batch has come at the receiver."""

    ACCEPTED = "accepted"  # 受理: segments, index, mark and this receipt are durable
    APPLIED = "applied"  # 入库: rows and apply mark are durable
    REFUSED = "refused"  # provable, but not acceptable; `reason` says why


@dataclass(frozen=True, slots=True)
class Receipt:
    """One receiver's word on one batch; `rows` and `digest` are of what it stored."""

    receiver: Endpoint
    stream: StreamId
    seq: int
    head: str
    stage: Stage
    rows: int
    digest: str
    reason: str
    at: str
