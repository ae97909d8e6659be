"""Questions and acts about the line: how far each stream is, pulling, pausing, re-basing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from jinbao.appliance.carrying import medium_folder, on_medium
from jinbao.appliance.questions.proof import last_hold, parse_stream, take_back
from jinbao.appliance.questions.registry import Arguments, Asked, Body, Reasoned, question
from jinbao.appliance.questions.status import NoArguments, _streams
from jinbao.model import acts
from jinbao.model.acts import envelope_of
from jinbao.model.audit import Role
from jinbao.model.errors import LinkError, UsageError
from jinbao.model.window import BYTES_PER_MBIT
from jinbao.model.zone import Border, Endpoint
from jinbao.trust.envelope import head_of

LANES = ("follow", "fetch", "carry")
"""Workers of one neighbour: what steers, bulk, and files."""


_MADE_ANEW = (
    "start the newest copy of the origin's zone or, where that is lost, make the zone anew; then jinbao line release "
    "here: a new store's first batch holds the stream once more, and jinbao line rebase goes on with it; "
    "docs/how-to/when-an-origin-contradicts-itself.md"
)
"""The way out of two pasts: what was sealed upon either cannot be laid onto the other, so neither goes on."""


class OnePeer(Arguments):
    """A neighbour, and why; an empty peer means all of them."""

    peer: str = ""
    reason: str = ""


class OnMedium(Arguments):
    """A neighbour, and a directory on a medium that is carried between us."""

    peer: str = ""
    directory: str


class OneStream(Arguments):
    """A held stream; without `apply` only the plan is told."""

    stream: str
    reason: str = ""
    apply: bool = False


@question("line.status", arguments=NoArguments)
def status(asked: Asked, _arguments: NoArguments) -> Body:
    """Streams with their marks, peers with their last contact, what is paused or held."""
    zone = asked.zone
    contacts = asked.running.contacts() if asked.running else {}
    peers: list[dict[str, Any]] = []
    paused = {str(peer): reason for peer, reason in zone.index.paused().items()}
    for neighbour in zone.topology.followed(zone.me):
        contact = contacts.get(str(neighbour))
        peers.append(
            {
                "peer": str(neighbour),
                "border": str(zone.topology.border(zone.me, neighbour)),
                "seconds_ago": contact.seconds_ago if contact else None,
                "accepted": contact.accepted if contact else 0,
                "paused": paused.get(str(neighbour), ""),
                "error": _error(asked, neighbour),
                "limits": _limits(asked, neighbour),
            }
        )
    return {"zone": str(zone.me), "peers": peers, "streams": _streams(asked)}


def _error(asked: Asked, neighbour: Endpoint) -> str:
    """Why the last round with a neighbour failed, of either lane; empty if none did."""
    workers = asked.running.workers if asked.running else {}
    lanes = [workers.get(f"{lane} {neighbour}") for lane in LANES]
    return next((str(worker.last_error) for worker in lanes if worker and worker.last_error), "")


def _limits(asked: Asked, neighbour: Endpoint) -> dict[str, dict[str, Any]]:
    """What limits bulk from (`in`) and to (`out`) a neighbour now, and the rate of the last seconds; without a zone none.

    `mbit_per_s` is None without a limit and 0 in a window that is closed for bulk.
    """
    shapers = {"in": asked.running.takes, "out": asked.running.gives} if asked.running else {}
    if asked.zone.topology.border(asked.zone.me, neighbour) is Border.CARRIER:
        return {}
    found = {direction: shaper.limit(neighbour) for direction, shaper in shapers.items()}
    return {
        direction: {
            "window": limit.allowed.window,
            "until": limit.allowed.until.isoformat().replace("+00:00", "Z") if limit.allowed.until else "",
            "mbit_per_s": _mbit(limit.allowed.bytes_per_s),
            "rate_mbit_per_s": _mbit(limit.rate),
        }
        for direction, limit in found.items()
    }


def _mbit(bytes_per_s: float) -> float | None:
    return None if math.isinf(bytes_per_s) else round(bytes_per_s / BYTES_PER_MBIT, 3)


def _peers(asked: Asked, text: str) -> list[Endpoint]:
    neighbours = list(asked.zone.topology.followed(asked.zone.me))
    if not text:
        return neighbours
    chosen = [peer for peer in neighbours if text in (str(peer), peer.node)]
    if not chosen:
        raise UsageError("peer", expected=" or ".join(map(str, neighbours)), got=text)
    return chosen


@question("line.pull", kind="act", changes=True, role=Role.SYSTEM, arguments=OnePeer)
def pull(asked: Asked, arguments: OnePeer) -> Body:
    """Ask the neighbours for news now instead of at the next round."""
    if asked.running is None:
        raise LinkError(
            f"zone {asked.zone.me}", expected="a running zone", got="a stopped one", next_step="jinbao serve"
        )
    for peer in _peers(asked, arguments.peer):
        for name in (f"{lane} {peer}" for lane in LANES):
            if name in asked.running.workers:
                asked.running.workers[name].wake()
    return {"zone": str(asked.zone.me), "pulled": [str(p) for p in _peers(asked, arguments.peer)]}


@question("line.pause", kind="act", role=Role.SYSTEM, arguments=OnePeer)
def pause(asked: Asked, arguments: OnePeer) -> Body:
    """Stop following neighbours; recorded with its reason."""
    chosen = _peers(asked, arguments.peer)
    asked.zone.ledger.record(*(acts.paused(peer, arguments.reason or "by an operator") for peer in chosen))
    return {"zone": str(asked.zone.me), "paused": [str(p) for p in chosen]}


@question("line.resume", kind="act", changes=True, role=Role.SYSTEM, arguments=OnePeer)
def resume(asked: Asked, arguments: OnePeer) -> Body:
    """Follow neighbours again."""
    chosen = _peers(asked, arguments.peer)
    asked.zone.ledger.record(*(acts.resumed(peer) for peer in chosen))
    return {"zone": str(asked.zone.me), "resumed": [str(p) for p in chosen]}


@question("line.proceed", kind="act", changes=True, role=Role.SECURITY, arguments=Reasoned)
def proceed(asked: Asked, arguments: Reasoned) -> Body:
    """Let a zone that was put back from a copy go on without the word it waits for; the reason is in the trail."""
    zone = asked.zone
    awaited = zone.restored.awaited
    if awaited is None:
        raise UsageError(
            f"zone {zone.me}",
            expected="one that was put back and waits for a word",
            got="one that waits for none",
        )
    if not arguments.reason:
        raise UsageError("line proceed", expected="--reason", got="none", next_step="say why; it is recorded")
    zone.restored.end()
    if asked.running:
        for worker in asked.running.workers.values():
            worker.wake()
    return {"zone": str(zone.me), "not_waited_for": str(awaited)}


@question("line.export", kind="act", role=Role.SYSTEM, arguments=OnMedium)
def export(asked: Asked, arguments: OnMedium) -> Body:
    """Lay what a neighbour has not got onto a medium, beside our signed marks."""
    other, medium = _carried(asked, arguments)
    on_medium(asked.zone, other, medium).lay()
    folder = medium_folder(medium, asked.zone.me, other)
    return {"zone": str(asked.zone.me), "peer": str(other), "folder": str(folder)} | _laid(folder)


def _laid(folder: Path) -> dict[str, int]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    packages = sum(path.is_dir() for path in folder.glob("p-*"))
    return {"packages": packages, "bytes": sum(path.stat().st_size for path in files)}


@question("line.import", kind="act", changes=True, role=Role.SYSTEM, arguments=OnMedium)
def import_(asked: Asked, arguments: OnMedium) -> Body:
    """Accept what a neighbour laid onto a medium, and lay down our marks for its next export."""
    other, medium = _carried(asked, arguments)
    carrying = on_medium(asked.zone, other, medium)
    accepted = 0
    while taken := carrying.take():
        accepted += taken
    carrying.lay()
    if asked.running:
        asked.running.workers["apply"].wake()
    held = {str(s): why for s, (_, _, why) in asked.zone.index.held().items()}
    return {"zone": str(asked.zone.me), "peer": str(other), "accepted": accepted, "held": held}


def _carried(asked: Asked, arguments: OnMedium) -> tuple[Endpoint, Path]:
    chosen = _peers(asked, arguments.peer)
    if len(chosen) != 1:
        raise UsageError(
            "peer", expected="one of " + ", ".join(map(str, chosen)), got=arguments.peer or "none"
        )
    medium = Path(arguments.directory)
    if not medium.is_absolute() or not medium.is_dir():
        raise UsageError(
            "medium",
            expected="the full path of a directory this zone's account can write to",
            got=arguments.directory,
        )
    return chosen[0], medium


@question("line.rebase", kind="act", changes=True, role=Role.SYSTEM, arguments=OneStream)
def rebase(asked: Asked, arguments: OneStream) -> Body:
    """Where a held stream of a re-created origin would go on, what is given up; with `apply`, do it."""
    zone, stream = asked.zone, parse_stream(arguments.stream)
    hold = last_hold(zone, stream)
    if stream not in zone.index.held() or hold is None or not hold.act.body["evidence"]:
        raise UsageError(
            f"stream {stream}",
            expected="one that is held with evidence",
            got="one that is not",
            next_step="jinbao status at the tier below: a new store's batches come here once that tier went on with them",
        )
    sealed = envelope_of(hold.act.body["evidence"][-1])
    header = zone.verifier.prove(sealed)  # the seal and the signer must hold; only its place is waived
    mark = zone.index.mark(stream)
    if header.stream != stream or zone.index.place(stream, header.incarnation, header.seq) is not None:
        raise UsageError(
            f"stream {stream}",
            expected="a batch to go on with that is held at no place here",
            got="a contradiction of one that is",
            next_step=_MADE_ANEW,
        )
    plan = {
        "stream": str(stream),
        "held_because": hold.act.body["reason"],
        "mark_now": {
            "incarnation": mark.incarnation,
            "epoch": mark.epoch,
            "seq": mark.seq,
            "head": mark.head,
        },
        "mark_then": {
            "incarnation": header.incarnation,
            "epoch": header.epoch,
            "seq": header.seq - 1,
            "head": header.previous,
        },
        "goes_on_with": {"seq": header.seq, "head": head_of(sealed), "kind": str(header.kind)},
    }
    if not arguments.apply:
        return {"zone": str(zone.me), "plan": plan, "applied": False}
    if not arguments.reason:
        raise UsageError("line rebase", expected="--reason", got="none", next_step="say why; it is recorded")
    zone.ledger.record(
        acts.rebased(
            stream, header.incarnation, header.epoch, header.seq - 1, header.previous, arguments.reason
        ),
        *take_back(zone, stream),
    )
    return {"zone": str(zone.me), "plan": plan, "applied": True}
