"""The release key 发布密钥: Ed25519, by which an operator signs what a bundle holds. It never lies on a node.

The signature is over the bytes of one file, so that a target needs nothing of ours to verify it:

    openssl pkeyutl -verify -pubin -inkey release.pub.pem -rawin -in SHA256SUMS -sigfile SHA256SUMS.sig
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from jinbao.authority.signing_keys import create_signing_key, load_signing_key, require_none
from jinbao.model.errors import SettingsError, UnprovableError


@dataclass(frozen=True)
class ReleaseKey:
    """The private key of whoever releases."""

    private: Ed25519PrivateKey

    def sign(self, message: bytes) -> bytes:
        """The signature, 64 bytes."""
        return self.private.sign(message)

    @property
    def public_pem(self) -> bytes:
        """The public half, for whoever installs."""
        return self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def create_release_key(path: Path, public: Path, passphrase: bytes) -> ReleaseKey:
    """Write a new key under a passphrase, and its public half; neither is there yet. Raises as `create_signing_key`."""
    require_none(public)
    made = ReleaseKey(create_signing_key(path, passphrase))
    public.write_bytes(made.public_pem)
    return made


def load_release_key(path: Path, passphrase: bytes) -> ReleaseKey:
    """Read a private key; raises as `load_signing_key`."""
    return ReleaseKey(load_signing_key(path, passphrase, "jinbao bundle key"))


def verify_release(public: Path, message: bytes, signature: bytes) -> None:
    """Raise UnprovableError unless the key of a public file signed the message, SettingsError for no such file."""
    try:
        key = load_pem_public_key(public.read_bytes())
    except OSError as exc:
        raise SettingsError(f"public key {public}", expected="a PEM file", got=exc.strerror) from exc
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise SettingsError(f"public key {public}", expected="PEM", got="something else") from exc
    if not isinstance(key, Ed25519PublicKey):
        raise SettingsError(f"public key {public}", expected="an Ed25519 key", got="another kind")
    try:
        key.verify(signature, message)
    except InvalidSignature as exc:
        raise UnprovableError(
            "signature of the bundle", expected=f"one of the key in {public}", got="another"
        ) from exc
