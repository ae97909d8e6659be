"""Acts: every durable change of a zone, as one journal entry each (invariant 13).

Flow decides on acts and records them; rooms project them into their tables. An act's
body is plain JSON and names bulk rows by the hash of the segment that holds them, so
that a journal and its segments are all it takes to build the zone again.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from jinbao.model import audit
from jinbao.model.batch import Kind, SealedBatch, TableTotals, VerifiedBatch
from jinbao.model.receipt import Receipt, Stage
from jinbao.model.stream import Mark, StreamId
from jinbao.model.trust import TrustDocument
from jinbao.model.zone import Endpoint


class Bulk(Protocol):
    """Bulk rows of an act that are judged while they are written; a replayed act has none, its segments are enough."""

    def rows(self, table: str) -> Iterator[Any]:  # Polars frames, which the model does not know
        """The rows of a table's segments, one frame a segment, in their order; what it raises takes all back."""
        ...

    def settle(self) -> None:
        """The last word in the transaction: what it raises takes all back."""
        ...


@dataclass(frozen=True, slots=True)
class Act:
    """One durable change: `kind` names it, `body` is JSON and all there is of it once it is recorded."""

    kind: str
    body: Mapping[str, Any]
    bulk: Bulk | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Entry:
    """An act as its journal holds it: `body` is the text that was hashed, `hash` the chain's up to here."""

    lsn: int
    kind: str
    body: str
    at: str
    hash: str


def _bytes(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def envelope_json(sealed: SealedBatch) -> dict[str, Any]:
    """A sealed batch as JSON; `envelope_of` reads it back byte for byte."""
    return {
        "suite": sealed.suite,
        "payload_type": sealed.payload_type,
        "payload": _bytes(sealed.payload),
        "signature": _bytes(sealed.signature),
        "certificates": [_bytes(c) for c in sealed.certificates],
    }


def envelope_of(body: Mapping[str, Any]) -> SealedBatch:
    """Read what `envelope_json` wrote."""
    return SealedBatch(
        body["suite"],
        body["payload_type"],
        base64.b64decode(body["payload"]),
        base64.b64decode(body["signature"]),
        tuple(base64.b64decode(c) for c in body["certificates"]),
    )


def receipt_json(receipt: Receipt) -> dict[str, Any]:
    """A receipt as JSON, endpoints and streams in their text forms."""
    return asdict(receipt) | {
        "receiver": str(receipt.receiver),
        "stream": str(receipt.stream),
        "stage": str(receipt.stage),
    }


def created(endpoint: Endpoint, incarnation: str, epoch: int = 1) -> Act:
    """A store came into being and chose its incarnation; `epoch` is that of the identity it was created with."""
    later = {"epoch": epoch} if epoch > 1 else {}
    return Act("created", {"endpoint": str(endpoint), "incarnation": incarnation} | later)


def healed(
    epoch: int, streams: Sequence[Mark], asked: Sequence[Endpoint], without: Sequence[Endpoint]
) -> Act:
    """The holder of a new epoch took back what the one before had sent: `streams` are its own, each with what came.

    `asked` are the neighbours that gave back all they had, `without` those that were given up.
    """
    return Act(
        "healed",
        {
            "epoch": epoch,
            "streams": [{"stream": str(m.stream), "seq": m.seq, "head": m.head} for m in streams],
            "asked": [str(endpoint) for endpoint in asked],
            "without": [str(endpoint) for endpoint in without],
        },
    )


def sealed(batch: SealedBatch, *, receipts: Sequence[int] = ()) -> Act:
    """This zone sealed a batch of its own; `receipts` are the due receipts it carries away."""
    return Act("sealed", {"envelope": envelope_json(batch), "receipts": list(receipts)})


def accepted(batch: VerifiedBatch, peer: Endpoint) -> Act:
    """受理: a peer's batch is verified and its segments are durable here."""
    return Act("accepted", {"envelope": envelope_json(batch.sealed), "peer": str(peer)})


@dataclass(frozen=True, slots=True)
class SealedReport:
    """Signature over a text in a suite, with the signer's chain, leaf first, DER."""

    suite: str
    signature: bytes
    certificates: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SegmentUse:
    """One segment of a submission, in the order it is applied."""

    seq: int
    kind: Kind
    table: str
    sha256: str
    rows: int
    bytes: int = 0


def applied(
    *,
    stream: StreamId,
    first: int,
    seq: int,
    head: str,
    library: str,
    standard: str,
    period: str,
    segments: Sequence[SegmentUse],
    tables: Sequence[TableTotals],
) -> Act:
    """入库: the submission `first` … `seq` became this zone's library rows of that origin."""
    return Act(
        "applied",
        {
            "stream": str(stream),
            "first": first,
            "seq": seq,
            "head": head,
            "library": library,
            "standard": standard,
            "period": period,
            "segments": [asdict(s) | {"kind": str(s.kind)} for s in segments],
            "tables": [asdict(t) | {"totals": dict(t.totals)} for t in tables],
        },
    )


def refused(stream: StreamId, first: int, seq: int, head: str, reason: str) -> Act:
    """A provable submission was not acceptable; it is kept, its rows are not applied."""
    return Act("refused", {"stream": str(stream), "first": first, "seq": seq, "head": head, "reason": reason})


def skipped(stream: StreamId, seq: int, head: str) -> Act:
    """A batch that has nothing to apply here passed by: the apply mark moves over it."""
    return Act("skipped", {"stream": str(stream), "seq": seq, "head": head})


def held(stream: StreamId, seq: int, code: str, reason: str, evidence: Sequence[SealedBatch]) -> Act:
    """An unprovable batch stopped its stream; the sealed bytes are kept as proof."""
    return Act(
        "held",
        {
            "stream": str(stream),
            "seq": seq,
            "code": code,
            "reason": reason,
            "evidence": [envelope_json(e) for e in evidence],
        },
    )


def released(stream: StreamId, reason: str) -> Act:
    """A person let a held stream go on, and said why."""
    return Act("released", {"stream": str(stream), "reason": reason})


def rebased(stream: StreamId, incarnation: str, epoch: int, seq: int, head: str, reason: str) -> Act:
    """An operator set the receiver's mark, because the origin was created anew."""
    return Act(
        "rebased",
        {
            "stream": str(stream),
            "incarnation": incarnation,
            "epoch": epoch,
            "seq": seq,
            "head": head,
            "reason": reason,
        },
    )


def followed(
    *, stream: StreamId, seq: int, head: str, lsn: int, digest: str, at: str, captured_at: str, missing: int
) -> Act:
    """A protected zone's journal is here, whole and chained, up to act `lsn`, which was recorded `at`.

    `digest` is the chain's hash there, `captured_at` when its newest capture was recorded, and `missing`
    how many segments that a rebuild opens are not here.
    """
    return Act(
        "followed",
        {
            "stream": str(stream),
            "seq": seq,
            "head": head,
            "lsn": lsn,
            "hash": digest,
            "at": at,
            "captured_at": captured_at,
            "missing": missing,
        },
    )


def witnessed(
    *, stream: StreamId, seq: int, head: str, cuts: Sequence[tuple[str, int, str]], went_back: Sequence[str]
) -> Act:
    """A backup site said up to where it has each journal: the stream of acts, seq and head of its newest batch.

    `went_back` names the streams of which it has less than it said before, or another batch at the same place.
    """
    return Act(
        "witnessed",
        {
            "stream": str(stream),
            "seq": seq,
            "head": head,
            "cuts": [list(cut) for cut in cuts],
            "went_back": list(went_back),
        },
    )


def drilled(
    *, node: str, milliseconds: int, restored_to: str, wrong: int, report: str, signed: SealedReport
) -> Act:
    """A protected node was built again from its copy for a drill; `report` is what came of it, as it was signed."""
    return Act(
        "drilled",
        {
            "node": node,
            "milliseconds": milliseconds,
            "restored_to": restored_to,
            "wrong": wrong,
            "report": report,
            "suite": signed.suite,
            "signature": _bytes(signed.signature),
            "certificates": [_bytes(c) for c in signed.certificates],
        },
    )


def trust_learned(documents: Sequence[TrustDocument], peer: str) -> Act:
    """Proved trust documents came; `peer` is who brought them, empty for an operator of this zone."""
    rows = [asdict(d) | {"kind": str(d.kind), "body": _bytes(d.body)} for d in documents]
    return Act("trust_learned", {"documents": rows, "peer": peer})


def receipt_due(receipt: Receipt) -> Act:
    """This zone owes the origin a receipt; the next receipts batch carries it."""
    return Act("receipt_due", receipt_json(receipt))


def missing(stream: StreamId, seq: int, head: str, receiver: Endpoint, stage: Stage, due_at: str) -> Act:
    """A receipt that should have come by `due_at` has not: the origin's own word, until it comes."""
    return Act(
        "missing",
        {
            "stream": str(stream),
            "seq": seq,
            "head": head,
            "receiver": str(receiver),
            "stage": str(stage),
            "due_at": due_at,
        },
    )


def receipts_kept(stream: StreamId, seq: int, head: str, sha256: Sequence[str]) -> Act:
    """Receipts of others about streams that pass here were filed."""
    return Act("receipts_kept", {"stream": str(stream), "seq": seq, "head": head, "sha256": list(sha256)})


@dataclass(frozen=True, slots=True)
class CapturedTable:
    """One business table after a capture run: where its rows lie, and what the run found.

    `current` is the segment of all its rows as they were after run `since`; `changes` are the
    segments of what followed, oldest first, each with its run. `checked` is the day up to which the
    content of rows captured by token was compared, empty where content always is.
    """

    source: str
    table: str
    current: str
    rows: int
    upserts: int
    deletes: int
    findings: tuple[str, ...] = ()
    since: int = 0
    changes: tuple[tuple[int, str], ...] = ()
    checked: str = ""

    @property
    def segments(self) -> tuple[str, ...]:
        """All segments its rows lie in."""
        return (self.current, *(sha256 for _, sha256 in self.changes))


def capture_asked(run: int) -> Act:
    """An operator or the calendar asked for capture run `run`; it is owed until it is finished."""
    return Act("capture_asked", {"run": run})


def captured(run: str, tables: Sequence[CapturedTable]) -> Act:
    """A capture run under one source snapshot ended."""
    return Act("captured", {"run": run, "tables": [asdict(t) for t in tables]})


@dataclass(frozen=True, slots=True)
class ConvertedTable:
    """One standard table as last sealed: the segment of all its passed rows."""

    table: str
    sha256: str
    rows: int
    digest: str
    source_rows: int
    quarantined: int


def converted(
    *,
    library: str,
    standard: str,
    period: str,
    run: str,
    verdict: str,
    tables: Sequence[ConvertedTable],
    quarantine: str,
    findings: str,
    way: str = "",
) -> Act:
    """A library was converted and judged; `quarantine` and `findings` name segments, or are empty.

    `way` is a word for what decides how rows are judged beside their content; where it is another, all are judged anew.
    """
    return Act(
        "converted",
        {
            "library": library,
            "standard": standard,
            "period": period,
            "run": run,
            "verdict": verdict,
            "tables": [asdict(t) for t in tables],
            "quarantine": quarantine,
            "findings": findings,
            "way": way,
        },
    )


def packaged(
    *,
    stream: StreamId,
    seq: int,
    head: str,
    library: str,
    standard: str,
    origin: str,
    origin_seq: int,
    period: str,
    segments: Sequence[SegmentUse],
) -> Act:
    """A decision zone took in one published package."""
    return Act(
        "packaged",
        {
            "stream": str(stream),
            "seq": seq,
            "head": head,
            "library": library,
            "standard": standard,
            "origin": origin,
            "origin_seq": origin_seq,
            "period": period,
            "segments": [asdict(s) | {"kind": str(s.kind)} for s in segments],
        },
    )


def paused(peer: Endpoint, reason: str) -> Act:
    """An operator stopped following a peer."""
    return Act("paused", {"peer": str(peer), "reason": reason})


def resumed(peer: Endpoint) -> Act:
    """An operator let following a peer go on."""
    return Act("resumed", {"peer": str(peer)})


def audited(entry: audit.Entry) -> Act:
    """An entry of the audit trail: somebody asked for something, was refused, or had an outcome."""
    return Act("audited", entry.body())


def audit_cut(number: int, digest: str) -> Act:
    """Entries up to `number`, the last of which had this hash, are cut away; a sealed head says so too."""
    return Act("audit_cut", {"number": number, "hash": digest})
