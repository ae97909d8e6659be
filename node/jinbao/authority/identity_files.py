"""A zone's keys and certificates on disk, in generations: a new one is written whole, then `current` points to it.

    identity/current -> g0003/   key.pem chain.pem seal-key.pem seal-chain.pem anchors.pem trust.pem

Keys are 0600, and lie under a passphrase where the zone's service has one (`key_protection`). Chains have the leaf
first; anchors are roots, trust is what was known of authorities and lists at enrolment. The layout of release 0.1,
`key.pem chain.pem anchors.pem` directly in `identity/`, is still read: one key then serves line and seals. Every
file is read once, so that a key always fits its chain; a key leaves its file only to sign and to let the TLS
library dial. It is in no log, argument or environment.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from jinbao.authority.key_protection import is_locked, locked, passphrase, unlocked
from jinbao.authority.private_files import check_private, make_private, sync_directory, write_private
from jinbao.authority.trust_files import read_trust
from jinbao.model.errors import JinbaoError, SettingsError
from jinbao.trust.identity import parse_identity
from jinbao.trust.suites import INTL, P256

KEY, CHAIN, ANCHORS = "key.pem", "chain.pem", "anchors.pem"
SEAL_KEY, SEAL_CHAIN, TRUST = "seal-key.pem", "seal-chain.pem", "trust.pem"
ENROLMENT = "enrolment.json"
"""Which authority certified this generation, and where it answers."""

_KEYS = (KEY, SEAL_KEY)
CURRENT = "current"
KEPT = 2
"""Generations that stay: the current one, and the one before for whoever reads it now."""

T = TypeVar("T")
_GENERATION = re.compile(r"g([0-9]{4,9})")


@dataclass(frozen=True)
class ZoneIdentity:
    """Keys, chains and anchors of one zone; signs seals and challenges.

    `directory` is the generation the files were read from, `files` their contents by name.
    """

    key: ec.EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...]
    anchors: tuple[x509.Certificate, ...]
    directory: Path
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    seal_key: ed25519.Ed25519PrivateKey | None = None
    seal_chain: tuple[x509.Certificate, ...] = ()
    trust: tuple[bytes, ...] = ()

    @property
    def suite(self) -> str:
        """The suite this zone seals in."""
        return P256 if self.seal_key is None else INTL

    @property
    def epoch(self) -> int:
        """At which our identity was granted, as the certificate that seals says."""
        return parse_identity((self.seal_chain or self.chain)[0]).epoch

    @property
    def until(self) -> datetime:
        """When the first of our certificates ends, UTC."""
        return min(c.not_valid_after_utc for c in (*self.chain[:1], *self.seal_chain[:1]))

    @property
    def tls_chain(self) -> tuple[x509.Certificate, ...]:
        """The chain of the key that serves the line."""
        return self.chain

    @property
    def certificates(self) -> tuple[bytes, ...]:
        """The chain of the key that seals, as DER, leaf first."""
        chain = self.seal_chain or self.chain
        return tuple(certificate.public_bytes(Encoding.DER) for certificate in chain)

    def sign(self, message: bytes) -> bytes:
        """The signature of the key that seals: Ed25519, or ECDSA P-256 SHA-256 in DER where it serves both."""
        if self.seal_key is not None:
            return self.seal_key.sign(message)
        return self.key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))

    def pem(self, name: str) -> bytes:
        """One of the files as it was read, for the TLS library."""
        return self.files[name]


def generation(directory: Path) -> Path:
    """Where the files of an identity are: the generation `current` points to, else the directory itself."""
    current = directory / CURRENT
    return directory / current.readlink() if current.is_symlink() else directory


def number_of(directory: Path) -> int:
    """The number of the current generation; 0 of an identity without any."""
    match = _GENERATION.fullmatch(generation(directory).name)
    return int(match[1]) if match else 0


def marker(directory: Path) -> tuple[str, int]:
    """What is another once another identity is laid down: compare it, nothing else."""
    place = generation(directory)
    return place.name, (place / CHAIN).stat().st_mtime_ns


def write_generation(directory: Path, files: Mapping[str, bytes]) -> Path:
    """Write a new generation, durable and whole, then let `current` point to it; returns its directory.

    A crash leaves the old or the new one. Generations nobody can be reading any more are removed.
    """
    make_private(directory)
    numbers = sorted(
        int(match[1]) for path in directory.iterdir() if (match := _GENERATION.fullmatch(path.name))
    )
    name = f"g{(numbers[-1] if numbers else 0) + 1:04d}"
    temporary = directory / f".{name}.new"
    shutil.rmtree(temporary, ignore_errors=True)
    make_private(temporary)
    for file, content in files.items():
        write_private(temporary / file, locked(content) if file in _KEYS else content)
    temporary.rename(directory / name)
    link = directory / f".{CURRENT}.new"
    link.unlink(missing_ok=True)
    link.symlink_to(name)
    sync_directory(directory)
    link.replace(directory / CURRENT)
    sync_directory(directory)
    for number in numbers[: 1 - KEPT or None]:
        shutil.rmtree(directory / f"g{number:04d}", ignore_errors=True)
    return directory / name


def lock_keys(directory: Path) -> bool:
    """Put keys that lie open under this service's passphrase, if it has one; whether they did. No open one stays."""
    place = generation(directory)
    if place == directory or not passphrase():
        return False
    files = {path.name: path.read_bytes() for path in place.iterdir() if path.is_file()}
    if all(is_locked(files[name]) for name in _KEYS if name in files):
        return False
    kept = write_generation(directory, files)
    for path in directory.iterdir():
        if _GENERATION.fullmatch(path.name) and path != kept:
            shutil.rmtree(path)
    sync_directory(directory)
    return True


def _read(content: bytes, path: Path, expected: str, load: Callable[[bytes], T]) -> T:
    """What a PEM file holds; the library's words on a file it cannot read never repeat its contents."""
    try:
        return load(content)
    except (ValueError, TypeError, UnsupportedAlgorithm, JinbaoError) as exc:
        raise SettingsError(
            f"identity file {path}", expected=expected, got=str(exc), next_step="enrol this zone"
        ) from exc


def load_identity(directory: Path, *, any_mode: bool = False) -> ZoneIdentity:
    """Read a zone's identity; refuses a missing file, another key type or, but for `any_mode`, a readable key."""
    place = generation(directory)
    is_split = place != directory or (place / SEAL_KEY).exists()
    names = (KEY, CHAIN, ANCHORS) + ((SEAL_KEY, SEAL_CHAIN) if is_split else ())
    if not any_mode:
        for name in set(_KEYS) & set(names):
            _check_key(place / name)
    files = {name: _content(place / name) for name in names}
    key = _line_key(place, files)
    chain = _chain(place, files, CHAIN)
    _check_pair(place / KEY, key, chain)
    anchors = _chain(place, files, ANCHORS)
    if not is_split:
        return ZoneIdentity(key, chain, anchors, place, files)
    seal_key, seal_chain = _seal_key(place, files), _chain(place, files, SEAL_CHAIN)
    _check_pair(place / SEAL_KEY, seal_key, seal_chain)
    trust: tuple[bytes, ...] = ()
    if (place / TRUST).exists():
        files[TRUST] = _content(place / TRUST)
        trust = _read(files[TRUST], place / TRUST, "certificates and lists", read_trust)
    return ZoneIdentity(key, chain, anchors, place, files, seal_key, seal_chain, trust)


def _check_key(path: Path) -> None:
    if path.is_file():  # where there is none, reading it says so
        check_private(path)


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise SettingsError(
            f"identity file {path}", expected="a PEM file", got="none", next_step="enrol this zone"
        )
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise SettingsError(
            f"identity file {path}", expected="a file this account may read", got=str(exc)
        ) from exc
    return unlocked(content, path) if path.name in _KEYS else content


def _line_key(place: Path, files: Mapping[str, bytes]) -> ec.EllipticCurvePrivateKey:
    path = place / KEY
    key = _read(files[KEY], path, "a P-256 key", lambda pem: load_pem_private_key(pem, password=None))
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise SettingsError(f"key file {path}", expected="a P-256 key", got="another kind")
    return key


def _seal_key(place: Path, files: Mapping[str, bytes]) -> ed25519.Ed25519PrivateKey:
    path = place / SEAL_KEY
    key = _read(files[SEAL_KEY], path, "an Ed25519 key", lambda pem: load_pem_private_key(pem, password=None))
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise SettingsError(f"key file {path}", expected="an Ed25519 key", got="another kind")
    return key


def _chain(place: Path, files: Mapping[str, bytes], name: str) -> tuple[x509.Certificate, ...]:
    return tuple(_read(files[name], place / name, "certificates", x509.load_pem_x509_certificates))


def _check_pair(
    path: Path,
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey,
    chain: tuple[x509.Certificate, ...],
) -> None:
    if chain[0].public_key() != key.public_key():
        raise SettingsError(
            f"key file {path}", expected="the key of the certificate beside it", got="another"
        )
