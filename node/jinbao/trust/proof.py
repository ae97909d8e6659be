"""Proof of a contradiction: two sealed batches of one origin, judged by whoever can prove a seal.

Anybody who holds the topology and the authorities can judge it again, without the journal it
came from. What an origin said of its newest batch is covered by no seal: of a rollback the two
headers prove the order, and the zone that was told is the witness (clauses 2.5 and 2.6).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from jinbao.model.batch import Header, SealedBatch
from jinbao.model.errors import UnprovableError
from jinbao.model.stream import RECEIPTS
from jinbao.trust.envelope import head_of


class Ground(StrEnum):
    """Why two sealed batches cannot both be the stream's."""

    TWO_HEADS = "two_heads"  # one place, two payloads
    TWO_PASTS = "two_pasts"  # the later one names another predecessor than the earlier
    EARLIER = "earlier"  # shown as the newest, though the held one came after it
    RECEIPT = "receipt"  # a receiver signed that it was shown another


def judge(held: SealedBatch, shown: SealedBatch, prove: Callable[[SealedBatch], Header]) -> Ground:
    """Why `shown` contradicts `held`; `prove` checks seal and signer of each.

    Raises UnprovableError or IdentityError if a seal does not hold, or if both may stand in one stream.
    """
    ours, other = prove(held), prove(shown)
    if other.stream.topic == RECEIPTS and ours.stream != other.stream:
        return Ground.RECEIPT
    same = (ours.stream, ours.incarnation, ours.epoch) == (other.stream, other.incarnation, other.epoch)
    if same and ours.seq == other.seq and head_of(held) != head_of(shown):
        return Ground.TWO_HEADS
    if same and other.seq == ours.seq + 1 and other.previous != head_of(held):
        return Ground.TWO_PASTS
    if same and other.seq < ours.seq:
        return Ground.EARLIER
    raise UnprovableError(
        f"proof against {ours.stream.origin}",
        expected="two batches that exclude each other",
        got=f"{ours.stream}#{ours.seq} and {other.stream}#{other.seq}",
    )
