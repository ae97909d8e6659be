"""How fast bulk goes over the line now: one bucket for each window's owner, which all who use it share.

Takes turns, moves no bytes and knows no call. What is small and steers (`CONTROL`) never asks here.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from jinbao.model.errors import LineClosedError
from jinbao.model.window import Allowance, Schedule
from jinbao.model.zone import Endpoint

BURST = 1 / 20
"""What may go at once, as a part of a second's bytes. The bucket fills at the rest: together never more than allowed."""

SLICE_S = 0.5
"""Longest one waits before the window is looked at again."""

PAUSE_S_MIN = 0.001
"""Shortest wait: less would not move a clock."""

RATE_S = 10
"""Seconds over which the present rate is told."""


class Bucket:
    """A token bucket of one schedule; `clock` is monotonic seconds, `now` tells the window. Any thread may ask."""

    def __init__(
        self, schedule: Schedule, clock: Callable[[], float], now: Callable[[], datetime], name: str = "line"
    ) -> None:
        self.schedule, self._clock, self._now, self._name = schedule, clock, now, name
        self._lock = threading.Lock()
        self._tokens, self._filled_at, self._rate = 0.0, clock(), -1.0

    def allowed(self) -> Allowance:
        """What the window in force says."""
        return self.schedule.at(self._now())

    def try_take(self, size: int) -> float:
        """Take `size` bytes, at most `most()`, and return 0.0; or take none, and return the seconds until they are there.

        Raises LineClosedError in a window that is closed for bulk.
        """
        with self._lock:
            allowed = self.allowed()
            if math.isinf(allowed.bytes_per_s):
                self._rate = -1.0
                return 0.0
            if allowed.is_closed:
                raise closed(self._name, allowed, self._now())
            self._fill(allowed.bytes_per_s)
            lacks = min(size, allowed.bytes_per_s * BURST) - self._tokens
            if lacks <= 0:
                self._tokens -= size
                return 0.0
            return max(lacks / (allowed.bytes_per_s * (1 - BURST)), PAUSE_S_MIN)

    def _fill(self, rate: float) -> None:
        """Let in what came since; a window that just began begins empty, so that two never add up."""
        now = self._clock()
        if rate != self._rate:
            self._tokens, self._rate = min(self._tokens, 0.0), rate
        else:
            came = (now - self._filled_at) * rate * (1 - BURST)
            self._tokens = min(self._tokens + came, rate * BURST)
        self._filled_at = now

    def most(self) -> float:
        """Bytes that may be taken at once now; infinite without a limit."""
        return max(1.0, math.floor(self.allowed().bytes_per_s * BURST)) if self._limits() else math.inf

    def _limits(self) -> bool:
        return not math.isinf(self.allowed().bytes_per_s)


def closed(name: str, allowed: Allowance, now: datetime) -> LineClosedError:
    """That bulk waits, and how long, in seconds, as `opens_in_s`."""
    opens_in_s = (allowed.until - now).total_seconds() if allowed.until else 0.0
    return LineClosedError(
        name, expected="a window open for bulk", got=f"closed by {allowed.window}", opens_in_s=opens_in_s
    )


@dataclass
class _Used:
    """What one peer's bulk took, and how long it waited, since it was last told; and the last seconds' bytes."""

    bytes: int = 0
    waited_s: float = 0.0
    told_at: float = 0.0
    recent: deque[tuple[float, int]] = field(default_factory=deque)


@dataclass(frozen=True, slots=True)
class LineLimit:
    """What is in force towards one peer, and the bytes per second of the last seconds."""

    allowed: Allowance
    rate: float


TOLD_S = 60.0
"""How often what was limited is told while a segment is on its way."""


class Shaper:
    """One direction of a zone's lines: the bucket all peers share, and those of single peers.

    `told(peer, bytes, waited_s)` hears of what was limited; `waiting()` is called at each wait: a sign of life.
    """

    def __init__(
        self,
        schedule: Schedule,
        peers: Mapping[str, Schedule],
        *,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        told: Callable[[Endpoint, int, float], None] = lambda _peer, _bytes, _s: None,
        waiting: Callable[[], None] = lambda: None,
        spared: str = "",
    ) -> None:
        """`peers` by node or by endpoint; lines to the own node, `spared`, are no lines to limit."""
        self._shared = Bucket(schedule, clock, now)
        self._own = {name: Bucket(of_peer, clock, now, f"line to {name}") for name, of_peer in peers.items()}
        self._clock, self._told, self._waiting, self._spared = clock, told, waiting, spared
        self._used: dict[Endpoint, _Used] = {}
        self._lock = threading.Lock()

    def buckets(self, peer: Endpoint) -> list[Bucket]:
        """The buckets a peer's bulk is taken from: its own, then the one all share."""
        if peer.node == self._spared:
            return []
        own = self._own.get(str(peer)) or self._own.get(peer.node)
        return [bucket for bucket in (own, self._shared) if bucket is not None and bucket.schedule.windows]

    def limit(self, peer: Endpoint) -> LineLimit:
        """What is in force towards a peer: the tightest of its windows."""
        found = [bucket.allowed() for bucket in self.buckets(peer)]
        tightest = min(found, key=lambda allowed: allowed.bytes_per_s, default=Allowance())
        return LineLimit(tightest, self._rate(peer))

    def _rate(self, peer: Endpoint) -> float:
        with self._lock:
            used = self._used.get(peer)
            since = self._clock() - RATE_S
            return sum(size for at, size in used.recent if at > since) / RATE_S if used else 0.0

    def piece(self, peer: Endpoint, most: int) -> int:
        """Bytes to move at once towards or from a peer, at most `most`; raises LineClosedError."""
        for bucket in self.buckets(peer):
            allowed = bucket.allowed()
            if allowed.is_closed:
                bucket.try_take(0)
            most = int(min(most, bucket.most()))
        return most

    def turn(self, peer: Endpoint, size: int) -> Sequence[Callable[[], float]]:
        """What is to be called in order, each until it gives 0.0, waiting meanwhile as long as it says."""
        return [lambda bucket=bucket: bucket.try_take(size) for bucket in self.buckets(peer)]  # type: ignore[misc]

    def wait(self, peer: Endpoint, size: int, sleep: Callable[[float], None]) -> None:
        """Until `size` bytes may go, in pieces; raises LineClosedError where a window closes meanwhile."""
        left = size
        while left > 0 and self.buckets(peer):
            part = self.piece(peer, left)
            for take in self.turn(peer, part):
                while pause := take():
                    pause = min(pause, SLICE_S)
                    self._waiting()
                    sleep(pause)
                    self.note(peer, 0, pause)
            self.note(peer, part, 0.0)
            left -= part

    def note(self, peer: Endpoint, size: int, waited_s: float) -> None:
        """Count what was taken or waited for; told once a minute, and by `flush`."""
        now = self._clock()
        with self._lock:
            used = self._used.setdefault(peer, _Used(told_at=now))
            used.bytes += size
            used.waited_s += waited_s
            if size:
                used.recent.append((now, size))
            while used.recent and used.recent[0][0] <= now - RATE_S:
                used.recent.popleft()
            is_due = now - used.told_at >= TOLD_S
        if is_due:
            self.flush(peer)

    def flush(self, peer: Endpoint) -> None:
        """Tell what was counted since the last time, if it was limited."""
        with self._lock:
            used = self._used.get(peer)
            if used is None or not (used.bytes or used.waited_s):
                return
            size, waited_s = used.bytes, used.waited_s
            used.bytes, used.waited_s, used.told_at = 0, 0.0, self._clock()
        self._told(peer, size, waited_s)


def free_line() -> Shaper:
    """Without any limit."""
    return Shaper(Schedule(), {}, clock=lambda: 0.0, now=datetime.now)
