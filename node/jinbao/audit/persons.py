"""Whose: a person's number as a keyed hash, so that a trail can be searched by a number and does not hold it.

The key is the zone's own, 32 bytes in a file of its account alone. Without it the hashes can
neither be searched nor guessed from the few hundred million numbers there are.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from jinbao.model.errors import LocalError
from jinbao.model.masking import mask

FILE = "audit.key"
_KEY_BYTES = 32
_MAC_CHARACTERS = 32
"""128 bits: no two persons of a country share one by chance."""


class PersonKey:
    """The zone's key; made when there is none, refused when others could read it."""

    def __init__(self, directory: Path) -> None:
        self._key = _read(directory / FILE)

    def mac(self, number: str) -> str:
        """The keyed hash of a number, whatever its case and the space around it."""
        plain = number.strip().upper().encode()
        return hmac.new(self._key, plain, hashlib.sha256).hexdigest()[:_MAC_CHARACTERS]

    def persons(self, numbers: Iterable[str]) -> tuple[tuple[str, str], ...]:
        """Keyed hash and masked form of each different number."""
        return tuple((self.mac(number), mask(number.strip())) for number in dict.fromkeys(numbers))


def _read(path: Path) -> bytes:
    if not path.exists():
        _make(path)
    mode = path.stat().st_mode & 0o777
    key = path.read_bytes()
    if mode & 0o077 or len(key) != _KEY_BYTES:
        raise LocalError(
            f"audit key {path}",
            expected=f"{_KEY_BYTES} bytes its own account alone may read",
            got=f"{len(key)} bytes, mode {mode:o}",
            next_step="chmod 600, or put back the key from the backup: another finds nobody in older entries",
        )
    return key


def _make(path: Path) -> None:
    """A new key, whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, secrets.token_bytes(_KEY_BYTES))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    part.replace(path)
