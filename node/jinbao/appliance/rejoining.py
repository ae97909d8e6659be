"""Rejoining: what an old node does once another holds its identity: keeps its tails for review, and makes its place free.

All zones are opened first, and stay locked until all is done: nothing is recorded between a zone's file and its
directory's new name. Every step is durable before the next; made again after any end, it goes on. Deletes nothing, and
enrols nobody.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from jinbao.appliance.assembly import OpenZone, open_zone
from jinbao.appliance.database.urls import database_url, setting_of, shown
from jinbao.appliance.diverging import REJOIN, body_of, ended
from jinbao.appliance.questions import Asked, dispatch
from jinbao.appliance.set_aside import Note, aside_path, asides, read_note, require_free, set_aside
from jinbao.appliance.settings import Settings
from jinbao.appliance.trust_keeper import document_of
from jinbao.appliance.zone_lock import Purpose
from jinbao.authority.identity_files import load_identity
from jinbao.authority.private_files import sync_directory, write_private
from jinbao.model.audit import Caller
from jinbao.model.errors import LocalError, UsageError
from jinbao.model.failpoint import declare, hit
from jinbao.model.zone import Zone
from jinbao.standby.opening import open_own
from jinbao.trust.encoding import decode_envelope
from jinbao.trust.grants import decode_grant

FILES = declare(
    "diverge.before_aside", "every zone's divergence file is there, all directories have their names"
)
ASIDE = declare("diverge.after_aside", "a directory is set aside, perhaps others are not")

CARRIER = "carrier"
"""Packages between the zones of this node: sealed by the old holder, and nobody's now."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One zone: what is in its file, where its directory is now, and a database that must be dropped by hand."""

    body: Mapping[str, Any]
    file: str
    directory: str
    database: str


def rejoin(settings: Settings, keep: Path, *, reason: str, caller: Caller, grant: bytes = b"") -> list[Kept]:
    """Keep the tail of every zone of a superseded node in a directory, and set the zones' directories aside.

    `grant` is an envelope, for zones that nobody could tell. Raises LockedError for a zone that runs, LocalError for
    one that holds its identity or is none, and what writing a file raises; then no directory has been touched.
    """
    _require_apart(settings, keep)
    keep.mkdir(mode=0o700, parents=True, exist_ok=True)
    here = [zone for zone in settings.zones if (settings.directory(Zone(zone)) / "identity").is_dir()]
    done = [_set_aside_before(settings, Zone(zone), keep) for zone in settings.zones if zone not in here]
    with ExitStack() as locks:
        with ExitStack() as opened:
            zones = {Zone(zone): _opened(settings, Zone(zone), opened, locks) for zone in here}
            proof = grant or _newest_proof(settings.node, zones, keep)
            _tell(zones, proof)
            if proof:  # the zone that knew it may be the first that is set aside
                write_private(keep / _grant_name(settings.node), proof)
            ask = partial(_ask, keep=keep, reason=reason, caller=caller, grant=proof)
            bodies = {name: ask(zone) for name, zone in zones.items()}
            notes = {name: _note(settings, zone, bodies[name]) for name, zone in zones.items()}
        for name in notes:
            require_free(settings.directory(name), bodies[name]["epoch"])
        hit(FILES)
        for name, note in notes.items():
            aside = set_aside(settings.directory(name), bodies[name]["epoch"], note)
            hit(ASIDE)
            body = {key: value for key, value in bodies[name].items() if key != "file"}
            done.append(Kept(body, note.file, str(aside), note.database))
    _set_carrier_aside(settings, max((kept.body["epoch"] for kept in done), default=1))
    return sorted(done, key=lambda kept: str(kept.body["zone"]))


def _require_apart(settings: Settings, keep: Path) -> None:
    """What is kept must not move with what is set aside."""
    moved = [settings.directory(Zone(zone)) for zone in settings.zones] + [settings.data_directory / CARRIER]
    if any(keep.absolute().is_relative_to(directory.absolute()) for directory in moved):
        raise UsageError("--keep", expected="a directory outside the zones' own", got=str(keep))


def _opened(settings: Settings, zone: Zone, opened: ExitStack, locks: ExitStack) -> OpenZone:
    """A stopped zone, to be closed with the others, and its lock to be let go of later."""
    found = open_zone(settings, zone, purpose=Purpose.QUESTION)
    locks.callback(found.unlock)
    found.unlock = lambda: None
    opened.callback(found.close)
    return found


def _newest_proof(node: str, zones: Mapping[Zone, OpenZone], keep: Path) -> bytes:
    """The newest grant of the node any of its zones recorded, or an earlier run kept; nothing believes it yet.

    Not every zone has a neighbour that could tell it.
    """
    proofs = [proof for opened in zones.values() if (proof := opened.trust.proof(node))]
    file = keep / _grant_name(node)
    proofs += [file.read_bytes()] if file.is_file() else []
    return max(proofs, key=lambda body: decode_grant(decode_envelope(body).payload).epoch, default=b"")


def _tell(zones: Mapping[Zone, OpenZone], proof: bytes) -> None:
    """Let every zone prove the grant before anything is written for one; each learns what the others know to do it.

    Raises as `ended` does.
    """
    known = {body for zone in zones.values() for body in zone.trust.book().documents}
    for zone in zones.values():
        if proof and zone.trust.proof(zone.me.node) != proof:
            zone.trust.learn([document_of(body) for body in (*sorted(known), proof)], "rejoin")
        ended(zone, proof)


def _grant_name(node: str) -> str:
    return f"{node}.grant"


def _ask(opened: OpenZone, *, keep: Path, reason: str, caller: Caller, grant: bytes) -> dict[str, Any]:
    arguments = {"keep": str(keep.absolute()), "reason": reason, "grant": b64encode(grant).decode("ascii")}
    return dispatch(Asked(opened, caller=caller), REJOIN, arguments).body


def _note(settings: Settings, opened: OpenZone, body: Mapping[str, Any]) -> Note:
    lsn, digest = opened.index.newest_act()
    return Note(lsn, digest, body["granted_epoch"], body["file"], _left(settings, opened.me.zone))


def _left(settings: Settings, zone: Zone) -> str:
    """The zone's database without its password, where it is not in the zone's directory and stays what it was."""
    url = database_url(settings.database(zone), setting_of(zone))
    inside = url.get_backend_name() == "sqlite" and Path(str(url.database)).absolute().is_relative_to(
        settings.directory(zone).absolute()
    )
    return "" if inside else shown(url)


def _set_aside_before(settings: Settings, zone: Zone, keep: Path) -> Kept:
    """What an earlier run did with a zone; raises LocalError where none did, or its file is not in `keep`, whole."""
    found = asides(settings.directory(zone))
    if not found:
        raise LocalError(
            f"zone {settings.endpoint(zone)}",
            expected=f"a zone at {settings.directory(zone)}, or one that was set aside",
            got="neither",
            next_step="check data_directory, or run as the account that owns the zones",
        )
    note, file = read_note(found[-1]), keep / f"{settings.node}-{zone}.divergence"
    if not file.is_file():
        raise LocalError(
            f"file {file}",
            expected=f"the divergence of {settings.node}/{zone}, which was set aside",
            got="none",
            next_step=f"name the directory it was written to: {Path(note.file).parent}",
        )
    said = open_own(file, load_identity(found[-1] / "identity").certificates).said
    return Kept(body_of(said), str(file), str(found[-1]), note.database)


def _set_carrier_aside(settings: Settings, epoch: int) -> None:
    directory = settings.data_directory / CARRIER
    target = aside_path(directory, epoch)
    if directory.is_dir() and not target.exists():
        directory.rename(target)
        sync_directory(settings.data_directory)
