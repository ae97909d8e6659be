"""Files only their owner may read, written so that a crash leaves the old or the new, never a part."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from jinbao.model.errors import SettingsError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def make_private(directory: Path) -> None:
    """Create a directory of mode 0700, or give one that is there that mode."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)


def write_private(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 and make it durable; whoever finds the name finds all of it."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_private(path: Path) -> None:
    """Raise SettingsError unless `path` is a file its owner alone may read."""
    if not path.is_file():
        raise SettingsError(f"key file {path}", expected="a PEM file", got="none")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & _OTHERS:
        raise SettingsError(
            f"key file {path}", expected="mode 0600", got=f"{mode:04o}", next_step=f"chmod 600 {path}"
        )


def read_secret(path: Path) -> bytes:
    """The first line of a file its owner alone may read: a passphrase."""
    check_private(path)
    lines = path.read_bytes().splitlines()
    if not lines or not lines[0]:
        raise SettingsError(f"passphrase file {path}", expected="a passphrase on its first line", got="none")
    return lines[0]
