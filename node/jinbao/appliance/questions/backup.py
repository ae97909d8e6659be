"""Questions of a backup to a directory: whose it is, the zone's acts page by page, its seal, and its own memory of it."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import BaseModel, ConfigDict, Field

from jinbao.appliance.assembly import OpenZone, rfc3339
from jinbao.appliance.questions.registry import Answer, Arguments, Asked, Body, question
from jinbao.audit.lookup import Wanted, lines
from jinbao.flow.following import on_shelf, to_frame
from jinbao.model.acts import Entry, envelope_json
from jinbao.model.audit import Outcome, Role
from jinbao.model.errors import LocalError, UsageError
from jinbao.standby.manifests import LISTINGS_MAX, Listing, Manifest, decode, encode, name_of, seal_manifest
from jinbao.store.files import telling_full_disk

ACTS_MAX = 5_000
ACTS_BYTES_MAX = 16 << 20
"""What one page holds: read, written and hashed in a fraction of a second, and some MiB of memory."""

NEWEST_MAX = 200
"""Backups that are looked through for the newest of one repository: a year of weeks for three of them."""

_HASH = Field(pattern="^([0-9a-f]{64})?$")
_COUNT = Field(ge=0, lt=1 << 63)
_NAME = Field(max_length=80)


class OneRepository(Arguments):
    """A repository of backups, by its id."""

    repository: str = _NAME


@question("backup.zone", arguments=OneRepository)
def zone_of(asked: Asked, arguments: OneRepository) -> Body:
    """Where the zone's segments lie, the roots that prove its backups, and the newest it made into a repository."""
    zone = asked.zone
    roots = [root.public_bytes(Encoding.PEM).decode("ascii") for root in zone.trust.book().roots]
    newest: dict[str, str] = {}
    for line in lines(zone.store, Wanted(action="backup.made", outcome=Outcome.DONE), NEWEST_MAX):
        said = json.loads(line["arguments"])
        if said["repository"] == arguments.repository:
            newest = {"name": said["name"], "at": line["at"]}
            break
    return {"zone": str(zone.me), "shelf": str(zone.shelf.root), "anchors": "".join(roots), "newest": newest}


class AfterAct(Arguments):
    """An act by its place, and the chain's hash there; 0 and empty for the beginning."""

    after: int = _COUNT
    hash: str = _HASH


@question("backup.acts", kind="act", role=Role.SYSTEM, arguments=AfterAct)
def acts_after(asked: Asked, arguments: AfterAct) -> Answer:
    """The acts after one, some thousands at most, as a segment; and those segments they name that are on the shelf."""
    zone = asked.zone
    _require_own(zone)
    if arguments.after:
        _entry_at(zone, arguments.after, arguments.hash)
    with zone.shelving:
        found = zone.ledger.entries(arguments.after, ACTS_MAX, ACTS_BYTES_MAX)
        segments = _on_shelf(zone, found)
    newest = zone.index.overview().acts
    descriptor, name = tempfile.mkstemp(prefix="backup-", suffix=".tmp", dir=zone.shelf.incoming)
    os.close(descriptor)
    with telling_full_disk(f"acts of {zone.me} to be copied"):
        to_frame(found).write_parquet(name, compression="zstd", compression_level=1, statistics=False)
    return Answer({"zone": str(zone.me), "newest": newest, "segments": segments}, Path(name))


def _require_own(zone: OpenZone) -> None:
    """A backup site's shelf is full of others' copies, which come again from them; raises UsageError for one."""
    row = zone.topology.row(zone.me.node)
    if row is not None and row.protects:
        raise UsageError(
            f"backup of {zone.me}",
            expected="a zone of a node that protects no other",
            got=f"the backup site of {', '.join(row.protects)}",
            next_step="after a loss it is created anew, and follows them from their first act",
        )


def _on_shelf(zone: OpenZone, found: list[Entry]) -> list[tuple[str, int]]:
    """Hash and bytes of every segment the acts name and the shelf has, once each, in order."""
    refs = (ref for entry in found for ref in on_shelf(entry, zone.shelf.size))
    return list({ref.sha256: ref.bytes for ref in refs}.items())


def _entry_at(zone: OpenZone, lsn: int, digest: str) -> Entry:
    """The act at a place, if the chain has that hash there; raises LocalError."""
    found = next(iter(zone.ledger.entries(lsn - 1, 1, 1)), None)
    if found is None or found.hash != digest:
        got = "a journal that ends before it" if found is None else f"{found.hash[:12]}"
        raise LocalError(
            f"journal of {zone.me}",
            expected=f"act {lsn} with hash {digest[:12]}, as it was backed up",
            got=got,
            next_step="a zone that was created anew or put back to an older state needs a repository of its own",
        )
    return found


class ListingArgument(BaseModel):
    """One list of a backup; see `manifests.Listing`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: str = _HASH
    bytes: int = _COUNT
    segments: int = _COUNT
    segment_bytes: int = _COUNT


class Drafted(Arguments):
    """A backup whose files are all in a repository; see `manifests.Manifest`."""

    repository: str = _NAME
    acts: int = _COUNT
    hash: str = _HASH
    captured_at: str = Field(max_length=40)
    listings: tuple[ListingArgument, ...] = Field(max_length=LISTINGS_MAX)
    new_acts: int = _COUNT
    new_segments: int = _COUNT
    new_bytes: int = _COUNT


@question("backup.seal", kind="act", role=Role.SYSTEM, arguments=Drafted)
def seal(asked: Asked, arguments: Drafted) -> Body:
    """Seal the manifest of a backup, if it ends with an act of this zone's journal."""
    zone = asked.zone
    entry, now = _entry_at(zone, arguments.acts, arguments.hash), zone.ports.now()
    manifest = Manifest(
        zone=zone.me,
        incarnation=zone.index.incarnation(),
        name=name_of(now, entry.lsn),
        made_at=rfc3339(now),
        acts=entry.lsn,
        hash=entry.hash,
        at=entry.at,
        captured_at=arguments.captured_at,
        listings=tuple(Listing(**listing.model_dump()) for listing in arguments.listings),
        new_acts=arguments.new_acts,
        new_segments=arguments.new_segments,
        new_bytes=arguments.new_bytes,
    )
    sealed = seal_manifest(decode(encode(manifest)), zone.identity)
    return {"zone": str(zone.me), "name": manifest.name, "envelope": envelope_json(sealed)}


class OneMade(Arguments):
    """A backup that is whole: its repository, name, newest act, and the chain's hash there."""

    repository: str = _NAME
    name: str = _NAME
    acts: int = _COUNT
    hash: str = _HASH


@question("backup.made", kind="act", role=Role.SYSTEM, arguments=OneMade)
def made(asked: Asked, arguments: OneMade) -> Body:
    """Remember, in the audit trail, that a backup is whole: a repository put back to an older state is then found."""
    zone = asked.zone
    _entry_at(zone, arguments.acts, arguments.hash)
    zone.observer.event("backup_made", backup=arguments.name, acts=arguments.acts)
    found: dict[str, Any] = {"zone": str(zone.me), "name": arguments.name, "acts": arguments.acts}
    return found
