"""Pace: when the next step runs. Intervals, back-off with jitter, and threads that only call steps.

`Pace` is pure and takes `now`; `Worker` owns one thread and stops within one wait.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from jinbao.flow.ports import Observer
from jinbao.model.errors import JinbaoError, LinkError

_EASED = 3
"""Failures in a row that count once the other end was seen: the next wait is of seconds."""

_CALLED_S = 5.0
"""How often another zone's call may end a wait: one that calls without end has us try every few seconds."""


@dataclass(frozen=True, slots=True)
class PaceLimits:
    """`interval_s` between rounds with nothing to do; `backoff_s` doubles up to `backoff_max_s` after failures."""

    interval_s: float = 1.0
    backoff_s: float = 0.5
    backoff_max_s: float = 60.0
    jitter_share: float = 0.25


class Pace:
    """Says how long to wait after a round; keeps the count of failures in a row."""

    def __init__(self, limits: PaceLimits, rng: random.Random) -> None:
        self._limits = limits
        self._rng = rng
        self.failures = 0

    def after_success(self, *, worked: bool) -> float:
        """Seconds to wait after a round that worked: none if it found something to do."""
        self.failures = 0
        return 0.0 if worked else self._limits.interval_s

    def after_failure(self) -> float:
        """Seconds to wait after a failed round: doubled each time, with jitter, bounded."""
        self.failures += 1
        wait = min(self._limits.backoff_s * 2.0 ** min(self.failures - 1, 30), self._limits.backoff_max_s)
        return wait * (1 + self._limits.jitter_share * (2 * self._rng.random() - 1))

    def ease(self) -> None:
        """Wait for seconds after the next failure, however many there were."""
        self.failures = min(self.failures, _EASED)


class Worker:
    """One thread that calls `step` at its pace until stopped; a failed step is told and tried again.

    Only errors a person or time can mend are retried; a bug ends the process through
    `on_bug`, because a zone that is half alive is worse than one that restarts.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], bool],
        *,
        pace: Pace,
        observer: Observer,
        on_bug: Callable[[BaseException], None],
    ) -> None:
        self.name = name
        self._step, self._pace, self._observer, self._on_bug = step, pace, observer, on_bug
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.last_success_monotonic = 0.0
        self.rounds = 0
        self._sign_monotonic = 0.0  # 0 between rounds
        self._called_monotonic = -_CALLED_S
        self.last_error: JinbaoError | None = None

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Run the next round now."""
        self._wake.set()

    def ask_to_stop(self) -> None:
        """Ask the thread to end after its round."""
        self._stopped.set()
        self._wake.set()

    def stop(self, timeout_s: float) -> bool:
        """Wait for the thread to end after its round; whether it did within the time."""
        self.ask_to_stop()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def give_sign(self) -> None:
        """Show that the round goes on; called in it, where something became durable."""
        self._sign_monotonic = time.monotonic()

    def heard(self) -> None:
        """The other end of the line let us in, though the round goes on: what kept the last one from it is over."""
        if isinstance(self.last_error, LinkError):
            self.last_error = None

    def called(self) -> None:
        """The other end of the line called us: if the last round did not reach it, the next one is now."""
        now = time.monotonic()
        if isinstance(self.last_error, LinkError) and now - self._called_monotonic > _CALLED_S:
            self._called_monotonic = now
            self._pace.ease()
            self.wake()

    def busy_s(self, now: float) -> float:
        """How long it shows no sign of life in a round, at the monotonic time `now`; 0 between rounds."""
        sign = self._sign_monotonic
        return max(0.0, now - sign) if sign else 0.0

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                self.give_sign()
                wait = self._round()
                self._sign_monotonic = 0.0
                self.rounds += 1
                if wait:
                    self._wake.wait(wait)
                self._wake.clear()
        except BaseException as exc:  # noqa: BLE001  # the thread's last fence: a bug must end the process
            self._on_bug(exc)

    def _round(self) -> float:
        try:
            worked = self._step()
        except JinbaoError as exc:
            wait = self._pace.after_failure()
            self.last_error = exc
            self._observer.event(
                "step_failed",
                worker=self.name,
                code=exc.code,
                reason=str(exc),
                failures=self._pace.failures,
                retry_in_s=round(wait, 2),
            )
            return wait
        self.last_error = None
        self.last_success_monotonic = time.monotonic()
        return self._pace.after_success(worked=worked)
