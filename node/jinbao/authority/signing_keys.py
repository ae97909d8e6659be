"""Ed25519 keys by which people sign: one file each, under a passphrase. What is signed is not said here."""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from jinbao.authority.copy_keys import PASSPHRASE_BYTES_MAX
from jinbao.authority.private_files import check_private, write_private
from jinbao.model.errors import LocalError, SettingsError, UsageError


def require_none(path: Path) -> None:
    """Raise LocalError for a key file that is there already: no key is written over."""
    if path.exists():
        raise LocalError(f"key file {path}", expected="none yet", got="a file", next_step="name another file")


def create_signing_key(path: Path, passphrase: bytes) -> Ed25519PrivateKey:
    """Write a new private key, which is not there yet, under a passphrase; raises UsageError for none or a longer one."""
    require_none(path)
    if not 0 < len(passphrase) <= PASSPHRASE_BYTES_MAX:
        raise UsageError(
            "passphrase", expected=f"1 to {PASSPHRASE_BYTES_MAX} bytes", got=str(len(passphrase))
        )
    private = Ed25519PrivateKey.generate()
    protection = BestAvailableEncryption(passphrase)
    write_private(path, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection))
    return private


def load_signing_key(path: Path, passphrase: bytes, made_by: str) -> Ed25519PrivateKey:
    """Read a private key; raises UsageError for a wrong passphrase or a key under none, SettingsError for no such key.

    `made_by` is the command that makes one.
    """
    check_private(path)
    try:
        private = load_pem_private_key(path.read_bytes(), passphrase)
    except TypeError as exc:  # a key that whoever copies the file can use is nobody's
        raise UsageError(
            f"key file {path}", expected="a key under a passphrase", got="one under none", next_step=made_by
        ) from exc
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise UsageError(
            f"key file {path}", expected="a key that the passphrase opens", got="something else"
        ) from exc
    if not isinstance(private, Ed25519PrivateKey):
        raise SettingsError(f"key file {path}", expected="an Ed25519 key", got="another kind")
    return private
