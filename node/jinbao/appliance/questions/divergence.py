"""Questions about a superseded zone's tail: the file of it, and whether the new holder has what it sealed."""

from __future__ import annotations

import secrets
from base64 import b64decode
from binascii import Error as Base64Error
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from jinbao.appliance.diverging import REJOIN, body_of, diverge, ended, kept
from jinbao.appliance.questions.proof import parse_stream
from jinbao.appliance.questions.registry import Answer, Arguments, Asked, Body, Reasoned, question
from jinbao.model.audit import Role
from jinbao.model.errors import UsageError
from jinbao.standby.opening import open_own
from jinbao.store.files import Files
from jinbao.trust.encoding import decode_header

PLACES_MAX = 500
"""Batches one question asks about: some tens of KiB."""

_GRANT = Field("", max_length=64 << 10)


class Granted(Reasoned):
    """The envelope of a grant in base64, for a zone that nobody could tell of it; and why."""

    grant: str = _GRANT


class Keeping(Granted):
    """A directory to write the zone's file into, beside what `Granted` has."""

    keep: str = Field(max_length=4096)


def _envelope(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except Base64Error as exc:
        raise UsageError("grant", expected="base64", got=str(exc)) from exc


@question("standby.diverged", kind="act", role=Role.SYSTEM, arguments=Granted)
def diverged(asked: Asked, arguments: Granted) -> Answer:
    """What this superseded zone recorded that its successor was not built from, as a file this zone seals."""
    zone = asked.zone
    end = ended(zone, _envelope(arguments.grant))
    path = zone.shelf.temporary(f"diverged-{secrets.token_hex(8)}")
    return Answer(body_of(diverge(zone, path, end, zone.ports.files)), path)


@question(REJOIN, kind="act", role=Role.SYSTEM, arguments=Keeping)
def rejoin(asked: Asked, arguments: Keeping) -> Body:
    """Of a stopped, superseded zone: write its file into a directory, unless it is there and whole."""
    zone = asked.zone
    if asked.running is not None:
        raise UsageError(
            f"zone {zone.me}",
            expected="a stopped zone",
            got="a running one",
            next_step=f"systemctl stop jinbao-{zone.me.zone}",
        )
    end = ended(zone, _envelope(arguments.grant))
    path = Path(arguments.keep) / f"{zone.me.node}-{zone.me.zone}.divergence"
    said = kept(zone, path, end)
    if said is None:
        diverge(zone, path, end, Files())
        said = open_own(path, zone.identity.certificates).said  # read back before anything is moved
    return body_of(said) | {"file": str(path)}


class BatchPlace(BaseModel):
    """A batch by its place and its head."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stream: str = Field(max_length=200)
    seq: int = Field(gt=0, lt=1 << 63)
    head: str = Field(pattern="^[0-9a-f]{64}$")


class Places(Arguments):
    """Batches that a tail holds."""

    batches: tuple[BatchPlace, ...] = Field(max_length=PLACES_MAX)


@question("standby.review", arguments=Places)
def review(asked: Asked, arguments: Places) -> Body:
    """Of each batch whether this zone has the same (`same`), another at its place (`other`), or none there (`none`)."""
    return {"zone": str(asked.zone.me), "batches": [_held(asked, place) for place in arguments.batches]}


def _held(asked: Asked, place: BatchPlace) -> dict[str, Any]:
    index, stream = asked.zone.index, parse_stream(place.stream)
    if index.batch(stream, place.seq, place.head) is not None:
        return {"here": "same", "here_epoch": 0, "here_made_at": ""}
    other = index.batch(stream, place.seq)
    if other is None:
        return {"here": "none", "here_epoch": 0, "here_made_at": ""}
    header = decode_header(other.payload)
    return {"here": "other", "here_epoch": header.epoch, "here_made_at": header.made_at}
