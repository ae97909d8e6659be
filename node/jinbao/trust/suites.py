"""Cryptographic suites 密码套件 in one table: which hash, signature and encryption an id stands for.

The id travels in every envelope, answer and sealed object, so that what was signed says by
which rules; a receiver knows a closed list and refuses the rest. `national-1` 国密 is here
because its hash and cipher are at hand; its signature is not, so nothing is sealed with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from jinbao.model.errors import UnprovableError

P256, INTL, NATIONAL = "p256-sha256", "intl-1", "national-1"
NONCE_BYTES, TAG_BYTES = 12, 16
"""Of GCM (NIST SP 800-38D; GB/T 36624 for SM4)."""

Verify = Callable[[PublicKeyTypes, bytes, bytes], None]
"""Key, signature, message; raises InvalidSignature, or TypeError for a key of another kind."""


def _ecdsa(key: PublicKeyTypes, signature: bytes, message: bytes) -> None:
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        msg = _kind(key)
        raise TypeError(msg)
    key.verify(signature, message, ec.ECDSA(hashes.SHA256()))


def _ed25519(key: PublicKeyTypes, signature: bytes, message: bytes) -> None:
    if not isinstance(key, ed25519.Ed25519PublicKey):
        msg = _kind(key)
        raise TypeError(msg)
    key.verify(signature, message)


def _kind(key: PublicKeyTypes) -> str:
    """A key's kind in a word, for people."""
    return key.curve.name if isinstance(key, ec.EllipticCurvePublicKey) else type(key).__name__


@dataclass(frozen=True, slots=True)
class Suite:
    """One row: `verify` is None where the library has no such signature, and then nothing is sealed by it.

    `key` names the kind of key a signer must have. `shares_tls_key` says whether seals and TLS
    use one certificate, as release 0.1 did.
    """

    id: str
    hash: hashes.HashAlgorithm
    signature: str
    key: str
    cipher: str
    verify: Verify | None
    shares_tls_key: bool = False

    def digest(self, content: bytes) -> bytes:
        """The suite's hash of some bytes, 32 bytes in every suite of the table."""
        running = hashes.Hash(self.hash)
        running.update(content)
        return running.finalize()

    def encrypt(self, key: bytes, nonce: bytes, content: bytes, associated: bytes = b"") -> bytes:
        """Ciphertext and tag; a nonce of 12 bytes is never used twice with one key."""
        if self.cipher == "AES-256-GCM":
            return AESGCM(key).encrypt(nonce, content, associated)
        running = Cipher(algorithms.SM4(key), modes.GCM(nonce)).encryptor()
        running.authenticate_additional_data(associated)
        return running.update(content) + running.finalize() + running.tag

    def decrypt(self, key: bytes, nonce: bytes, content: bytes, associated: bytes = b"") -> bytes:
        """What was encrypted; raises UnprovableError for another key, nonce, content or associated bytes."""
        try:
            if self.cipher == "AES-256-GCM":
                return AESGCM(key).decrypt(nonce, content, associated)
            body, tag = content[:-TAG_BYTES], content[-TAG_BYTES:]
            running = Cipher(algorithms.SM4(key), modes.GCM(nonce, tag)).decryptor()
            running.authenticate_additional_data(associated)
            return running.update(body) + running.finalize()
        except (InvalidTag, ValueError) as exc:
            raise UnprovableError(
                f"{self.cipher} content", expected="what this key encrypted", got="other bytes"
            ) from exc


SUITES: dict[str, Suite] = {
    suite.id: suite
    for suite in (
        Suite(
            P256, hashes.SHA256(), "ECDSA P-256, SHA-256", "P-256", "AES-256-GCM", _ecdsa, shares_tls_key=True
        ),
        Suite(INTL, hashes.SHA256(), "Ed25519", "Ed25519", "AES-256-GCM", _ed25519),
        Suite(NATIONAL, hashes.SM3(), "SM2 with SM3", "SM2", "SM4-GCM", None),
    )
}
"""Every suite by its id."""


def sealing_suite(suite_id: str, *, thing: str) -> Suite:
    """The suite of an id that seals can be checked by; raises UnprovableError for any other."""
    suite = SUITES.get(suite_id)
    if suite is None or suite.verify is None:
        known = " or ".join(s.id for s in SUITES.values() if s.verify)
        raise UnprovableError(f"{thing}: suite", expected=known, got=suite_id[:40] or "none")
    return suite


def check_signature(
    suite: Suite, key: PublicKeyTypes, signature: bytes, message: bytes, *, thing: str
) -> None:
    """Raise UnprovableError unless `key` made `signature` over `message` by the rules of `suite`."""
    assert suite.verify is not None, "only a sealing suite is asked"
    try:
        suite.verify(key, signature, message)
    except TypeError as exc:
        raise UnprovableError(f"{thing}: key", expected=suite.key, got=_kind(key)) from exc
    except InvalidSignature as exc:
        raise UnprovableError(
            f"{thing}: seal",
            expected="the signer's over these bytes",
            got="another",
            next_step="fetch it again",
        ) from exc
