"""Files port: the few acts by which a file becomes durable, in the order that survives power loss.

A file is written under a temporary name, synced, renamed, and its directory synced;
before the last step a crash may forget it, after it never. `tests/sim` replaces this
port by one that forgets everything not synced. Does not write contents.
"""

from __future__ import annotations

import os
from pathlib import Path

from jinbao.model.failpoint import declare, hit

SYNC_BEFORE = declare("files.before_sync", "the temporary file is written, not synced")
SYNC_AFTER = declare("files.after_sync", "the temporary file is synced, not renamed")
RENAMED = declare("files.after_rename", "the file has its name, its directory is not synced")
SEALED = declare("files.after_directory_sync", "the file is durable, nothing refers to it yet")
REMOVE_BEFORE = declare("files.before_remove", "nothing refers to the file, it is still there")
REMOVE_AFTER = declare("files.after_remove", "the file is gone, its directory is not synced")


class Files:
    """The real disk."""

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

    def make_directory(self, path: Path) -> None:
        """Create `path`, private to this account, durable in its parent."""
        if not path.is_dir():
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.sync_directory(path.parent)


def seal(files: Files, temporary: Path, final: Path) -> None:
    """Make `temporary` durable under the name `final`; after return no crash forgets it."""
    hit(SYNC_BEFORE)
    files.sync(temporary)
    hit(SYNC_AFTER)
    files.make_directory(final.parent)
    files.rename(temporary, final)
    hit(RENAMED)
    files.sync_directory(final.parent)
    hit(SEALED)


def discard(files: Files, path: Path) -> None:
    """Remove a file nothing refers to."""
    hit(REMOVE_BEFORE)
    files.remove(path)
    hit(REMOVE_AFTER)
    if path.parent.is_dir():
        files.sync_directory(path.parent)
