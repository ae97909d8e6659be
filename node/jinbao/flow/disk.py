"""Disks: how soon one is full at its present pace, and whether its writes are slow. Pure: takes numbers and `now`.

Nothing here frees or refuses anything; it warns long before the reserve would have to.
"""

from __future__ import annotations

import math
import statistics
from collections import deque

WINDOW_S = 86_400.0 * 2
"""The pace is that of two days: a night's run alone says nothing of a week."""

APART_S = 900.0
"""Looks that are nearer are not kept: a round that is tried again each minute must not push two days out."""

LEARNS_S = 43_200.0
"""No pace is told from less than half a day: a first load is none."""

WRITES_MAX = 32
"""The median of so many durable writes is what a disk takes: one that waited for a checkpoint moves it not."""


class DiskForecast:
    """Looks at the free bytes of one disk from time to time; says when the reserve is reached."""

    def __init__(self, reserve_bytes: int) -> None:
        self._reserve_bytes = reserve_bytes
        self._seen: deque[tuple[float, int]] = deque(maxlen=int(WINDOW_S / APART_S) + 2)

    def look(self, now_s: float, free_bytes: int) -> float:
        """Seconds until the reserve is reached at the pace of the last two days; infinite while nothing is used up."""
        while self._seen and self._seen[-1][0] > now_s:  # the clock was set back
            self._seen.pop()
        if not self._seen or now_s - self._seen[-1][0] >= APART_S:
            self._seen.append((now_s, free_bytes))
        while self._seen[0][0] < now_s - WINDOW_S and len(self._seen) > 2:  # noqa: PLR2004  # a pace has two ends
            self._seen.popleft()
        began_s, began_bytes = self._seen[0]
        left = max(free_bytes - self._reserve_bytes, 0)
        if not left:
            return 0.0
        used, elapsed_s = began_bytes - free_bytes, now_s - began_s
        return left * elapsed_s / used if used > 0 and elapsed_s >= LEARNS_S else math.inf


class WriteWatch:
    """Durations of durable writes to one place; says once when they have become slow, and again only after a recovery."""

    def __init__(self, slow_s: float) -> None:
        self._slow_s = slow_s
        self._seen: deque[float] = deque(maxlen=WRITES_MAX)
        self._is_slow = False

    def see(self, took_s: float) -> bool:
        """Whether this write makes them slow, and they were not before."""
        self._seen.append(took_s)
        was, self._is_slow = self._is_slow, self._is_full() and self.median_s > self._slow_s
        return self._is_slow and not was

    @property
    def median_s(self) -> float:
        """What a durable write took, in the middle of the last ones; 0 before the first."""
        seen = list(self._seen)
        return statistics.median(seen) if seen else 0.0

    def _is_full(self) -> bool:
        return len(self._seen) >= WRITES_MAX // 4
