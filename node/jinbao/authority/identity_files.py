"""A zone's key and certificates on disk: `key.pem` (0600), `chain.pem` (leaf first), `anchors.pem`.

The key never leaves its file but to sign; it is in no log, argument or environment.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from jinbao.model.errors import SettingsError
from jinbao.trust.suites import P256

KEY, CHAIN, ANCHORS = "key.pem", "chain.pem", "anchors.pem"
T = TypeVar("T")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True)
class ZoneIdentity:
    """Key, chain and anchors of one zone; signs seals and challenges."""

    key: ec.EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...]
    anchors: tuple[x509.Certificate, ...]
    directory: Path

    suite: str = P256
    trust: tuple[bytes, ...] = ()

    @property
    def until(self) -> datetime:
        """When the first of our certificates ends, UTC."""
        return min(certificate.not_valid_after_utc for certificate in self.chain)

    @property
    def certificates(self) -> tuple[bytes, ...]:
        """The chain as DER, leaf first."""
        return tuple(certificate.public_bytes(Encoding.DER) for certificate in self.chain)

    def sign(self, message: bytes) -> bytes:
        """ECDSA P-256 SHA-256 signature, DER."""
        return self.key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))

    def pem(self, name: str) -> bytes:
        """One of the files as it lies on disk, for the TLS library."""
        return (self.directory / name).read_bytes()


def _read(path: Path, expected: str, load: Callable[[bytes], T]) -> T:
    """What a PEM file holds; the library's words on a file it cannot read never repeat its contents."""
    try:
        return load(path.read_bytes())
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise SettingsError(
            f"identity file {path}", expected=expected, got=str(exc), next_step="enrol this zone"
        ) from exc


def load_identity(directory: Path) -> ZoneIdentity:
    """Read a zone's identity; refuses to start on a missing file, another key type or a readable key."""
    for name in (KEY, CHAIN, ANCHORS):
        if not (directory / name).is_file():
            raise SettingsError(
                f"identity file {directory / name}",
                expected="a PEM file",
                got="none",
                next_step="enrol this zone",
            )
    mode = stat.S_IMODE((directory / KEY).stat().st_mode)
    if mode & _OTHERS:
        raise SettingsError(
            f"key file {directory / KEY}",
            expected="mode 0600",
            got=f"{mode:04o}",
            next_step=f"chmod 600 {directory / KEY}",
        )
    key = _read(directory / KEY, "a P-256 key", lambda pem: load_pem_private_key(pem, password=None))
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise SettingsError(f"key file {directory / KEY}", expected="a P-256 key", got="another kind")
    chain = _read(directory / CHAIN, "certificates", x509.load_pem_x509_certificates)
    anchors = _read(directory / ANCHORS, "certificates", x509.load_pem_x509_certificates)
    if chain[0].public_key() != key.public_key():
        raise SettingsError(
            f"key file {directory / KEY}", expected="the key of the certificate beside it", got="another"
        )
    return ZoneIdentity(key, tuple(chain), tuple(anchors), directory)


def marker(directory: Path) -> tuple[object, ...]:
    """What changes when another identity is laid down: compare it, nothing else."""
    files = (directory / KEY, directory / CHAIN, directory / ANCHORS)
    return tuple((f.stat().st_ino, f.stat().st_mtime_ns) for f in files if f.exists())
