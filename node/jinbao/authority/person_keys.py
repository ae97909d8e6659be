"""Keys of persons 个人密钥: by which a person signs that a data centre is lost. One file, under that person's passphrase.

The public half stands in the settings of whoever grants. What is signed is not said here.
"""

from __future__ import annotations

from dataclasses import dataclass
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
from jinbao.model.declarant import encoded
from jinbao.model.errors import LocalError, SettingsError, UsageError


@dataclass(frozen=True)
class PersonKey:
    """The private key of one person."""

    private: Ed25519PrivateKey

    @property
    def public_text(self) -> str:
        """The public half as it stands in settings and beside a signature."""
        return encoded(self.private.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        """The signature, 64 bytes."""
        return self.private.sign(message)


def create_person_key(path: Path, passphrase: bytes) -> PersonKey:
    """Write a new private key, which is not there yet, under a passphrase; raises UsageError for none or a longer one."""
    if path.exists():
        raise LocalError(f"key file {path}", expected="none yet", got="a file", next_step="name another file")
    if not 0 < len(passphrase) <= PASSPHRASE_BYTES_MAX:
        raise UsageError(
            "passphrase", expected=f"1 to {PASSPHRASE_BYTES_MAX} bytes", got=str(len(passphrase))
        )
    private = Ed25519PrivateKey.generate()
    protection = BestAvailableEncryption(passphrase)
    write_private(path, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection))
    return PersonKey(private)


def load_person_key(path: Path, passphrase: bytes) -> PersonKey:
    """Read a private key; raises UsageError for a wrong passphrase or a key under none, SettingsError for no such key."""
    check_private(path)
    try:
        private = load_pem_private_key(path.read_bytes(), passphrase)
    except TypeError as exc:  # a key that whoever copies the file can use is no person's
        raise UsageError(
            f"key file {path}",
            expected="a key under a passphrase",
            got="one under none",
            next_step="jinbao standby key create person",
        ) from exc
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise UsageError(
            f"key file {path}", expected="a key that the passphrase opens", got="something else"
        ) from exc
    if not isinstance(private, Ed25519PrivateKey):
        raise SettingsError(f"key file {path}", expected="an Ed25519 key", got="another kind")
    return PersonKey(private)
