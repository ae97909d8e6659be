"""What a zone tells the service manager that started it, by the notify protocol of systemd (sd_notify(3)).

One datagram per message on the socket NOTIFY_SOCKET names, in the file system or abstract. Whoever was
started by hand has no such socket, and nothing is said. Does not know what a zone is, nor when it is well.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress
from dataclasses import dataclass

SOCKET, WATCHDOG_US, WATCHDOG_PID = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"


@dataclass(frozen=True, slots=True)
class ServiceManager:
    """Who is told; `watchdog_s` is how long it waits for a sign of life, 0 where it does not."""

    address: str = ""
    watchdog_s: float = 0.0

    @classmethod
    def of(cls, environment: MutableMapping[str, str]) -> ServiceManager:
        """As the environment says; it is taken out of it, so that no child speaks for this process."""
        address, told_us = environment.pop(SOCKET, ""), environment.pop(WATCHDOG_US, "")
        meant = environment.pop(WATCHDOG_PID, "") in {"", str(os.getpid())}
        return cls(address, int(told_us) / 1e6 if meant and told_us.isdecimal() else 0.0)

    @property
    def listens(self) -> bool:
        """Whether anybody is to be told."""
        return bool(self.address)

    def tell(self, *lines: str) -> None:
        """Send one message; one that cannot be sent is lost, for the manager's trouble is not the zone's."""
        if not self.address:
            return
        name = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            out.setblocking(False)
            out.sendto("\n".join(lines).encode(), name)
