"""The repository of a node's backups: a directory with a place for each zone, where files are named by their content.

    jinbao-backups.json                   whose it is
    exchange/backups/<name>.json          one sealed manifest a backup, the last thing written of it
    exchange/segments/ab/<sha256>.parquet acts, what acts name, and lists of both, shared by all backups

A manifest is written once and names whole lists, so that each backup stands alone: any other may be
taken away. Zones share nothing: each is another account's. Removes nothing that a backup may name, believes no
manifest that is not proved.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl
from cryptography import x509

from jinbao.journal.segments import SegmentShelf, hash_of
from jinbao.model.acts import envelope_json, envelope_of
from jinbao.model.batch import JournalCut, SealedBatch, SegmentRef
from jinbao.model.errors import CorruptionError, JinbaoError, LocalError, UsageError
from jinbao.model.stream import JOURNAL, OBJECT_TABLE, StreamId
from jinbao.model.zone import Endpoint, Zone
from jinbao.standby.manifests import FORMAT, LISTINGS_MAX, Listing, Manifest, open_manifest
from jinbao.standby.rebuilding import Copy
from jinbao.store.files import Files, seal

MARKER = "jinbao-backups.json"
"""Name of the file that says whose backups a directory holds."""

MANIFEST_BYTES_MAX = 1 << 18
"""Some KiB, and four certificates."""

_SUFFIX = ".json"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LIST = {
    "part": pl.Int64(),
    "table": pl.String(),
    "sha256": pl.String(),
    "bytes": pl.Int64(),
    "rows": pl.Int64(),
    "lsn": pl.Int64(),
    "hash": pl.String(),
}


@dataclass(frozen=True, slots=True)
class Part:
    """Acts that were copied at once: their segment, then the segments that they were the first to name.

    Counts from 1 in each backup; its newest act is `lsn`, where the chain's hash is `hash`.
    """

    seq: int
    lsn: int
    hash: str
    segments: tuple[SegmentRef, ...]

    @property
    def header(self) -> Part:
        """As a batch that names the same would have it; see `rebuilding.Copy`."""
        return self

    @property
    def cut(self) -> JournalCut:
        """How far its acts go."""
        return JournalCut(self.lsn, self.hash, "")

    @property
    def acts(self) -> SegmentRef:
        """The segment of its acts."""
        return self.segments[0]


class Backups:
    """Backups of one zone: manifests by name, and the shelf of what they name. `now` is told when it is asked."""

    def __init__(self, directory: Path, zone: Endpoint, files: Files, now: Callable[[], datetime]) -> None:
        self.directory, self.zone = directory, zone
        self.manifests, self._draft = directory / "backups", directory / "draft"
        self._files, self._now = files, now
        files.make_directory(directory)
        files.make_directory(self.manifests)
        self.shelf = SegmentShelf(directory / "segments", files)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only one who writes here; raises LocalError where somebody does. What a killed one was writing goes."""
        descriptor = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                raise LocalError(
                    f"backups at {self.directory}",
                    expected="nobody else who makes one",
                    got="one under way",
                    next_step="try again when it is done",
                ) from exc
            self.shelf.sweep()
            for left in self.manifests.glob("*.tmp"):
                self._files.remove(left)
            self._take_back()
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def drafting(self) -> Iterator[None]:
        """While a backup is made: its own files are on record before they are there, and go if it comes to nothing."""
        self._draft.write_text(json.dumps(self.names()) + "\n", encoding="utf-8")
        try:
            yield
        except Exception:
            self._take_back()
            raise
        self._take_back()

    def add(self, temporary: Path) -> tuple[str, int]:
        """Put a file that is made here, acts or a list, on the shelf while drafting; its hash and bytes."""
        sha256, _ = hash_of(temporary)
        if not self.shelf.has(sha256):
            with self._draft.open("a", encoding="utf-8") as file:
                file.write(f"{sha256}\n")
                file.flush()
                os.fsync(file.fileno())
        return self.shelf.add(temporary)

    def _take_back(self) -> None:
        """Remove what was made for a backup that has no manifest; nothing where any manifest came since."""
        if not self._draft.is_file():
            return
        before, *made = self._draft.read_text(encoding="utf-8").splitlines() or [""]
        if before == json.dumps(self.names()):
            for sha256 in filter(_SHA256.fullmatch, made):  # the last may be half a line
                self.shelf.remove(sha256)
        self._files.remove(self._draft)

    def names(self) -> list[str]:
        """Names of all backups, by their newest act; nothing of them is read."""
        found = (path.stem for path in self.manifests.glob(f"*{_SUFFIX}"))
        return sorted(found, key=lambda name: (name.rpartition("-")[2], name))

    def path(self, name: str) -> Path:
        """Where the manifest of a backup lies."""
        return self.manifests / f"{name}{_SUFFIX}"

    def read(self, name: str, anchors: Sequence[x509.Certificate] | None) -> Manifest:
        """The manifest of a backup, proved by `anchors`, or by its own certificate alone where none are given.

        Raises CorruptionError for a file that is not what was written under this name, UnprovableError or
        IdentityError for one that another wrote.
        """
        path, thing = self.path(name), f"backup {name} of {self.zone}"
        with path.open("rb") as file:
            raw = file.read(MANIFEST_BYTES_MAX + 1)
        try:
            sealed = envelope_of(json.loads(raw))
        except (ValueError, KeyError, TypeError, RecursionError) as exc:
            raise CorruptionError(thing, expected="a sealed manifest", got="another file") from exc
        if manifest_text(sealed) != raw:  # base64 has many spellings of the same bytes
            raise CorruptionError(thing, expected="the bytes that were written", got="others")
        manifest = open_manifest(sealed, anchors, self._now())
        if (manifest.zone, manifest.name) != (self.zone, name):
            got = f"backup {manifest.name} of {manifest.zone}"
            raise CorruptionError(thing, expected="its own manifest", got=got, kind="swapped")
        return manifest

    def keep(self, sealed: SealedBatch, anchors: Sequence[x509.Certificate]) -> Manifest:
        """Prove a manifest and write it, durable on return; everything it names is durable before.

        Raises UnprovableError or IdentityError, and writes nothing, where nobody could prove it later.
        """
        manifest = open_manifest(sealed, anchors, self._now())
        assert manifest.zone == self.zone, "a zone seals its own backups"
        path = self.path(manifest.name)
        temporary = path.with_suffix(".tmp")
        temporary.touch(mode=0o600)
        temporary.write_bytes(manifest_text(sealed))
        seal(self._files, temporary, path)
        return manifest

    def list_parts(self, parts: Sequence[Part], base: Sequence[Listing]) -> tuple[Listing, ...]:
        """Write a list of parts that follow those of `base`; all lists of the backup, put together where they are many."""
        if len(base) >= LISTINGS_MAX:
            return (self._listing([*self.listed(base), *parts]),)
        return (*base, self._listing(parts))

    def _listing(self, parts: Sequence[Part]) -> Listing:
        rows = [(p.seq, r.table, r.sha256, r.bytes, r.rows, p.lsn, p.hash) for p in parts for r in p.segments]
        frame, temporary = pl.DataFrame(rows, schema=_LIST, orient="row"), self.shelf.temporary("list.tmp")
        frame.write_parquet(temporary, compression="zstd", compression_level=1, statistics=False)
        sha256, size = self.add(temporary)
        return Listing(sha256, size, frame.height, int(frame["bytes"].sum()))

    def listed(self, listings: Iterable[Listing]) -> Iterator[Part]:
        """The parts of some lists, in order; raises CorruptionError for a list that is not what was written."""
        for listing in listings:
            damage = self.shelf.examine(listing.sha256, listing.bytes)
            if damage is not None:
                raise CorruptionError(damage.thing, expected="a list of a backup", got=damage.detail)
            for rows in self.shelf.read(listing.sha256).partition_by("part", maintain_order=True):
                refs = tuple(SegmentRef(*row[1:5]) for row in rows.iter_rows())
                yield Part(rows["part"][0], rows["lsn"][0], rows["hash"][0], refs)

    def parts(self, manifest: Manifest) -> Parts:
        """The parts of a proved backup, read anew by whoever goes through them; raises CorruptionError for a bad list."""
        return Parts(lambda: self.listed(manifest.listings))

    def copy(self, manifest: Manifest) -> Copy:
        """A proved backup as what a zone is built from."""
        stream = StreamId(self.zone, JOURNAL, self.zone.node)
        return Copy(stream, self.parts(manifest), self.shelf, manifest.acts)

    def lacking(self, manifest: Manifest) -> list[SegmentRef]:
        """Files of a backup that are not there, or not of their size; their bytes are not read."""
        refs = (ref for part in self.parts(manifest) for ref in part.segments)
        return [ref for ref in refs if self.shelf.size(ref.sha256) != ref.bytes]

    def choose(self, at: str, anchors: Sequence[x509.Certificate]) -> Manifest:
        """The backup of a name, the newest one of a moment or before it, or the newest of all where nothing is said.

        Raises UsageError if there is none, and as `read` does.
        """
        names = self.names()
        if at in names:
            return self.read(at, anchors)
        until = _moment(at, names) if at else None
        for name in reversed(names):
            found = self.read(name, anchors)
            if until is None or datetime.fromisoformat(found.at) <= until:
                return found
        raise UsageError(
            f"backups of {self.zone}",
            expected=f"one at {at} or before" if at else "one at least",
            got=f"the first one, {names[0]}" if names else "none",
            next_step="jinbao backup list",
        )


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a backup, in order."""

    read: Callable[[], Iterator[Part]]

    def __iter__(self) -> Iterator[Part]:
        return self.read()


class Repository:
    """A directory of backups of one node. `id` tells it from the node's others."""

    def __init__(self, directory: Path, files: Files, now: Callable[[], datetime]) -> None:
        """Open what is there; raises UsageError where no repository is."""
        self.directory, self._files, self._now = directory, files, now
        try:
            body = json.loads((directory / MARKER).read_text(encoding="utf-8"))
            self.node, self.id, number = str(body["node"]), str(body["id"]), int(body["format"])
        except (OSError, ValueError, KeyError, TypeError) as exc:
            got = exc.strerror if isinstance(exc, OSError) else "another file"
            raise UsageError(
                f"directory {directory}", expected=f"a repository of backups, with {MARKER}", got=got
            ) from exc
        if number != FORMAT:
            raise UsageError(f"repository {directory}", expected=f"format {FORMAT}", got=number)

    @classmethod
    def begun(cls, directory: Path, node: str, files: Files, now: Callable[[], datetime]) -> Repository:
        """The repository of a node, made in an empty directory where there is none.

        Raises LocalError for a directory with anything else in it, or of another node; nothing is then changed.
        """
        marker = directory / MARKER
        if not marker.is_file():
            if directory.is_dir() and any(p.suffix != ".tmp" for p in directory.iterdir()):
                raise LocalError(
                    f"directory {directory}",
                    expected="an empty one, or a repository of backups",
                    got=f"{min(p.name for p in directory.iterdir())} and perhaps more",
                    next_step="name another directory: nothing is ever written over",
                )
            files.make_directory(directory)
            said = {"format": FORMAT, "id": secrets.token_hex(8), "node": node}
            marker.with_suffix(".tmp").write_text(json.dumps(said) + "\n", encoding="utf-8")
            seal(files, marker.with_suffix(".tmp"), marker)
        found = cls(directory, files, now)
        if found.node != node:
            raise LocalError(
                f"repository {directory}",
                expected=f"backups of node {node}",
                got=f"those of {found.node}",
                next_step="name another directory: each node has its own",
            )
        return found

    def zones(self) -> list[Endpoint]:
        """Zones that have a place here."""
        return [Endpoint(self.node, zone) for zone in Zone if (self.directory / zone).is_dir()]

    def begin(self, zone: Endpoint) -> Backups:
        """The backups of a zone, its place made where there is none."""
        return Backups(self.directory / zone.zone, zone, self._files, self._now)

    def of(self, zone: Endpoint) -> Backups:
        """The backups of a zone that has a place here; raises UsageError for another."""
        if zone not in self.zones():
            have = ", ".join(map(str, self.zones())) or "none"
            raise UsageError("zone", expected=f"one that has backups here: {have}", got=zone)
        return self.begin(zone)


def manifest_text(sealed: SealedBatch) -> bytes:
    """A sealed manifest as its file has it."""
    return json.dumps(envelope_json(sealed), indent=1).encode() + b"\n"


def _moment(text: str, names: Sequence[str]) -> datetime:
    """A moment with its zone; raises UsageError for any other text."""
    with suppress(ValueError):
        found = datetime.fromisoformat(text)
        if found.tzinfo is not None:
            return found
    newest = names[-1] if names else "none is here"
    raise UsageError(
        "backup", expected=f"a backup's name ({newest}), or a moment as 2024-11-05T00:10:00Z", got=text[:60]
    )


def damage_kind(exc: JinbaoError) -> str:
    """How a manifest that `Backups.read` refused is called."""
    if isinstance(exc, CorruptionError):
        return str(exc.values.get("kind", "altered"))
    return "unprovable"


def object_ref(sha256: str, size: int) -> SegmentRef:
    """A segment that acts name."""
    return SegmentRef(OBJECT_TABLE, sha256, size, 0)
