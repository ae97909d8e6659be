"""Questions about evidence: what became of each submission in time, and one record's evidence as a file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field

from jinbao.appliance.evidence import Wanted, assemble
from jinbao.appliance.questions.registry import Answer, Arguments, Asked, Body, Reasoned, question
from jinbao.flow.deadlines import later
from jinbao.journal.index import Missing
from jinbao.model.audit import Role
from jinbao.model.batch import Kind
from jinbao.model.receipt import Receipt, Stage
from jinbao.model.stream import LINE, StreamId
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint
from jinbao.trust.encoding import decode_header
from jinbao.trust.envelope import seal_bytes
from jinbao.trust.evidence import seal_evidence
from jinbao.trust.evidence_proof import verify_evidence


class Submissions(Arguments):
    """The newest submissions of a library, or of all; with `late`, only what did not come in time."""

    library: str = ""
    limit: int = Field(10, gt=0)
    late: bool = False


class OfRecord(Reasoned):
    """A record; `partial` leaves out receipts sealed by a release whose receipts prove nothing alone."""

    library: str
    key: str
    table: str = ""
    origin: str = ""
    seq: int = Field(0, ge=0)
    partial: bool = False


@question("evidence.list", arguments=Submissions)
def listing(asked: Asked, arguments: Submissions) -> Body:
    """What was said of each submission and when, what is awaited until when, and what did not come in time."""
    zone = asked.zone
    missing = zone.index.missing(answered=True)
    lines: list[dict[str, Any]] = []
    for mark in zone.index.streams():
        stream = mark.stream
        if stream.topic not in zone.standards or stream.audience != LINE:
            continue
        if arguments.library in {"", stream.topic}:
            closed = [seq for seq, kind, _ in zone.index.places(stream) if kind is Kind.MANIFEST]
            for seq in reversed(closed[-arguments.limit :]):
                lines += _said(asked, stream, seq, [m for m in missing if (m.stream, m.seq) == (stream, seq)])
    late = {"overdue", "missing"}
    return {
        "zone": str(zone.me),
        "lines": [line for line in lines if not arguments.late or line["step"] in late],
    }


def _said(asked: Asked, stream: StreamId, seq: int, missing: list[Missing]) -> Iterator[dict[str, Any]]:
    """One line per thing said of a submission, or awaited of a tier that speaks through this zone."""
    zone = asked.zone
    sealed = zone.index.batch(stream, seq)
    assert sealed is not None  # a place of this zone's journal
    made_at = decode_header(sealed.payload).made_at
    place = f"{stream}#{seq}"
    yield _line(place, "sealed", stream.origin, at=made_at)
    receipts = zone.index.receipts(stream, seq)
    for receipt in sorted(receipts, key=lambda r: (r.at, r.receiver, r.stage)):
        step = receipt.step(is_top=not zone.topology.above(receipt.receiver))
        yield _line(place, str(step), receipt.receiver, at=receipt.at, why=receipt.reason)
    noted = {(m.receiver, m.stage): m for m in missing}
    for receiver in _speaking(zone.topology, zone.me, stream):
        for stage, within_s in (
            (Stage.ACCEPTED, zone.settings.evidence.accept_within_s),
            (Stage.APPLIED, zone.settings.evidence.apply_within_s),
        ):
            found = noted.get((receiver, stage))
            if found is not None:
                why = f"{stage}, came {found.answered_at}" if found.answered_at else str(stage)
                yield _line(place, "missing", receiver, at=found.at, due_at=found.due_at, why=why)
            elif not _is_answered(receipts, receiver, stage):
                yield _line(place, "awaited", receiver, due_at=later(made_at, within_s), why=str(stage))


def _line(
    submission: str, step: str, by: Endpoint, *, at: str = "", due_at: str = "", why: str = ""
) -> dict[str, Any]:
    return {"submission": submission, "step": step, "by": str(by), "at": at, "due_at": due_at, "why": why}


def _speaking(topology: Topology, me: Endpoint, stream: StreamId) -> list[Endpoint]:
    """Tiers above the origin whose receipts come by this zone: all, at the origin; elsewhere itself and those above."""
    above = topology.above(stream.origin)
    own = me.node == stream.origin.node
    return [receiver for receiver in above if own or topology.in_subtree(me, receiver)]


def _is_answered(receipts: list[Receipt], receiver: Endpoint, stage: Stage) -> bool:
    answers = {Stage.ACCEPTED} if stage is Stage.ACCEPTED else {Stage.APPLIED, Stage.REFUSED}
    return any(r.receiver == receiver and r.stage in answers for r in receipts)


@question("evidence.export", kind="act", arguments=OfRecord, role=Role.SECURITY, person="key")
def export(asked: Asked, arguments: OfRecord) -> Answer:
    """One record with all that proves what became of it, as a file this zone seals; for an authorised caller."""
    zone = asked.zone
    wanted = Wanted(arguments.library, arguments.key, arguments.table, arguments.origin, arguments.seq)
    evidence = assemble(zone, wanted, partial=arguments.partial)
    content = seal_evidence(evidence, lambda kind, payload: seal_bytes(kind, payload, zone.identity))
    # What would not convince a stranger is not handed out.
    verdict = verify_evidence(content, zone.trust.book().roots, require_crl=False)
    with tempfile.NamedTemporaryFile(dir=zone.shelf.incoming, suffix=".evidence", delete=False) as file:
        file.write(content)
    words = [
        {"step": str(w.step), "receiver": str(w.receiver), "seq": w.seq, "at": w.at} for w in verdict.words
    ]
    body = {
        "zone": str(zone.me),
        "origin": str(verdict.origin),
        "table": f"{verdict.evidence.subject.library}.{verdict.evidence.subject.table}",
        "seq": verdict.seq,
        "sealed_at": verdict.sealed_at,
        "words": words,
        "unproved": list(verdict.unproved),
        "bytes": len(content),
    }
    return Answer(body, Path(file.name))
