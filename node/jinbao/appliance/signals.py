"""Signals that ask a serving process to stop or to reload: none is lost, whichever thread the kernel hands it to.

A handler of Python's runs in the main thread alone. One that waits for a lock is woken only by a signal handed to
itself, and not by one that comes as it is about to wait; so the main thread waits for a descriptor that the C handler
writes to. Handlers set flags and take no lock: the thread they interrupt may hold it.
"""

from __future__ import annotations

import select
import signal
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

LOOK_S = 0.2
"""How soon it is noticed that something else than a signal ended the wait."""


class Signals:
    """SIGTERM and SIGINT ask to stop, SIGHUP calls `reload` from the wait, while the context is open; main thread only."""

    def __init__(self, reload: Callable[[], None] | None = None) -> None:
        self._reload = reload
        self._is_stop_asked = self._is_reload_asked = False
        self._woken, self._wakes = socket.socketpair()
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for end in (self._woken, self._wakes):
            end.setblocking(False)
        signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        wanted = {signal.SIGTERM: self._ask_to_stop, signal.SIGINT: self._ask_to_stop}
        if self._reload is not None:
            wanted[signal.SIGHUP] = self._ask_to_reload
        self._before = {signum: signal.signal(signum, handler) for signum, handler in wanted.items()}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        signal.set_wakeup_fd(-1)
        self._woken.close()
        self._wakes.close()

    def _ask_to_stop(self, *_: object) -> None:
        self._is_stop_asked = True

    def _ask_to_reload(self, *_: object) -> None:
        self._is_reload_asked = True

    def wait(self, is_over: Callable[[], bool] = lambda: False, within_s: float = float("inf")) -> bool:
        """Until a stop is asked for, `is_over`, or so many seconds passed; whether to stop, for one of the first two."""
        left_s = within_s
        while not (self._is_stop_asked or is_over()):
            if self._is_reload_asked and self._reload is not None:
                self._is_reload_asked = False
                self._reload()
            if left_s <= 0:
                return False
            if select.select([self._woken], [], [], min(LOOK_S, left_s))[0]:
                self._woken.recv(4096)
            else:
                left_s -= LOOK_S
        return True
