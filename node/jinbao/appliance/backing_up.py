"""Backup of a zone to a directory while it runs, and the zone built again from there.

A backup is the zone's own acts and every segment that they name and its shelf has: what a backup site would
follow, and it is built again by the same code. Only what the repository has not is copied; segments never
change, so that copying them beside a zone that writes is safe. The manifest comes last: a backup is there
whole or not at all. Copies no private key, and asks the zone for its acts and its seal alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import polars as pl
from cryptography import x509

from jinbao.appliance.restoring import Place, Rebuilt, rebuild
from jinbao.appliance.settings import Settings
from jinbao.flow.following import needed, of_frame
from jinbao.journal.segments import require_space
from jinbao.model.acts import Entry, envelope_of
from jinbao.model.batch import SegmentRef
from jinbao.model.errors import CorruptionError, JinbaoError, SpaceError
from jinbao.model.failpoint import declare, hit
from jinbao.model.stream import ACTS_TABLE
from jinbao.standby.following import chained
from jinbao.standby.manifests import Listing, Manifest
from jinbao.standby.rebuilding import Copy, Tell
from jinbao.standby.repository import Backups, Part, Repository, object_ref
from jinbao.store.files import Files, telling_full_disk

COPIED = declare(
    "backup.after_segment", "some files of a backup are in its repository, no manifest names them"
)
SEAL_BEFORE = declare(
    "backup.before_manifest", "all files of a backup are in its repository, no manifest names them"
)
SEALED = declare("backup.after_manifest", "a backup is whole, the zone was not told")

ROUNDS_MAX = 3
"""A capture replaces what it compares with; one that ends while a backup is made is followed to its own acts."""

_BLOCK = 1 << 20


class Ask(Protocol):
    """Asks the zone a question; a file that comes with the answer is written to `output`."""

    def __call__(self, question: str, output: Path | None = None, **arguments: Any) -> dict[str, Any]:
        """The answer; raises what the question raises."""
        ...


@dataclass(frozen=True, slots=True)
class Made:
    """What came of it: the backup, what was new in it, seconds it took, and older ones passed over as damaged."""

    zone: str
    name: str
    at: str
    captured_at: str
    acts: int
    hash: str
    segments: int
    bytes: int
    new_acts: int
    new_segments: int
    new_bytes: int
    seconds: float
    passed_over: tuple[str, ...]


def create(ask: Ask, repository: Repository, backups: Backups, tell: Tell) -> Made:
    """Copy what the newest whole backup has not, and have it sealed.

    Raises LocalError for a zone that is not the one backed up here, SpaceError for a full disk, CorruptionError
    where the zone lacks a segment it is built from; no backup is then made, and the next call goes on.
    """
    began = time.monotonic()
    thing = f"repository {repository.directory}"
    with backups.locked(), backups.drafting(), telling_full_disk(thing, _FREE):
        zone = ask("backup.zone", repository=repository.id)
        anchors = x509.load_pem_x509_certificates(zone["anchors"].encode())
        passed_over: list[str] = []
        draft = _Draft(backups, _base(backups, anchors, passed_over), Path(zone["shelf"]))
        for _ in range(ROUNDS_MAX):
            _follow(ask, draft, tell)
            if not draft.lacking():
                break
        draft.require_whole()
        drafted = draft.body()
        hit(SEAL_BEFORE)
        said = ask("backup.seal", repository=repository.id, **drafted)
        made = backups.keep(envelope_of(said["envelope"]), anchors)
        hit(SEALED)
        ask("backup.made", repository=repository.id, name=made.name, acts=made.acts, hash=made.hash)
    shown = {name: getattr(made, name) for name in Made.__dataclass_fields__ if hasattr(made, name)}
    seconds = round(time.monotonic() - began, 2)
    return Made(**shown | {"zone": str(made.zone), "seconds": seconds, "passed_over": tuple(passed_over)})


_FREE = "free space there and give the command again: it goes on"


def _base(backups: Backups, anchors: Sequence[x509.Certificate], passed_over: list[str]) -> Manifest | None:
    """The newest backup that is proved and whose files are all there; None where none is."""
    for name in reversed(backups.names()):
        try:
            found = backups.read(name, anchors)
            if not backups.lacking(found):
                return found
        except JinbaoError as exc:
            passed_over.append(f"{name}: {exc}")
        else:
            passed_over.append(f"{name}: files are missing")
    return None


def _follow(ask: Ask, draft: _Draft, tell: Tell) -> None:
    """Take the zone's acts up to its newest, page by page, and what they name."""
    more, output = True, draft.backups.shelf.temporary("acts.tmp")
    while more:
        page = ask("backup.acts", output, after=draft.lsn, hash=draft.digest)
        draft.take(output, page["segments"])
        tell(draft.lsn, page["newest"])
        more = page["newest"] > draft.lsn


@dataclass
class _Draft:
    """A backup under way: what the base has, and what was taken since."""

    backups: Backups
    base: Manifest | None
    source: Path
    lsn: int = 0
    digest: str = ""
    captured_at: str = ""
    parts: list[Part] = field(default_factory=list)
    new: dict[str, int] = field(default_factory=dict)
    _listed: set[bytes] = field(default_factory=set)
    _numbered: int = 0
    _opened: dict[str, int] = field(default_factory=dict)
    _compared: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.base is None:
            return
        self.lsn, self.digest, self.captured_at = self.base.acts, self.base.hash, self.base.captured_at
        for part in self.backups.parts(self.base):
            self._numbered = part.seq
            self._listed |= {bytes.fromhex(ref.sha256) for ref in part.segments}

    def take(self, acts: Path, segments: Sequence[tuple[str, int]]) -> None:
        """Chain a page of acts and put it, and the segments it names, into the repository."""
        rows = pl.read_parquet(acts)
        if rows.is_empty():
            return
        for entry in of_frame(rows):
            self.lsn, self.digest = chained(self.lsn, self.digest, entry, self._numbered + 1)
            self._read(entry)
        refs = [object_ref(sha256, size) for sha256, size in segments]
        self._require_room(refs, acts)
        fresh = [ref for ref in refs if not self._has(ref.sha256)]
        brought = [ref for ref in fresh if self._bring(ref)]
        mine = SegmentRef(ACTS_TABLE, *self.backups.add(acts), rows.height)
        self._numbered += 1
        self.parts.append(Part(self._numbered, self.lsn, self.digest, (mine, *brought)))
        self._listed |= {bytes.fromhex(ref.sha256) for ref in brought}
        self.new |= {ref.sha256: ref.bytes for ref in (mine, *brought)}

    def _read(self, entry: Entry) -> None:
        body = json.loads(entry.body)
        self.captured_at = entry.at if entry.kind == "captured" else self.captured_at
        self._opened |= dict.fromkeys(needed(entry.kind, body), entry.lsn)
        self._compared |= dict(_compared(entry.kind, body))

    def _has(self, sha256: str) -> bool:
        return bytes.fromhex(sha256) in self._listed

    def _require_room(self, refs: Sequence[SegmentRef], acts: Path) -> None:
        shelf = self.backups.shelf
        coming = sum(ref.bytes for ref in refs if shelf.size(ref.sha256) != ref.bytes)
        free = Files().free_bytes(shelf.root)
        if free < coming + acts.stat().st_size:
            thing = f"repository of {self.backups.zone}"
            raise SpaceError(thing, expected=f"{coming} bytes free", got=f"{free}", next_step=_FREE)

    def _bring(self, ref: SegmentRef) -> bool:
        """Copy a segment unless it is here; whether it is. One that retention removed meanwhile is not."""
        shelf, source = self.backups.shelf, self.source / ref.sha256[:2] / f"{ref.sha256}.parquet"
        if shelf.size(ref.sha256) == ref.bytes:
            return True
        if shelf.has(ref.sha256):
            shelf.remove(ref.sha256)  # not whole: a killed create never leaves one, a disk may
        try:
            shelf.receive(ref, lambda offset: _blocks(source, offset))
        except FileNotFoundError:
            return False
        except CorruptionError as exc:
            raise CorruptionError(
                exc.thing, expected=exc.expected, got=exc.got, next_step="jinbao journal scrub"
            ) from exc
        hit(COPIED)
        return True

    def lacking(self) -> list[str]:
        """Segments that a rebuild opens, or that the zone's next run compares with, and that did not come."""
        wanted = [*self._opened, *(sha256 for run in self._compared.values() for sha256 in run)]
        return [sha256 for sha256 in wanted if not self._has(sha256)]

    def require_whole(self) -> None:
        """Raise CorruptionError where anything is lacking."""
        lacking = self.lacking()
        if lacking:
            raise CorruptionError(
                f"backup of {self.backups.zone}",
                expected="every segment that the zone is built from",
                got=f"{len(lacking)} that its shelf has not, the first {lacking[0]}",
                next_step="jinbao journal scrub, then again",
            )

    def body(self) -> Mapping[str, Any]:
        """What the zone is asked to seal; the list of what is new is durable then."""
        base: Sequence[Listing] = self.base.listings if self.base else ()
        listings = self.backups.list_parts(self.parts, base)
        self.new[listings[-1].sha256] = listings[-1].bytes
        return {
            "acts": self.lsn,
            "hash": self.digest,
            "captured_at": self.captured_at,
            "listings": [asdict(listing) for listing in listings],
            "new_acts": self.lsn - (self.base.acts if self.base else 0),
            "new_segments": len(self.new),
            "new_bytes": sum(self.new.values()),
        }


def _blocks(path: Path, offset: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(offset)
        while block := file.read(_BLOCK):
            yield block


def _compared(kind: str, body: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What the next run of a zone compares with, by the name under which a later act replaces it."""
    if kind == "captured":
        for table in body["tables"]:
            changes = (sha256 for _, sha256 in table.get("changes", ()))
            yield f"{table['source']}.{table['table']}", (table["current"], *changes)


def restore(backups: Backups, manifest: Manifest, settings: Settings, place: Place, tell: Tell) -> Rebuilt:
    """Build a zone from a proved backup in an empty place, as `restoring.rebuild` does.

    Raises CorruptionError for a backup that is not whole, SpaceError where it has no room, both before anything
    is written, and what a rebuild raises.
    """
    copy = backups.copy(manifest)
    again = f"jinbao backup verify {backups.directory.parent}"
    _require_whole(backups, manifest, copy, again)
    require_space(_existing(place.directory), settings.limits.disk_reserve_bytes, manifest.bytes)
    try:
        return rebuild(copy, settings, place, tell)
    except CorruptionError as exc:
        raise CorruptionError(exc.thing, expected=exc.expected, got=exc.got, next_step=again) from exc


def _require_whole(backups: Backups, manifest: Manifest, copy: Copy, again: str) -> None:
    """Every file is there with its size, and the acts chain up to the hash that was signed; bytes are hashed later."""
    thing, lacking = f"backup {manifest.name}", backups.lacking(manifest)
    if lacking:
        got = f"{len(lacking)} that are missing or of another size, the first {lacking[0].sha256}"
        raise CorruptionError(thing, expected=f"{manifest.segments} files", got=got, next_step=again)
    last = Entry(0, "", "", "", "")
    for last in copy.entries():  # noqa: B007  # the last one is what counts
        pass
    if (last.lsn, last.hash) != (manifest.acts, manifest.hash):
        raise CorruptionError(
            thing,
            expected=f"{manifest.acts} acts with hash {manifest.hash}",
            got=f"{last.lsn} with {last.hash}",
            next_step=again,
        )


def _existing(directory: Path) -> Path:
    """The directory, or the nearest above it that is there."""
    return next(path for path in (directory, *directory.parents) if path.is_dir())
