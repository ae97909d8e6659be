"""Questions about a held stream: what contradicts what, and the act that lets it go on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from jinbao.appliance.assembly import OpenZone
from jinbao.appliance.questions.registry import Arguments, Asked, Body, Reasoned, question
from jinbao.model import acts
from jinbao.model.acts import Act, envelope_json, envelope_of
from jinbao.model.audit import Role
from jinbao.model.batch import SealedBatch
from jinbao.model.errors import PeerError, UsageError
from jinbao.model.receipt import Stage
from jinbao.model.stream import StreamId
from jinbao.store.projection import Recorded
from jinbao.trust.encoding import decode_header
from jinbao.trust.envelope import head_of
from jinbao.trust.proof import judge

_SIDES = ("held", "shown")


class HeldStream(Arguments):
    """A stream that is or was held."""

    stream: str


class Release(Reasoned):
    """A held stream, and why it may go on."""

    stream: str
    reason: str


def parse_stream(text: str) -> StreamId:
    """The stream a person names; raises UsageError on anything else."""
    try:
        return StreamId.parse(text)
    except ValueError as exc:
        raise UsageError("stream", expected="node/zone/topic/audience", got=text) from exc


def last_hold(zone: OpenZone, stream: StreamId) -> Recorded | None:
    """The act that held a stream last, or None."""
    found = [a for a in zone.ledger.acts(kind="held", limit=100_000) if a.act.body["stream"] == str(stream)]
    return found[-1] if found else None


def take_back(zone: OpenZone, stream: StreamId) -> list[Act]:
    """Receipts that tell the origin that what this zone said of a hold is over (clause 2.7)."""
    said = [r for r in zone.index.receipts(stream) if r.receiver == zone.me and r.stage is Stage.HELD]
    return [acts.receipt_due(replace(r, reason="", at=zone.ports.now_text())) for r in said if r.reason]


@question("line.proof", arguments=HeldStream)
def proof(asked: Asked, arguments: HeldStream) -> Body:
    """Why a stream was held last, with the sealed batches kept as proof and what they prove together."""
    zone, stream = asked.zone, parse_stream(arguments.stream)
    hold = last_hold(zone, stream)
    if hold is None:
        raise UsageError(f"stream {stream}", expected="one that was held", got="one that never was")
    body = hold.act.body
    evidence = [envelope_of(kept) for kept in body["evidence"]]
    sides = _SIDES[-len(evidence) :] if evidence else ()
    return {
        "zone": str(zone.me),
        "stream": str(stream),
        "seq": body["seq"],
        "code": body["code"],
        "reason": body["reason"],
        "at": hold.at,
        "still_held": stream in zone.index.held(),
        "ground": _ground(zone, evidence),
        "heads": [_side(side, sealed) for side, sealed in zip(sides, evidence, strict=True)],
    }


def _ground(zone: OpenZone, evidence: list[SealedBatch]) -> str:
    """What two batches prove together; what keeps them from it; empty without two."""
    if len(evidence) != len(_SIDES):
        return ""
    held, shown = evidence
    try:
        return str(judge(held, shown, zone.verifier.prove))
    except PeerError as exc:
        return str(exc)


def _side(side: str, sealed: SealedBatch) -> dict[str, Any]:
    """One sealed batch for a person, and whole; evidence that is no header at all has no place."""
    shown: dict[str, Any] = {"side": side, "head": head_of(sealed), "sealed": envelope_json(sealed)}
    try:
        header = decode_header(sealed.payload)
    except PeerError:
        return shown | {"stream": "", "seq": 0, "epoch": 0, "incarnation": "", "previous": "", "made_at": ""}
    return shown | {
        "stream": str(header.stream),
        "seq": header.seq,
        "epoch": header.epoch,
        "incarnation": header.incarnation,
        "previous": header.previous,
        "made_at": header.made_at,
    }


@question("line.release", kind="act", changes=True, role=Role.SECURITY, arguments=Release)
def release(asked: Asked, arguments: Release) -> Body:
    """Let a held stream go on from where it stopped; the reason is recorded, and the origin is told."""
    zone, stream = asked.zone, parse_stream(arguments.stream)
    held = zone.index.held().get(stream)
    if held is None:
        waiting = ", ".join(map(str, zone.index.held())) or "none is held"
        raise UsageError("stream", expected=f"one that is held: {waiting}", got=str(stream))
    if not arguments.reason:
        raise UsageError("line release", expected="a reason", got="none", next_step="it is recorded")
    zone.ledger.record(acts.released(stream, arguments.reason), *take_back(zone, stream))
    if asked.running:
        asked.running.workers["apply"].wake()
    return {"zone": str(zone.me), "stream": str(stream), "seq": held[0], "code": held[1], "reason": held[2]}
