"""Files port: the few acts by which a file becomes durable, in the order that survives power loss.

A file is written under a temporary name, synced, renamed, and its directory synced;
before the last step a crash may forget it, after it never. `tests/sim` replaces this
port by one that forgets everything not synced. Does not write contents. What a disk refuses
closes the zone's `latch`: a file that could not be synced is never tried again.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from jinbao.model.errors import JinbaoError, SpaceError
from jinbao.model.failpoint import declare, hit
from jinbao.store.latch import FULL, Latch

SYNC_BEFORE = declare("files.before_sync", "the temporary file is written, not synced")
SYNC_AFTER = declare("files.after_sync", "the temporary file is synced, not renamed")
RENAMED = declare("files.after_rename", "the file has its name, its directory is not synced")
SEALED = declare("files.after_directory_sync", "the file is durable, nothing refers to it yet")
REMOVE_BEFORE = declare("files.before_remove", "nothing refers to the file, it is still there")
REMOVE_AFTER = declare("files.after_remove", "the file is gone, its directory is not synced")


_FULL_TEXTS = ("No space left on device", "Disk quota exceeded", "disk is full")


_GOES_ON = "free space, or jinbao journal retention; it goes on by itself"


@contextmanager
def telling_full_disk(thing: str, next_step: str = _GOES_ON) -> Iterator[None]:
    """Raise SpaceError for a full disk, however the library that met it words it; nothing else changes."""
    try:
        yield
    except JinbaoError:
        raise
    except Exception as exc:
        full = isinstance(exc, OSError) and exc.errno in FULL
        if not full and not any(text in str(exc) for text in _FULL_TEXTS):
            raise
        raise SpaceError(
            thing,
            expected="room on the disk",
            got=str(exc).splitlines()[0][:200],
            next_step=next_step,
        ) from exc


class Files:
    """The real disk. `written` is told how many seconds each file took to become durable, `latch` what failed."""

    def __init__(self) -> None:
        self.written: Callable[[float], None] = lambda _: None
        self.latch = Latch()

    def free_bytes(self, path: Path) -> int:
        """Bytes free where `path` lies."""
        return shutil.disk_usage(path).free

    def sync(self, path: Path) -> None:
        """Make the contents of `path` durable."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Give `source` the name `target`, replacing what was there."""
        source.replace(target)

    def sync_directory(self, path: Path) -> None:
        """Make the names in directory `path` durable."""
        self.sync(path)

    def remove(self, path: Path) -> None:
        """Remove `path` if it is there."""
        path.unlink(missing_ok=True)

    def touch(self, path: Path) -> None:
        """Make `path` young: it is used again, and whoever removes old files must leave it."""
        os.utime(path)

    def make_directory(self, path: Path) -> None:
        """Create `path`, private to this account, durable in its parent."""
        if not path.is_dir():
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.sync_directory(path.parent)


def seal(files: Files, temporary: Path, final: Path) -> None:
    """Make `temporary` durable under the name `final`; after return no crash forgets it.

    Raises DiskError, and closes the latch, where the disk failed; OSError where it is full, and then
    the file is gone: a second sync would say of the lost bytes that they are written.
    """
    hit(SYNC_BEFORE)
    began = time.monotonic()
    with files.latch.watching(f"file {final.name}"):
        _sync(files, files.sync, temporary, temporary)
        hit(SYNC_AFTER)
        files.make_directory(final.parent)
        files.rename(temporary, final)
        hit(RENAMED)
        _sync(files, files.sync_directory, final.parent, final)
    files.written(time.monotonic() - began)
    hit(SEALED)


def _sync(files: Files, sync: Callable[[Path], None], path: Path, written: Path) -> None:
    try:
        sync(path)
    except OSError as exc:
        if exc.errno in FULL:
            files.remove(written)
        raise


def discard(files: Files, path: Path) -> None:
    """Remove a file nothing refers to."""
    hit(REMOVE_BEFORE)
    with files.latch.watching(f"file {path.name}"):
        files.remove(path)
        hit(REMOVE_AFTER)
        if path.parent.is_dir():
            files.sync_directory(path.parent)
