"""Keys of copies 副本密钥: a zone's own, by which its segments are encrypted for the backup site, and those that open them.

    copy-keys/0001.key   its name and 32 random bytes in hex, for the zone's account alone; the newest encrypts

A zone's keys never leave it but wrapped, for two recipients whose private keys lie elsewhere: `drill`, with
the account that drills at the backup site, and `escrow`, on paper or a card in a safe, whose passphrases
two persons hold. What was encrypted by an older key stays readable: all of them are wrapped anew each time.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from jinbao.authority.private_files import check_private, make_private, write_private
from jinbao.model.errors import LocalError, SettingsError, UsageError
from jinbao.model.zone import Endpoint
from jinbao.trust.objects import KEY_BYTES, KEYS_MAX, Recipient, WrappedKey, recipient_name, unwrap, wrap

DIRECTORY = "copy-keys"
PURPOSES = ("drill", "escrow")
ZONE_KEYS_MAX = KEYS_MAX // len(PURPOSES)
"""Keys of one zone: every claim has each of them wrapped for everyone."""

_FILE = re.compile(r"([0-9]{4})\.key")

Opens = Callable[[str, Sequence[WrappedKey]], bytes]
"""The zone's key of a name, out of those wrapped; raises UsageError where it is not ours to open."""


class ZoneKeys:
    """The keys of one zone, in a directory of its own; the first is made when it is first asked for."""

    def __init__(self, me: Endpoint, directory: Path) -> None:
        self._me, self._directory = me, directory

    def newest(self) -> tuple[str, bytes]:
        """The key that encrypts now, and its name."""
        keys = read_zone_keys(self._directory)
        if not keys:
            self.rotate()
            keys = read_zone_keys(self._directory)
        return list(keys.items())[-1]

    def rotate(self) -> str:
        """Make another key, which encrypts from now on; returns its name. Raises LocalError beyond `ZONE_KEYS_MAX`."""
        number = max((int(_number(path)) for path in _files(self._directory)), default=0) + 1
        if number > ZONE_KEYS_MAX:
            raise LocalError(
                f"keys in {self._directory}",
                expected=f"at most {ZONE_KEYS_MAX}",
                got=number,
                next_step="let the backup's copy of this zone begin anew, then remove the oldest",
            )
        key = secrets.token_bytes(KEY_BYTES)
        # A zone that lost its disk begins at 1 again: the key's own print keeps the two apart.
        name = f"{self._me}#{number}-{hashlib.sha256(key).hexdigest()[:12]}"
        make_private(self._directory)
        line = f"{name} {key.hex()}\n"
        write_private(self._directory / f"{number:04d}.key", line.encode())
        return name

    def wrapped(self, recipients: Sequence[Recipient]) -> tuple[WrappedKey, ...]:
        """Every key for every recipient."""
        keys = read_zone_keys(self._directory).items()
        return tuple(wrap(name, key, recipient) for name, key in keys for recipient in recipients)


def _files(directory: Path) -> list[Path]:
    found = directory.iterdir() if directory.is_dir() else ()
    return sorted(path for path in found if _FILE.fullmatch(path.name))


def _number(path: Path) -> str:
    match = _FILE.fullmatch(path.name)
    assert match is not None, "only such are listed"
    return match[1]


def read_zone_keys(directory: Path) -> dict[str, bytes]:
    """A zone's keys by name, oldest first; raises SettingsError for a file that is none or that others may read."""
    found = {}
    for path in _files(directory):
        check_private(path)
        name, _, text = path.read_text(encoding="utf-8", errors="replace").strip().partition(" ")
        try:
            key = bytes.fromhex(text)
        except ValueError:
            key = b""
        if len(key) != KEY_BYTES:
            raise SettingsError(
                f"key file {path}", expected=f"a name and {KEY_BYTES} bytes in hex", got="something else"
            )
        found[name] = key
    return found


def zone_opens(directory: Path) -> Opens:
    """Opens copies with a zone's own keys, brought to where its copy is. Raises UsageError for a directory without any."""
    keys = read_zone_keys(directory)
    if not keys:
        raise UsageError(f"directory {directory}", expected="a zone's copy-keys", got="no key in it")

    def key(name: str, wraps: Sequence[WrappedKey]) -> bytes:
        del wraps
        if name not in keys:
            raise UsageError(f"keys in {directory}", expected=f"key {name}", got=", ".join(keys))
        return keys[name]

    return key


def recipient_of(purpose: str, text: str) -> Recipient:
    """Who a public key in settings is, 32 bytes in base64; raises SettingsError for anything else."""
    try:
        return Recipient(purpose, X25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True)))
    except (ValueError, binascii.Error) as exc:
        raise SettingsError(
            f"copies.{purpose}_key",
            expected="an X25519 public key, 32 bytes in base64",
            got=text[:50] or "none",
            next_step=f"jinbao standby key create {purpose}",
        ) from exc


@dataclass(frozen=True)
class CopyKey:
    """The private key of a recipient, for what it may be used now: `drill` opens copies for a drill alone."""

    private: X25519PrivateKey
    purposes: tuple[str, ...]

    @property
    def public_text(self) -> str:
        """The public half as it stands in settings."""
        return base64.b64encode(self.private.public_key().public_bytes_raw()).decode()

    def key(self, name: str, wraps: Sequence[WrappedKey]) -> bytes:
        """The zone's key of a name among those wrapped for anyone; raises UsageError if none is for us."""
        mine = {recipient_name(purpose, self.private.public_key()) for purpose in self.purposes}
        for wrapped in wraps:
            if wrapped.key == name and wrapped.recipient in mine:
                return unwrap(wrapped, self.private)
        found = sorted({wrapped.recipient for wrapped in wraps if wrapped.key == name})
        raise UsageError(
            f"key {name}",
            expected=f"one wrapped for {' or '.join(sorted(mine))}",
            got=", ".join(found) or "none",
            next_step="name the private key of one of those with --key",
        )


def passphrase_of(parts: Sequence[bytes]) -> bytes:
    """One passphrase of those of several persons, in their order: none of them opens anything alone."""
    return b"".join(len(part).to_bytes(2, "big") + part for part in parts)


def create_copy_key(path: Path, passphrases: Sequence[bytes], purpose: str) -> CopyKey:
    """Write a new private key, which is not there yet; encrypted where there are passphrases."""
    if path.exists():
        raise LocalError(f"key file {path}", expected="none yet", got="a file", next_step="name another file")
    private = X25519PrivateKey.generate()
    protection = BestAvailableEncryption(passphrase_of(passphrases)) if passphrases else NoEncryption()
    write_private(path, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection))
    return CopyKey(private, (purpose,))


def load_copy_key(path: Path, passphrases: Sequence[bytes], purposes: Sequence[str]) -> CopyKey:
    """Read a private key; raises UsageError for a wrong passphrase or none, SettingsError for no such key."""
    check_private(path)
    password = passphrase_of(passphrases) if passphrases else None
    try:
        private = load_pem_private_key(path.read_bytes(), password)
    except TypeError as exc:  # encrypted and no passphrase, or the other way round
        wanted = "no passphrase" if passphrases else "its passphrases, in the order they were given"
        raise UsageError(f"key file {path}", expected=wanted, got=f"{len(passphrases)} of them") from exc
    except (ValueError, UnsupportedAlgorithm) as exc:
        expected = "its passphrases, in the order they were given" if passphrases else "an X25519 key in PEM"
        raise UsageError(f"key file {path}", expected=expected, got="something else") from exc
    if not isinstance(private, X25519PrivateKey):
        raise SettingsError(f"key file {path}", expected="an X25519 key", got="another kind")
    return CopyKey(private, tuple(purposes))
