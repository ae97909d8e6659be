"""How a running zone is told of to its service manager: ready, what it does now, alive, reloading, stopping.

Two threads, so that a database that is slow to say what is held keeps back a line and no sign of life. The
sign is given only while every worker makes its rounds: a zone that hangs is ended, and started again, by
whoever waits for the sign. Does not judge what a round does, nor end anything itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from jinbao.appliance.notify import ServiceManager
from jinbao.model.errors import JinbaoError
from jinbao.model.masking import mask_numbers

LOOK_S = 1.0
"""How often the line is looked at, at most: an operator who asks for the status looks again after a second."""

SIGNS_PER_WATCHDOG = 3
"""Signs of life in the time the manager waits for one: two may come late on a busy host."""

NAMES_MAX, REASON_CHARACTERS_MAX = 6, 300


READY_WITHIN_S = 10.0
"""A zone in whose own first rounds something is amiss, such as a source that is away, is told ready after this: it can
be asked, and its manager would end it otherwise. The line says what is not well."""


_WAITING = "follow "
"""Workers whose rounds wait for a neighbour's news: being in one says nothing, and a neighbour that is down is not ours."""


class Works(Protocol):
    """A worker, as far as it is watched."""

    @property
    def rounds(self) -> int:
        """Rounds it has ended, well or not."""
        ...

    @property
    def last_error(self) -> JinbaoError | None:
        """Why its last round did not end well; None where it did."""
        ...

    def busy_s(self, now: float) -> float:
        """How long it shows no sign of life in a round; 0 between rounds."""
        ...


class Told(Protocol):
    """What is asked of a zone to tell of it."""

    @property
    def workers(self) -> Mapping[str, Works]:
        """Workers by name."""
        ...

    def readiness(self) -> list[str]:
        """Why the zone is not ready, as `/-/ready` says; empty when it is."""
        ...

    def unable(self) -> list[str]:
        """Those of the reasons for which the zone can do nothing at all: its database is away, or it ends."""
        ...

    def reload(self) -> None:
        """Take up what was laid down: a renewed identity, trust documents."""
        ...


class Teller:
    """Tells one manager of one zone from `start` to `stop`; does nothing where no manager listens."""

    def __init__(self, manager: ServiceManager, zone: Told, *, round_s_max: float) -> None:
        self._manager, self._zone, self._round_s_max = manager, zone, round_s_max
        self._stopped, self._reload = threading.Event(), threading.Event()
        self._wake = threading.Event()
        self._threads: list[threading.Thread] = []
        self._line = ""
        self._is_ready = False
        self._began = time.monotonic()

    def start(self) -> None:
        """Begin to tell, and take SIGHUP for a reload from now on."""
        self._begin("tell", self._tell)
        if self._manager.watchdog_s:
            self._begin("watchdog", self._sign)

    def _begin(self, name: str, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def stopping(self) -> None:
        """Say that the zone ends, before it begins to."""
        self._manager.tell("STOPPING=1", "STATUS=stopping 正在停止")
        self._stopped.set()
        self._wake.set()

    def stop(self) -> None:
        """End the threads; one that waits for the database ends with the process."""
        self._stopped.set()
        self._wake.set()
        for thread in self._threads:
            thread.join(LOOK_S)

    def ask_to_reload(self) -> None:
        """Reload at the next look."""
        self._reload.set()
        self._wake.set()

    def _sign(self) -> None:
        pause_s = self._manager.watchdog_s / SIGNS_PER_WATCHDOG
        while not self._stopped.is_set():
            if not self._hung():
                self._manager.tell("WATCHDOG=1")
            self._stopped.wait(pause_s)

    def _hung(self) -> list[str]:
        """Workers that show no sign of life for longer than a round may take."""
        now = time.monotonic()
        return [n for n, w in list(self._zone.workers.items()) if w.busy_s(now) > self._round_s_max]

    def _tell(self) -> None:
        while not self._stopped.is_set():
            if self._reload.is_set():
                self._reload.clear()
                self._reloaded()
            if self._manager.listens:
                self._look()
            self._wake.wait(LOOK_S if self._manager.listens else None)
            self._wake.clear()

    def _look(self) -> None:
        """Say that the zone is ready once it is, and what it does whenever that changed."""
        lines = []
        if not self._is_ready and self._may_serve():
            self._is_ready = True
            lines.append("READY=1")
        line = self.line()
        if line != self._line:
            self._line = line
            lines.append(f"STATUS={line}")
        if lines and not self._stopped.is_set():
            self._manager.tell(*lines)

    def _may_serve(self) -> bool:
        """Whether a first round of everything it does by itself found nothing amiss, or has had its time."""
        own = [w for name, w in list(self._zone.workers.items()) if not name.startswith(_WAITING)]
        is_well = all(worker.rounds and worker.last_error is None for worker in own)
        return (is_well or time.monotonic() - self._began > READY_WITHIN_S) and not self._zone.unable()

    def _reloaded(self) -> None:
        self._manager.tell(
            "RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"
        )
        try:
            self._zone.reload()
        finally:
            self._manager.tell("READY=1")

    def line(self) -> str:
        """What the zone does now, in one line: hung, not ready and why, or ready and which workers work."""
        hung, reasons, now = self._hung(), self._zone.readiness(), time.monotonic()
        if hung:
            return f"hung 停滞: {_some(hung)}"
        own = [(n, w) for n, w in list(self._zone.workers.items()) if not n.startswith(_WAITING)]
        busy = [name for name, worker in own if worker.busy_s(now) > LOOK_S]
        does = f"; works 在做: {_some(busy)}" if busy else ""
        if not reasons:
            return ("ready 就绪" if self._is_ready else "starting 正在启动") + does
        return f"not ready 未就绪: {_first(reasons)}{does}"


def _first(reasons: Sequence[str]) -> str:
    """The first reason, whole enough to act on, and how many more there are; one line, no person in it."""
    more = f" (+{len(reasons) - 1})" if len(reasons) > 1 else ""
    return mask_numbers(" ".join(reasons[0].split()))[:REASON_CHARACTERS_MAX] + more


def _some(names: Iterable[str]) -> str:
    found = sorted(names)
    return ", ".join(found[:NAMES_MAX]) + (" …" if len(found) > NAMES_MAX else "")
