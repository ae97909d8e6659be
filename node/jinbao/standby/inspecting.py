"""Backups looked at as if nothing were believed: every manifest proved, every file hashed, every act chained.

Names what is missing, unreadable, truncated, altered, swapped, unprovable or stray; removes and mends nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from cryptography import x509

from jinbao.flow.following import needed, of_frame
from jinbao.journal.segments import Damage
from jinbao.model.errors import CorruptionError, JinbaoError, UnprovableError
from jinbao.standby.following import chained
from jinbao.standby.manifests import Manifest
from jinbao.standby.repository import Backups, Part, damage_kind

Tell = Callable[[int, int], None]
"""Told what is done, and how much there is in all."""

STRAY = "stray"


@dataclass
class Inspection:
    """What was looked at, and what is wrong. What no backup names is a stray: it harms none."""

    zone: str
    backups: int = 0
    segments: int = 0
    bytes: int = 0
    damage: list[Damage] = field(default_factory=list)
    strays: list[Damage] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest backup that a zone says it made into a repository; empty for none."""

    name: str
    at: str


def inspect(
    backups: Backups, anchors: Sequence[x509.Certificate], chosen: str, newest: Newest | None, tell: Tell
) -> Inspection:
    """Look at one backup, or at all of them and whatever lies beside; `newest` is what their zone says, None if unasked.

    One backup that is chosen may lie in a copy of the repository, such as a tape: nothing newer is looked for.

    Raises UsageError for a backup that is not there.
    """
    found = Inspection(str(backups.zone))
    manifests = [backups.choose(chosen, anchors)] if chosen else list(_manifests(backups, anchors, found))
    found.backups = len(manifests)
    objects = _objects(backups, manifests)
    bad = _examine(backups, objects, found, tell)
    walked: list[_Walk] = []
    for manifest in sorted(manifests, key=lambda m: -m.acts):
        if not any(listing.sha256 in bad for listing in manifest.listings):
            _check_chain(backups, manifest, bad, walked, found)
    if not chosen:
        _look_for(backups, newest, found)
        _look_beside(backups, objects, found)
    return found


def _look_for(backups: Backups, newest: Newest | None, found: Inspection) -> None:
    """The newest backup that the zone made is here, or the repository is an older state of itself."""
    names = backups.names()
    if newest is not None and newest.name and newest.name not in names:
        detail = f"its zone made it at {newest.at}; got {names[-1] if names else 'none'} as the newest"
        found.damage.append(Damage(f"backup {newest.name}", "missing", detail))


def _manifests(
    backups: Backups, anchors: Sequence[x509.Certificate], found: Inspection
) -> Iterator[Manifest]:
    for name in backups.names():
        try:
            yield backups.read(name, anchors)
        except JinbaoError as exc:
            found.damage.append(Damage(f"backup {name}", damage_kind(exc), str(exc)))


def _objects(backups: Backups, manifests: Sequence[Manifest]) -> dict[str, int]:
    """Bytes of every file the backups name, lists and all, by hash."""
    objects: dict[str, int] = {}
    for manifest in manifests:
        for listing in manifest.listings:
            if listing.sha256 in objects:
                continue
            objects[listing.sha256] = listing.bytes
            try:
                parts = list(backups.listed([listing]))
            except CorruptionError:
                continue  # named when it is examined, as every file is
            objects |= {ref.sha256: ref.bytes for part in parts for ref in part.segments}
    return objects


def _examine(backups: Backups, objects: dict[str, int], found: Inspection, tell: Tell) -> set[str]:
    """Hash every file; those that are not what they were."""
    bad: set[str] = set()
    for done, (sha256, size) in enumerate(sorted(objects.items())):
        tell(done, len(objects))
        damage = backups.shelf.examine(sha256, size)
        found.segments, found.bytes = found.segments + 1, found.bytes + size
        if damage is not None:
            bad.add(sha256)
            found.damage.append(damage)
    return bad


@dataclass(frozen=True, slots=True)
class _Walk:
    """A chain that was walked: the acts' segment, newest act and hash of every part, in order."""

    acts: list[str]
    ends: list[tuple[int, str]]

    def end_of(self, acts: Sequence[str]) -> tuple[int, str] | None:
        """Where a chain of these parts ends, if this one begins with all of them."""
        return self.ends[len(acts) - 1] if acts and self.acts[: len(acts)] == acts else None


def _check_chain(
    backups: Backups, manifest: Manifest, bad: set[str], walked: list[_Walk], found: Inspection
) -> None:
    """Hold the acts against their hash chain, and what a rebuild opens against the lists; once for backups in a row."""
    parts = list(backups.parts(manifest))
    acts = [part.acts.sha256 for part in parts]
    if bad & set(acts):
        return  # the file is named; nothing can be chained beyond it
    ends = [end for walk in walked if (end := walk.end_of(acts)) is not None]
    thing = f"backup {manifest.name}"
    if not ends:
        try:
            walk = _walk(backups, parts, acts)
        except (UnprovableError, CorruptionError) as exc:
            kind = "missing" if isinstance(exc, CorruptionError) else "altered"
            found.damage.append(Damage(thing, kind, str(exc)))
            return
        walked.append(walk)
        ends = walk.ends[-1:]
    if ends[0] != (manifest.acts, manifest.hash):
        detail = (
            f"expected {manifest.acts} acts with hash {manifest.hash}, got {ends[0][0]} with {ends[0][1]}"
        )
        found.damage.append(Damage(thing, "altered", detail))


def _walk(backups: Backups, parts: Sequence[Part], acts: list[str]) -> _Walk:
    lsn, digest = 0, ""
    listed: set[str] = set()
    ends = []
    for part in parts:
        listed |= {ref.sha256 for ref in part.segments}
        for entry in of_frame(backups.shelf.read(part.acts.sha256)):
            lsn, digest = chained(lsn, digest, entry, part.seq)
            for sha256 in needed(entry.kind, json.loads(entry.body)):
                if sha256 not in listed:
                    raise CorruptionError(
                        f"act {lsn}", expected=f"segment {sha256}, which it is built from", got="none listed"
                    )
        if (lsn, digest) != (part.lsn, part.hash):
            raise UnprovableError(
                f"part {part.seq}",
                expected=f"act {part.lsn} with hash {part.hash[:12]} at its end",
                got=f"act {lsn} with hash {digest[:12]}",
            )
        ends.append((lsn, digest))
    return _Walk(acts, ends)


def _look_beside(backups: Backups, objects: dict[str, int], found: Inspection) -> None:
    """What lies in the place and no backup names."""
    misplaced = [p for p in backups.manifests.iterdir() if p.name != f"{p.stem}.json" or not p.is_file()]
    for path in [*backups.shelf.strays(), *misplaced]:
        found.strays.append(Damage(str(path.relative_to(backups.directory)), STRAY, "nothing reads it"))
    if found.damage:
        return  # what a manifest or a list that cannot be read names is no stray
    found.strays += [
        Damage(f"segment {sha256}", STRAY, "no backup names it")
        for sha256 in backups.shelf.stored()
        if sha256 not in objects
    ]
