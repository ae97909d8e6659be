"""Where a zone's two sockets lie, and how a path too long for a socket is still named.

A socket's name holds 107 bytes (unix(7)). A longer one is named through an open handle of its
directory, which Linux offers under /proc/self/fd; the file lies where it should all the same.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from jinbao.model.errors import LocalError

ADMIN, READ = "admin.sock", "read.sock"
PATH_BYTES_MAX = 107


@dataclass(frozen=True, slots=True)
class SocketName:
    """A name that fits; `handle` is kept open as long as the name is used, -1 if there is none."""

    name: str
    handle: int = -1

    def close(self) -> None:
        """Give the handle back."""
        if self.handle >= 0:
            os.close(self.handle)


def socket_name(path: Path) -> SocketName:
    """The socket's path, or a short name for it; raises LocalError where its directory is missing."""
    if len(os.fsencode(path)) <= PATH_BYTES_MAX:
        return SocketName(str(path))
    try:
        handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as exc:
        raise LocalError(f"socket {path}", expected="its directory", got=exc.strerror or "none") from exc
    return SocketName(f"/proc/self/fd/{handle}/{path.name}", handle)


def listening(path: Path) -> bool:
    """Whether somebody answers at a socket; raises PermissionError if this account may not ask."""
    if not path.exists():
        return False
    name = socket_name(path)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.connect(name.name)
    except (ConnectionRefusedError, FileNotFoundError):
        return False  # left by a process that was killed
    finally:
        name.close()
    return True
