"""Keys of persons 个人密钥: by which a person signs that a data centre is lost. One file, under that person's passphrase.

The public half stands in the settings of whoever grants. What is signed is not said here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jinbao.authority.signing_keys import create_signing_key, load_signing_key
from jinbao.model.declarant import encoded


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
    """Write a new key, which is not there yet, under that person's passphrase; raises as `create_signing_key`."""
    return PersonKey(create_signing_key(path, passphrase))


def load_person_key(path: Path, passphrase: bytes) -> PersonKey:
    """Read a person's key; raises as `load_signing_key`."""
    return PersonKey(load_signing_key(path, passphrase, "jinbao standby key create person"))
