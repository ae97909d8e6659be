"""Where an authority's keys are: files beside its ledger, a signing program, or the memory of a demonstration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_public_key,
)

from jinbao.authority.private_files import make_private, write_private
from jinbao.authority.signer import (
    CommandSigner,
    FileSigner,
    KeySigner,
    PublicKey,
    Signer,
    algorithm_of,
    public_pem,
)
from jinbao.model.errors import SettingsError

Spec = Mapping[str, Any]
"""How a key is found again; stands in the ledger and holds no secret."""


class Keys(Protocol):
    """Makes keys and finds them again."""

    def make(self) -> tuple[Spec, Signer]:
        """A new P-384 key, durable before this returns."""
        ...

    def find(self, spec: Spec) -> Signer:
        """The key of a spec."""
        ...


def ski_of(key: PublicKey) -> str:
    """The key identifier of a public key, hex."""
    return x509.SubjectKeyIdentifier.from_public_key(key).digest.hex()


class MemoryKeys:
    """Keys of a demonstration; gone with the process."""

    def __init__(self) -> None:
        self._keys: dict[str, KeySigner] = {}

    def make(self) -> tuple[Spec, Signer]:
        """A new key."""
        signer = KeySigner(ec.generate_private_key(ec.SECP384R1()))
        name = ski_of(signer.public_key)
        self._keys[name] = signer
        return {"kind": "memory", "name": name}, signer

    def find(self, spec: Spec) -> Signer:
        """A key that was made here."""
        return self._keys[spec["name"]]


class FileKeys:
    """Key files (0600) in `directory`, under a passphrase where there is one; signing programs beside them."""

    def __init__(self, directory: Path, passphrase: bytes = b"") -> None:
        self._directory, self._passphrase = directory, passphrase
        self._found: dict[str, Signer] = {}

    def make(self) -> tuple[Spec, Signer]:
        """A new key in a file of its own."""
        key = ec.generate_private_key(ec.SECP384R1())
        name = f"{ski_of(key.public_key())}.pem"
        how: KeySerializationEncryption = NoEncryption()
        if self._passphrase:
            how = BestAvailableEncryption(self._passphrase)
        make_private(self._directory)
        write_private(self._directory / name, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how))
        return {"kind": "file", "name": name}, KeySigner(key)

    def find(self, spec: Spec) -> Signer:
        """The key of a spec; read once, for a key under a passphrase is slow to open on purpose."""
        name = str(spec.get("name", spec.get("argv")))
        if name not in self._found:
            self._found[name] = self._open(spec)
        return self._found[name]

    def _open(self, spec: Spec) -> Signer:
        if spec["kind"] == "command":
            return CommandSigner(_public_key(spec["public_key"].encode()), tuple(spec["argv"]))
        return FileSigner(self._directory / spec["name"], self._passphrase)


def command_spec(public_key: Path, argv: Sequence[str]) -> tuple[Spec, Signer]:
    """A key that a signing program holds; `public_key` is a PEM file."""
    key = _public_key(public_key.read_bytes())
    spec = {"kind": "command", "argv": list(argv), "public_key": public_pem(key).decode("ascii")}
    return spec, CommandSigner(key, tuple(argv))


def _public_key(pem: bytes) -> PublicKey:
    try:
        key = load_pem_public_key(pem)
    except ValueError as exc:
        raise SettingsError("public key of the signer", expected="PEM", got=str(exc)[:80]) from exc
    algorithm_of(key)
    return key  # type: ignore[return-value]  # algorithm_of refused every other kind
