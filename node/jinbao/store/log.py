"""The log of a SQLite database: how long it may grow, and whose view may keep it.

A view that is held keeps every page that was written since: the log cannot be emptied, and fills the
disk. So the writer empties it whenever it is longer than its limit; views older than theirs are then
ended, and at twice the limit all that do not end by themselves within a second. Whoever held one is
told that the database is unavailable, and asks again. PostgreSQL bounds its own log: nothing of this
is for it.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinbao.model.errors import UnavailableError

_PATIENCE_MS = 1000
"""How long a writer waits for short views to end, before it ends them: they overlap, and one always holds some page."""


@dataclass(frozen=True, slots=True)
class LogLimits:
    """`bytes_max` of the log before views may be ended, `view_s_max` a view may be old then; each is a setting."""

    bytes_max: int = 512 << 20
    view_s_max: float = 60.0


@dataclass
class View:
    """One view of a database that is held."""

    raw: sqlite3.Connection
    began: float = field(default_factory=time.monotonic)
    is_ended: bool = False

    def require(self) -> None:
        """Raise UnavailableError once it was ended: what it would show now is another view."""
        if self.is_ended:
            raise UnavailableError(
                "view of the database",
                expected="one that is held for less than limits.view_s_max while the log is long",
                got=f"one of {time.monotonic() - self.began:.0f} s",
                next_step="ask again; what takes so long is asked in parts",
            )


class Log:
    """The log beside a database file, and the views that keep it."""

    def __init__(self, database: str, limits: LogLimits) -> None:
        self._path, self._limits = Path(f"{database}-wal"), limits
        self._lock = threading.Lock()
        self._views: dict[int, View] = {}
        self._is_told = False
        self.kept: Callable[[int, int], None] = lambda _bytes, _ended: None
        """Told when a long log could not be emptied: its bytes, and how many views are ended for it."""

    def bytes(self) -> int:
        """Length of the log as it lies on disk; it is written from its beginning again once it was emptied."""
        with suppress(FileNotFoundError):
            return self._path.stat().st_size
        return 0

    @contextmanager
    def viewed(self, raw: Any) -> Iterator[View]:
        """A view that a connection holds meanwhile."""
        view = View(raw)
        with self._lock:
            self._views[id(view)] = view
        try:
            yield view
        finally:
            with self._lock:  # after this nobody interrupts the connection's next user
                del self._views[id(view)]

    def is_long(self) -> bool:
        """Whether it is longer than it may be."""
        return self.bytes() > self._limits.bytes_max

    def bound(self, writer: Any) -> None:
        """Empty a long log; where views keep it from that, end them."""
        size = self.bytes()
        is_double = size > 2 * self._limits.bytes_max
        if self._emptied(writer, _PATIENCE_MS if is_double and self._has_live() else 0):
            self._is_told = False
            return
        ended = self._end(
            min(self._limits.view_s_max, _PATIENCE_MS / 1000) if is_double else self._limits.view_s_max
        )
        if ended or not self._is_told:
            self._is_told = True
            self.kept(size, ended)
        if ended:
            self._emptied(writer, 0)  # or after the next commit: a statement under way ends at its next row

    @staticmethod
    def _emptied(writer: Any, patience_ms: int) -> bool:
        """Whether all of the log is in the database now; waits so long for those who hold it."""
        waits = writer.execute("PRAGMA busy_timeout").fetchone()[0]
        writer.execute(f"PRAGMA busy_timeout={patience_ms}")
        try:
            busy, _, _ = writer.execute("PRAGMA main.wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            writer.execute(f"PRAGMA busy_timeout={waits}")
        return not busy

    def _has_live(self) -> bool:
        """Whether there is a view that was not ended yet: for one that was, nobody waits again."""
        with self._lock:
            return any(not view.is_ended for view in self._views.values())

    def _end(self, older_s: float) -> int:
        """End views older than this; how many."""
        now, ended = time.monotonic(), 0
        with self._lock:
            for view in self._views.values():
                if now - view.began >= older_s and not view.is_ended:
                    view.is_ended = True
                    view.raw.interrupt()
                    with suppress(sqlite3.OperationalError):  # between two rows: the next one ends it
                        view.raw.rollback()
                    ended += 1
        return ended
