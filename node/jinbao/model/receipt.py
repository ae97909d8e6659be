"""Receipts 回执: what a receiver says, signed, about a batch it was sent.

Stages are those of the main line; a receipt names exactly one. Receipts travel as
batches of the topic `receipts`, so their seal is the seal of the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from jinbao.model.stream import StreamId
from jinbao.model.zone import Endpoint


class Stage(StrEnum):
    """How far a batch has come at the receiver."""

    ACCEPTED = "accepted"  # 受理: segments, index, mark and this receipt are durable
    APPLIED = "applied"  # 入库: rows and apply mark are durable
    REFUSED = "refused"  # provable, but not acceptable; `reason` says why
    HELD = "held"  # equivocation or rollback: `reason` says which; empty once a person released the stream


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
