"""The lock of a zone's directory: never two processes have a zone open.

The lock is the kernel's (flock), so that it ends with its process however that ends. The file
says who holds it and for what: a zone that starts waits for a question that is being answered
offline, and a question waits for a zone that is starting; two servers refuse each other.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from jinbao.model.errors import LocalError

FILE = "lock"
_POLL_S = 0.05
_PARTS = 2  # a process and its purpose
_SETTLE_S = 1.0  # a new holder needs a moment to write its name over the last one's


class Purpose(StrEnum):
    """What a process opens a zone for."""

    SERVE = "serve"
    QUESTION = "question"
    DATABASE = "database"


class LockedError(LocalError):
    """Another process has the zone open."""

    def __init__(self, directory: Path, holder: str) -> None:
        super().__init__(
            f"zone directory {directory}",
            expected="no other process",
            got=f"process {holder or 'unknown'}",
            next_step="speak to the running zone, or stop it first",
        )
        self.serves = holder.endswith(Purpose.SERVE)


def require_owner(directory: Path) -> None:
    """Raise LocalError unless a zone's directory is this account's own: what another leaves in it, the zone cannot open.

    Also root may not: its files would keep the zone from starting. A directory that is not there has no owner yet.
    """
    try:
        owner = directory.stat().st_uid
    except OSError:
        return
    if owner == os.geteuid():
        return
    try:
        account = pwd.getpwuid(owner).pw_name
    except KeyError:
        account = f"uid {owner}"
    raise LocalError(
        f"zone directory {directory}",
        expected=f"to be run by its owner, {account}",
        got=f"uid {os.geteuid()}",
        next_step=f"runuser -u {account} -- jinbao …",
    )


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a zone open, as it says itself, and since when (seconds since 1970)."""

    pid: int
    purpose: str
    since: float


def holder(directory: Path) -> Holder | None:
    """Who has the zone open now; None if nobody. Raises OSError for a lock this account may not look at.

    Takes the lock shared for less than the pause between two tries of whoever waits for it.
    """
    try:
        descriptor = os.open(directory / FILE, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        said, since = (
            os.pread(descriptor, 64, 0).decode("ascii", "replace").split(),
            os.fstat(descriptor).st_mtime,
        )
        pid, purpose = said if len(said) == _PARTS else ("0", "")
        return Holder(int(pid) if pid.isdecimal() else 0, purpose, since)
    else:
        return None
    finally:
        os.close(descriptor)


def lock(
    directory: Path, purpose: Purpose, wait_s: float = 0.0, *, as_is: bool = False
) -> Callable[[], None]:
    """Make this process the only one that has the zone open; returns what lets go of it.

    The directory is made, and closed to others, unless it is to be left `as_is`.

    Waits up to `wait_s` seconds for a question to be answered; raises LockedError naming who
    holds the zone then, or as soon as it is sure that the holder serves.
    """
    if not as_is:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
    descriptor = os.open(directory / FILE, os.O_RDWR | os.O_CREAT, 0o600)
    began = time.monotonic()
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            locked = LockedError(directory, os.pread(descriptor, 64, 0).decode("ascii", "replace").strip())
        if time.monotonic() - began >= (min(wait_s, _SETTLE_S) if locked.serves else wait_s):
            os.close(descriptor)
            raise locked
        time.sleep(_POLL_S)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()} {purpose}\n".encode(), 0)
    return lambda: os.close(descriptor)
