"""Zones set aside: a superseded zone's directory under another name, with a note of where its journal ended.

    140100/exchange.superseded-e1/superseded.json

The note keeps a database that could not be renamed, as one on a server, from being opened again under the old
zone's name: it is told by its newest act. Deletes nothing, and opens no database.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from jinbao.authority.private_files import sync_directory, write_private
from jinbao.model.errors import LocalError

NOTE = "superseded.json"

_ASIDE = re.compile(r"(?P<name>[a-z]+)[.]superseded-e(?P<epoch>[1-9][0-9]{0,8})")


@dataclass(frozen=True, slots=True)
class Note:
    """Where a zone's journal ended when it was set aside, its file for review, and a database that stayed where it is."""

    lsn: int
    hash: str
    granted_epoch: int
    file: str
    database: str


def aside_path(directory: Path, epoch: int) -> Path:
    """The name a directory gets that was of a holder of an epoch."""
    return directory.with_name(f"{directory.name}.superseded-e{epoch}")


def asides(directory: Path) -> list[Path]:
    """Directories of former holders of one zone, by epoch."""
    found = []
    for path in directory.parent.glob(f"{directory.name}.superseded-e*"):
        match = _ASIDE.fullmatch(path.name)
        if match is not None:
            found.append((int(match["epoch"]), path))
    return [path for _, path in sorted(found)]


def read_note(aside: Path) -> Note:
    """The note in a directory that was set aside; raises LocalError where there is none."""
    path = aside / NOTE
    try:
        return Note(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as exc:
        raise LocalError(
            f"note {path}",
            expected="where the zone's journal ended",
            got=f"{type(exc).__name__}",
            next_step="move the directory out of data_directory, and give the zone an empty database",
        ) from exc


def require_free(directory: Path, epoch: int) -> Path:
    """The name a directory would get; raises LocalError where another has it."""
    target = aside_path(directory, epoch)
    if target.exists():
        raise LocalError(
            f"directory {target}",
            expected="none of that name",
            got="one",
            next_step="move it elsewhere and give the command again",
        )
    return target


def set_aside(directory: Path, epoch: int, note: Note) -> Path:
    """Give a zone's directory its new name, durable on return; the zone is stopped and its lock held. Raises LocalError."""
    target = require_free(directory, epoch)
    write_private(directory / NOTE, (json.dumps(asdict(note), indent=1) + "\n").encode())
    directory.rename(target)
    sync_directory(directory.parent)
    return target


def require_other_database(directory: Path, newest: tuple[int, str], thing: str) -> None:
    """Raise LocalError if a database ends with the act with which a former holder's journal ended: it is that one."""
    for aside in asides(directory):
        note = read_note(aside)
        if newest == (note.lsn, note.hash):
            raise LocalError(
                thing,
                expected=f"an empty database, or a copy of the new holder's; {aside.name} is set aside",
                got=f"the database of the superseded zone, whose journal ends with act {note.lsn}",
                next_step="drop it, and create an empty one of the same name",
            )
