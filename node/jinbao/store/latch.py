"""The latch: once a disk has not kept its word, this process writes no more.

After a sync that failed the system may take for written what is not, and the next sync succeeds:
whoever tries again is lied to. So the first such failure closes the zone's files and database for
writing, whoever serves is told, and the next start looks at what there is. Frees no room and ends
no process itself.
"""

from __future__ import annotations

import errno
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from jinbao.model.errors import CorruptionError, DiskError, LocalError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""No room, in bytes or in names: it passes, and nothing that was written is in doubt."""

BROKEN = frozenset({errno.EIO, errno.EROFS, errno.ENXIO, errno.ENODEV, errno.ESTALE, errno.EUCLEAN})
"""The disk failed, is gone, or lets itself be read only."""

_PROBE_BYTES = 64 << 10


def is_full(directory: Path) -> bool:
    """Whether a small file finds no room in a directory, by size, by number of files or by quota."""
    try:
        with tempfile.TemporaryFile(dir=directory) as probe:
            probe.write(bytes(_PROBE_BYTES))
            probe.flush()
    except OSError as exc:
        return exc.errno in FULL
    return False


class Latch:
    """Whether one zone's process may still write; once it is closed it stays so."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.cause: LocalError | None = None
        """What closed it; None while it is open."""
        self.closed: Callable[[LocalError], None] = lambda _: None
        """Told once what closed it, from the thread that met it."""

    def close(self, cause: DiskError | CorruptionError) -> None:
        """Let nothing be written from now on."""
        with self._lock:
            first = self.cause is None
            self.cause = self.cause or cause
        if first:
            self.closed(cause)

    def require(self, thing: str) -> None:
        """Raise DiskError once it is closed."""
        if self.cause is not None:
            raise DiskError(
                thing,
                expected="a disk that kept all it was told to",
                got=f"{self.cause.thing}: {self.cause.got}",
                next_step="the zone ends and looks at what it has when it starts",
            )

    @contextmanager
    def watching(self, thing: str) -> Iterator[None]:
        """Close it for a disk that failed inside, and raise DiskError; every other error stays what it is."""
        self.require(thing)
        try:
            yield
        except OSError as exc:
            if exc.errno not in BROKEN:
                raise
            found = DiskError(
                thing,
                expected="a disk that keeps what is written",
                got=exc.strerror or str(exc),
                next_step="look at the disk and its mount; the zone ends, and looks at what it has when it starts",
            )
            self.close(found)
            raise found from exc
