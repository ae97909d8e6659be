"""A TCP wire between two ends that can be cut, reset, silenced, and made to lose the answers."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

_BLOCK = 4096
_RESET = struct.pack("ii", 1, 0)


class Wire:
    """Forwards loopback connections to `target`; every fault is an attribute that may change at any time.

    `parted`: connections are reset at once, and those that stand are cut. `answers_lost`: what
    comes from the target is dropped. `silent`: a connection is accepted and nothing forwarded.
    `stalls_after`: only so many bytes of each connection come from the target, then none.
    `cuts`: the next connections are reset after so many bytes from the target, one number each.
    `on_request` is told how many bytes went to the target so far, before the next ones do.
    `bytes_per_s`: all answers together are no faster. `delay_s`: how long each block of an answer
    is late, asked anew every time. A target that begins with a slash is a unix socket.
    """

    def __init__(self, target: str) -> None:
        self.parted = self.answers_lost = self.silent = False
        self.stalls_after: int | None = None
        self.bytes_per_s = 0.0
        self.delay_s: Callable[[], float] = lambda: 0.0
        self._line, self._age = threading.Lock(), 0
        self.cuts: list[int] = []
        self.connections = self.requested = 0
        self.on_request: Callable[[int], None] = lambda _: None
        self._target = target
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._start(self._accept)

    def _start(self, run: object, *parts: object) -> None:
        thread = threading.Thread(target=run, args=parts, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self.connections += 1
                if self.parted:
                    _reset(near)
                    continue
                self._keep(near)
                if not self.silent:
                    self._join(near)

    def _keep(self, end: socket.socket) -> None:
        with self._lock:
            self._open.append(end)

    def _join(self, near: socket.socket) -> None:
        try:
            far = _connected(self._target, narrow=self.bytes_per_s > 0)
        except OSError:  # nobody listens there just now
            _reset(near)
            return
        self._keep(far)
        budget = self.cuts.pop(0) if self.cuts else None
        self._start(self._requests, near, far, self._age)
        self._start(self._answers, far, near, budget, self._age)

    def _requests(self, source: socket.socket, target: socket.socket, age: int) -> None:
        with suppress(OSError):
            while block := source.recv(_BLOCK):
                if age != self._age:
                    continue
                self.requested += len(block)
                self.on_request(self.requested)
                target.sendall(block)
        _shut(target)

    def _answers(self, source: socket.socket, target: socket.socket, budget: int | None, age: int) -> None:
        came = 0
        with suppress(OSError):
            while block := source.recv(_BLOCK if budget is None else min(_BLOCK, budget)):
                came += len(block)
                if age != self._age:
                    continue
                self._travel(len(block))
                if not self.answers_lost and (self.stalls_after is None or came <= self.stalls_after):
                    target.sendall(block)
                if budget is not None:
                    budget -= len(block)
                    if budget <= 0:
                        target.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                        break
        _shut(source)
        self._close(target)

    def _travel(self, size: int) -> None:
        """Take the time a block takes, one block of the line after the other."""
        if self.bytes_per_s:
            with self._line:
                time.sleep(size / self.bytes_per_s)
        time.sleep(self.delay_s())

    def _close(self, end: socket.socket) -> None:
        _shut(end)
        end.close()

    def part(self) -> None:
        """Cut what stands, and refuse what comes until `heal`."""
        self.parted = True
        with self._lock:
            for end in self._open:
                _shut(end)

    def clog(self) -> None:
        """Forward nothing from now on; what stands stays open and is dead for good, as behind a lost route."""
        self._age += 1
        self.silent = True

    def heal(self) -> None:
        """Forward everything from now on."""
        self.parted = self.answers_lost = self.silent = False

    def stop(self) -> None:
        """End every connection and every thread."""
        _shut(self._listener)
        self._listener.close()
        for end in self._open:
            _shut(end)
        for thread in self._threads:
            thread.join(5)
        for end in self._open:
            end.close()


def _connected(target: str, *, narrow: bool = False) -> socket.socket:
    if target.startswith("/"):
        far = socket.socket(socket.AF_UNIX)
        try:
            far.connect(target)
        except OSError:
            far.close()
            raise
        return far
    host, _, port = target.rpartition(":")
    far = socket.socket()
    if narrow:  # or the system would take in a whole segment before the line is asked
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
    try:
        far.connect((host, int(port)))
    except OSError:
        far.close()
        raise
    return far


def _shut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


def _reset(end: socket.socket) -> None:
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    end.close()


@contextmanager
def wire(target: str, cuts: Sequence[int] = ()) -> Iterator[Wire]:
    """A wire to `target`, ended afterwards."""
    made = Wire(target)
    made.cuts = list(cuts)
    try:
        yield made
    finally:
        made.stop()
