"""Copies of a zone's database made by itself before a migration: one file, and what is known of it beside it.

A SQLite database is copied whole, always; segments never change and stay where they are. A server is not copied by
us: there more than an expansion needs the word of whoever looks after it. The file that describes a copy comes last, so
that a copy is there whole or not at all. Removes only copies beyond those that are kept.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from jinbao import __version__
from jinbao.appliance.database.urls import shown
from jinbao.appliance.settings import Settings
from jinbao.journal.segments import hash_of
from jinbao.journal.tables import ACT
from jinbao.model.errors import CorruptionError, LocalError, SpaceError, UsageError
from jinbao.model.failpoint import declare, hit
from jinbao.model.zone import Endpoint, Zone
from jinbao.store.engine import Store
from jinbao.store.files import Files, seal, telling_full_disk
from jinbao.store.migrations import Revisions
from jinbao.store.whole_copy import copy_whole, size_bytes

COPY_BEFORE = declare("upgrading.before_copy", "a migration is due, nothing of its copy is written")
COPIED = declare("upgrading.after_copy", "the copy's file is durable, nothing describes it")
DESCRIBED = declare("upgrading.after_manifest", "the copy is whole, the database is not migrated")
MIGRATED = declare("upgrading.after_migrate", "the database is migrated, the zone has not begun")

_DESCRIPTION, _FILE = ".json", ".db"
_NEXT_STEP = "free space, or name a larger place in upgrade.copies_directory; the database was not changed"


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy: of which zone, by which release before which revisions, where its database stood, its bytes and hash."""

    name: str
    zone: str
    made_at: str
    release: str
    present: tuple[str, ...]
    pending: tuple[str, ...]
    acts: int
    bytes: int
    sha256: str


def place_of(settings: Settings, zone: Zone) -> Path:
    """The directory of a zone's copies."""
    named = settings.upgrade.copies_directory
    return named / zone if named else settings.directory(zone) / "upgrades"


def make_before(settings: Settings, zone: Zone, store: Store, found: Revisions, now: datetime) -> str:
    """Copy a database before `found.pending` run on it; the copy's name, empty where none is needed or wanted.

    None is made of an empty database. Raises SpaceError where there is no room, and LocalError for a server where
    more than an expansion is due and nobody said that it is copied; nothing is then changed.
    """
    if not (found.present and found.pending):
        return ""
    if not store.is_sqlite:
        _require_copied(settings, store, found)
        return ""
    if not settings.upgrade.copy_database:
        return ""
    return _make(settings, settings.endpoint(zone), store, found, now).name


def _require_copied(settings: Settings, store: Store, found: Revisions) -> None:
    if found.moving and not settings.upgrade.server_copied:
        raise LocalError(
            f"database {shown(store.url)}",
            expected="a copy of it, made by the server's own means, before more than an expansion",
            got=f"nobody's word for one; pending: {', '.join(found.moving)}",
            next_step="start the release before, jinbao backup create, or pg_dump; then set upgrade.server_copied = true",
        )


def _make(settings: Settings, zone: Endpoint, store: Store, found: Revisions, now: datetime) -> Copy:
    directory, files = place_of(settings, zone.zone), Files()
    files.make_directory(directory)
    acts = _acts(store)
    made = listed(directory)
    if made and (made[-1].present, made[-1].pending, made[-1].acts) == (found.present, found.pending, acts):
        return made[-1]  # the start before this one was killed: nothing was written since
    hit(COPY_BEFORE)
    _sweep(files, directory)
    _require_room(settings, store, directory)
    name = f"{now:%Y%m%dT%H%M%SZ}-before-{__version__}-{found.pending[0]}"
    temporary, final = directory / f"{name}.tmp", directory / f"{name}{_FILE}"
    copy_whole(store, temporary, _NEXT_STEP)
    sha256, size = hash_of(temporary)
    seal(files, temporary, final)
    hit(COPIED)
    made_at = f"{now:%Y-%m-%dT%H:%M:%SZ}"
    copy = Copy(name, str(zone), made_at, __version__, found.present, found.pending, acts, size, sha256)
    _describe(files, directory, copy)
    hit(DESCRIBED)
    others = [old for old in listed(directory) if old.name != name]  # the clock may have gone back since
    for old in others[: max(0, len(others) + 1 - settings.upgrade.copies_kept)]:
        for suffix in (_DESCRIPTION, _FILE):
            files.remove(directory / f"{old.name}{suffix}")
    return copy


def _sweep(files: Files, directory: Path) -> None:
    """Remove what a killed start left: half a file, or one that nothing describes."""
    undescribed = (p for p in directory.glob(f"*{_FILE}") if not p.with_suffix(_DESCRIPTION).is_file())
    for left in (*directory.glob("*.tmp"), *undescribed):
        files.remove(left)


def _acts(store: Store) -> int:
    """How far its journal is, in whatever schema: a zone that wrote since wrote an act."""
    with store.read() as connection:
        if not sa.inspect(connection).has_table(ACT.name):
            return 0
        return int(connection.exec_driver_sql(f"SELECT max(lsn) FROM {ACT.name}").scalar() or 0)


def _require_room(settings: Settings, store: Store, directory: Path) -> None:
    needed, reserve = size_bytes(store), settings.limits.disk_reserve_bytes
    free = Files().free_bytes(directory)
    if free < needed + reserve:
        raise SpaceError(
            f"copy before a migration, in {directory}",
            expected=f"{needed} bytes free beside the reserve of {reserve}",
            got=f"{free}",
            next_step=_NEXT_STEP,
        )


def _describe(files: Files, directory: Path, copy: Copy) -> None:
    temporary = directory / f"{copy.name}{_DESCRIPTION}.tmp"
    temporary.touch(mode=0o600)
    temporary.write_text(json.dumps(asdict(copy), indent=1) + "\n", encoding="utf-8")
    seal(files, temporary, directory / f"{copy.name}{_DESCRIPTION}")


def listed(directory: Path) -> list[Copy]:
    """Every copy that is described in a directory, oldest first; raises CorruptionError for a description that is none."""
    return [_read(path) for path in sorted(directory.glob(f"*-before-*{_DESCRIPTION}"))]


def _read(path: Path) -> Copy:
    try:
        body: Mapping[str, object] = json.loads(path.read_text(encoding="utf-8"))
        known = {key: body[key] for key in Copy.__dataclass_fields__}
        lists = {key: tuple(map(str, known[key])) for key in ("present", "pending")}  # type: ignore[call-overload]
        return Copy(**known | lists)  # type: ignore[arg-type]
    except (ValueError, KeyError, TypeError) as exc:
        raise CorruptionError(
            f"copy {path}",
            expected="its description",
            got="another file",
            next_step="take both of its files away",
        ) from exc


def restore(directory: Path, zone: Endpoint, at: str, target: Path) -> tuple[Copy, Path]:
    """Lay a copy, the newest if `at` names none, into an empty directory as a database; the copy and where it is.

    Raises UsageError for a copy that is not there, CorruptionError for one that is not what was written, LocalError
    for a directory that is not empty, SpaceError for a full disk.
    """
    found = [copy for copy in listed(directory) if copy.zone == str(zone) and at in {"", copy.name}]
    if not found:
        raise UsageError(
            f"copies of {zone} in {directory}",
            expected=at or "one at least",
            got="none",
            next_step="jinbao backup list",
        )
    copy, files = found[-1], Files()
    if target.is_dir() and any(path.suffix != ".tmp" for path in target.iterdir()):
        raise LocalError(
            f"directory {target}",
            expected="an empty one",
            got=f"{min(path.name for path in target.iterdir())} and perhaps more",
            next_step="name another directory: nothing is ever written over",
        )
    files.make_directory(target)
    temporary, final = target / "zone.tmp", target / "zone.db"
    temporary.touch(mode=0o600)
    with telling_full_disk(f"directory {target}", "free space there and give the command again"):
        _copy(directory / f"{copy.name}{_FILE}", temporary)
    sha256, size = hash_of(temporary)
    if (sha256, size) != (copy.sha256, copy.bytes):
        raise CorruptionError(
            f"copy {copy.name}",
            expected=f"{copy.bytes} bytes with hash {copy.sha256}",
            got=f"{size} with {sha256}",
            next_step="take another: jinbao backup list",
        )
    seal(files, temporary, final)
    return copy, final


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
    except FileNotFoundError as exc:
        raise CorruptionError(
            f"copy {source.stem}",
            expected=f"a file {source}",
            got="none",
            next_step="take another: jinbao backup list",
        ) from exc


def is_copies(directory: Path) -> bool:
    """Whether a directory holds copies made before migrations, and not a repository of backups."""
    return any(directory.glob(f"*-before-*{_DESCRIPTION}"))
