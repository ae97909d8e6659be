"""Reading what the other side laid down: plain files in plain directories, opened without following anything.

A link, a pipe, a device or a directory under a file's name is refused before a byte of it
is read; nothing here waits. A package is never listed: only names made here are opened.
"""

from __future__ import annotations

import errno
import os
import stat
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from jinbao.model.errors import CorruptionError, UnacceptableError, UnprovableError

PACKAGES_MAX = 10_000
"""Names looked at in one inbox: ten times what a sender of ours lays down at once."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def names(directory: Path) -> list[str]:
    """Names in a directory, sorted; none if it is not there. Raises UnacceptableError when there are too many."""
    try:
        with os.scandir(directory) as entries:
            found = sorted(entry.name for entry in islice(entries, PACKAGES_MAX + 1))
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise CorruptionError(f"inbox {directory}", expected="a directory", got=str(exc)) from exc
    if len(found) > PACKAGES_MAX:
        raise UnacceptableError(
            f"inbox {directory}",
            expected=f"at most {PACKAGES_MAX} packages",
            got="more",
            next_step="take away what the other side should not have laid there",
        )
    return found


def open_plain(directory: Path, name: str) -> BinaryIO | None:
    """The plain file `name` in the plain directory, or None if there is none of either.

    Raises UnprovableError for a link or anything else that is no plain file, CorruptionError
    for one that cannot be opened.
    """
    thing = f"package file {directory.name}/{name}"
    try:
        at = os.open(directory, _DIRECTORY)
        try:
            file = os.open(name, _FILE, dir_fd=at)
        finally:
            os.close(at)
    except FileNotFoundError:
        return None
    except OSError as exc:
        if exc.errno in {errno.ELOOP, errno.ENOTDIR, errno.ENXIO}:
            raise UnprovableError(
                thing, expected="a plain file in a plain directory", got=exc.strerror
            ) from exc
        raise CorruptionError(thing, expected="a readable file", got=str(exc)) from exc
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise UnprovableError(thing, expected="a plain file in a plain directory", got="another kind of file")
    return os.fdopen(file, "rb")


def size_of(file: BinaryIO) -> int:
    """Bytes of an open file."""
    return os.fstat(file.fileno()).st_size
