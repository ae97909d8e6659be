"""Batches 批次, segments 段, headers and seals 签封.

A batch is a header and the segments it names. `SealedBatch` is what travels:
bytes nobody has believed yet. Only `trust.verify` makes a `VerifiedBatch`, and
only `accept` takes one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from jinbao.model.stream import Mark, StreamId

_NO_TOTALS: Mapping[str, int] = MappingProxyType({})


class Kind(StrEnum):
    """What a batch does to the tables of its topic."""

    SNAPSHOT = "snapshot"  # the origin's rows of the named tables are replaced by these
    CHANGE = "change"  # rows carry op: U upserts, D deletes
    AMENDMENT = "amendment"  # a change to a period that was closed before
    MANIFEST = "manifest"  # closes a submission; carries control totals, no segment
    VOID = "void"  # withdraws an open submission; nothing of it is applied


@dataclass(frozen=True, slots=True)
class SegmentRef:
    """One Parquet file, named by its content.

    `sha256` in hex; `bytes` and `rows` are checked after the fetch. `digest` is the
    canonical digest of the segment's rows; `totals` are sums of the table's control
    columns, as scaled integers. `disclosure` is the class of readers it is for.
    """

    table: str
    sha256: str
    bytes: int
    rows: int
    digest: str = ""
    totals: Mapping[str, int] = field(default_factory=lambda: _NO_TOTALS)
    disclosure: str = "record"


@dataclass(frozen=True, slots=True)
class TableTotals:
    """Control totals of one table of the origin after a submission is applied.

    `rows` and `digest` are of all rows the origin's library then holds, so that
    every tier can prove completeness from what it stored, not from what it received.
    """

    table: str
    rows: int
    digest: str
    totals: Mapping[str, int] = field(default_factory=lambda: _NO_TOTALS)


@dataclass(frozen=True, slots=True)
class Manifest:
    """Closes the batches `first_seq` … the header's own seq - 1 as one submission 报送."""

    first_seq: int
    tables: tuple[TableTotals, ...]
    quarantined: int = 0


@dataclass(frozen=True, slots=True)
class JournalCut:
    """How far a zone's acts go with a batch of them: its newest act `lsn`, with the chain's `hash` there.

    `at` is when that act was recorded, `captured_at` when the zone's newest capture was (empty for none).
    `missing` counts segments that building the zone again needs of this batch's acts, and that it no longer had.
    """

    lsn: int
    hash: str
    at: str
    captured_at: str = ""
    missing: int = 0


@dataclass(frozen=True, slots=True)
class Header:
    """What the origin signs of a batch. Order of fields is the wire's.

    `previous` is the payload hash of the header before it in the stream, empty for the
    first; `continues` is set on the first header of a new incarnation or epoch and
    names the mark it goes on from. `made_at` is UTC, RFC 3339, for people only:
    order is `seq`, never a clock. `standard` is `library@version`. `cut` is of batches of acts alone.
    """

    stream: StreamId
    seq: int
    incarnation: str
    epoch: int
    previous: str
    kind: Kind
    made_at: str
    run: str = ""
    slice_index: int = 0
    slices: int = 1
    period: str = ""
    standard: str = ""
    replaces: tuple[int, ...] = ()
    segments: tuple[SegmentRef, ...] = ()
    manifest: Manifest | None = None
    continues: Mark | None = None
    cut: JournalCut | None = None


@dataclass(frozen=True, slots=True)
class SealedBatch:
    """A DSSE-style envelope as it travels; nothing in it is believed yet.

    `payload` is the encoded header, verbatim. `suite` names hash and signature.
    `certificates` is the signer's chain, leaf first, DER.
    """

    suite: str
    payload_type: str
    payload: bytes
    signature: bytes
    certificates: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Shortfall(SealedBatch):
    """The nearest batch a peer holds to a mark it was asked to continue and cannot (clause 2.4).

    `mark` is that mark. The peer itself says so, at this call; no seal covers it.
    """

    mark: Mark


@dataclass(frozen=True, slots=True)
class VerifiedBatch:
    """A header whose seal, signer and place in its stream were proved.

    Made by `trust` alone; a test holds that. `head` is the SHA-256 of the payload.
    """

    sealed: SealedBatch
    header: Header
    head: str

    @property
    def mark(self) -> Mark:
        """The mark a receiver holds once this batch is accepted."""
        h = self.header
        return Mark(h.stream, h.incarnation, h.epoch, h.seq, self.head)
