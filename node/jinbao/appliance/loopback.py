"""Free ports of this machine's loopback, for networks that live on one machine: demonstration, tests, benchmarks.

They lie outside the range from which the kernel takes the near end of outgoing connections:
a listener's port would otherwise be another connection's now and then. Nothing is reserved:
between the answer and the listener another program can still be faster.
"""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from jinbao.model.errors import LocalError

_KERNEL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST, _HIGHEST = 10_000, 65_535
"""Below the lowest are the ports of well-known services."""
_USUAL = range(32_768, 61_000)
"""What the kernel takes where it does not say: Linux unless it is told otherwise."""
_LEAST = 1000
"""Fewer ports than this on one side of the kernel's range are too few for a large network."""


def ephemeral(file: Path = _KERNEL_RANGE) -> range:
    """Ports the kernel gives to outgoing connections."""
    try:
        first, last = file.read_text(encoding="ascii").split()
    except FileNotFoundError:  # no Linux
        return _USUAL
    return range(int(first), int(last) + 1)


def listening(taken: range) -> range:
    """Ports for listeners: below those that are `taken`, or above them, or all where neither has room."""
    below, above = range(_LOWEST, taken.start), range(taken.stop, _HIGHEST + 1)
    return next((ports for ports in (below, above) if len(ports) >= _LEAST), range(_LOWEST, _HIGHEST + 1))


class FreePorts:
    """Hands out each port of a range once, those after one another from a place chosen by lot.

    So two processes meet only where their stretches overlap, and not wherever two draws of
    hundreds fall on one port.
    """

    def __init__(self, ports: range) -> None:
        first = secrets.randbelow(len(ports))
        self._ports = ports
        self._left: Iterator[int] = chain(ports[first:], ports[:first])
        self._lock = threading.Lock()

    def take(self) -> int:
        """A port nobody listens on now; raises LocalError when all were handed out or are in use."""
        with self._lock:
            port = next((port for port in self._left if _is_free(port)), None)
        if port is None:
            place = f"ports {self._ports.start} to {self._ports.stop - 1}"
            raise LocalError(
                place,
                expected="one that is free",
                got="none that this process did not use",
                next_step="end what listens there",
            )
        return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:  # somebody's, or not for this account
            return False
    return True


_mine = FreePorts(listening(ephemeral()))


def free_port() -> int:
    """A loopback port nobody listens on now, never the same twice within this process."""
    return _mine.take()
