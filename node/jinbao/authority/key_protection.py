"""The passphrase under which a zone's private keys lie on disk, where its service manager hands it one.

It is the credential `identity-passphrase` (systemd.exec(5), LoadCredential=): a file of root's, shown to the one
service and to nobody else. Whoever takes a zone's directory then has no key. Without it keys are plain PEM, 0600.
Keys that wait for an answer of the authority lie under it too, if whoever made them had it; keys in memory are not what
this is about.
"""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from jinbao.model.errors import SettingsError

DIRECTORY = "CREDENTIALS_DIRECTORY"
CREDENTIAL = "identity-passphrase"
AUTHORITY_CREDENTIAL = "authority-passphrase"
"""What opens the key of an issuing authority that is a service of its own."""

_LOCKED = b"-----BEGIN ENCRYPTED PRIVATE KEY-----"


def credential(name: str) -> Path | None:
    """The file of a credential of this service; None where it was given none of that name."""
    directory = os.environ.get(DIRECTORY, "")
    path = Path(directory) / name
    return path if directory and path.is_file() else None


def passphrase(name: str = CREDENTIAL) -> bytes:
    """The passphrase this service was handed; empty where there is none. Raises SettingsError for one it cannot read."""
    path = credential(name)
    if path is None:
        return b""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as exc:
        raise SettingsError(f"credential {path}", expected="a readable file", got=exc.strerror) from exc
    if not lines or not lines[0]:
        raise SettingsError(f"credential {path}", expected="a passphrase on its first line", got="none")
    return lines[0]


def is_locked(pem: bytes) -> bool:
    """Whether a key lies under a passphrase."""
    return pem.startswith(_LOCKED)


def locked(pem: bytes) -> bytes:
    """The key as it is to lie on disk: under this service's passphrase, or as it is where there is none."""
    secret = passphrase()
    if not secret or is_locked(pem):
        return pem
    key = load_pem_private_key(pem, password=None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(secret))


def unlocked(pem: bytes, path: Path) -> bytes:
    """The key as plain PEM, for this process alone; raises SettingsError where the passphrase does not open it."""
    if not is_locked(pem):
        return pem
    secret = passphrase()
    if not secret:
        raise SettingsError(
            f"key file {path}",
            expected=f"its passphrase, as the credential {CREDENTIAL}",
            got="none",
            next_step="run it as its unit does: docs/how-to/run-under-systemd.md",
        )
    try:
        key = load_pem_private_key(pem, password=secret)
    except ValueError as exc:
        raise SettingsError(
            f"key file {path}", expected="a key that the passphrase opens", got="something else"
        ) from exc
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
