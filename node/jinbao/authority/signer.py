"""Who signs for an authority: an interface that a file, a program, an HSM or a government's signing service can fill.

`cryptography` builds and signs in one step with a key it holds. A signer elsewhere never gives
its key, so a document is built with a placeholder key of the same kind, and the signer signs
the bytes that count; what comes back is proved before it is used.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from jinbao.authority.private_files import check_private
from jinbao.model.errors import LocalError, SettingsError

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
P384, P256, ED25519 = "ecdsa-p384-sha384", "ecdsa-p256-sha256", "ed25519"

PROGRAM_S = 30.0
"""A signing program that takes longer is not there: a person may have to touch a token, not to fetch one."""

_SIGNATURE_BYTES_MAX = 512


class Signer(Protocol):
    """A private key, wherever it is."""

    @property
    def public_key(self) -> PublicKey:
        """Its public half."""
        ...

    @property
    def algorithm(self) -> str:
        """`ecdsa-p384-sha384`, `ecdsa-p256-sha256` or `ed25519`."""
        ...

    def sign(self, tbs: bytes) -> bytes:
        """The signature over `tbs` (DER for ECDSA, 64 bytes for Ed25519)."""
        ...


def algorithm_of(key: object) -> str:
    """The algorithm a key signs by; raises SettingsError for a kind no authority uses."""
    if isinstance(key, ed25519.Ed25519PublicKey | ed25519.Ed25519PrivateKey):
        return ED25519
    if isinstance(key, ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey):
        if isinstance(key.curve, ec.SECP384R1):
            return P384
        if isinstance(key.curve, ec.SECP256R1):
            return P256
    raise SettingsError("key of an authority", expected="P-384, P-256 or Ed25519", got=type(key).__name__)


def hash_of(algorithm: str) -> hashes.SHA384 | hashes.SHA256 | None:
    """The hash that belongs to an algorithm; Ed25519 has its own inside."""
    if algorithm == ED25519:
        return None
    return hashes.SHA384() if algorithm == P384 else hashes.SHA256()


@dataclass(frozen=True)
class KeySigner:
    """A key in this process."""

    key: PrivateKey

    @property
    def public_key(self) -> PublicKey:
        """Its public half."""
        return self.key.public_key()

    @property
    def algorithm(self) -> str:
        """By its kind."""
        return algorithm_of(self.key)

    def sign(self, tbs: bytes) -> bytes:
        """The signature over `tbs`."""
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return self.key.sign(tbs)
        chosen = hash_of(self.algorithm)
        assert chosen is not None
        return self.key.sign(tbs, ec.ECDSA(chosen))


class FileSigner(KeySigner):
    """A key file (PEM, PKCS 8, mode 0600), in the clear or under a passphrase."""

    def __init__(self, path: Path, passphrase: bytes = b"") -> None:
        check_private(path)
        try:
            key = load_pem_private_key(path.read_bytes(), password=passphrase or None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
            raise SettingsError(
                f"key file {path}",
                expected="a key this passphrase opens",
                got="none",
                next_step=str(exc)[:80],
            ) from exc
        algorithm_of(key)
        assert isinstance(key, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey)
        super().__init__(key)


@dataclass(frozen=True)
class CommandSigner:
    """A program that signs: `tbs` on its standard input, the signature on its standard output.

    The door to an HSM (its vendor's tool), a smart card, or a signing service; the key stays there.
    """

    public_key: PublicKey
    argv: Sequence[str]

    @property
    def algorithm(self) -> str:
        """By the kind of the public key."""
        return algorithm_of(self.public_key)

    def sign(self, tbs: bytes) -> bytes:
        """What the program answers; raises LocalError if it answers nothing or fails."""
        thing = f"signing program {self.argv[0]}"
        try:
            done = subprocess.run(  # noqa: S603  # the operator named it when the authority was founded
                list(self.argv), input=tbs, capture_output=True, timeout=PROGRAM_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise LocalError(thing, expected="an answer", got=type(exc).__name__) from exc
        if done.returncode or not 0 < len(done.stdout) <= _SIGNATURE_BYTES_MAX:
            said = done.stderr.decode("utf-8", "replace").strip()[-200:]
            got = f"exit code {done.returncode} and {len(done.stdout)} bytes"
            raise LocalError(thing, expected="exit code 0 and a signature", got=got, next_step=said)
        return done.stdout


def public_pem(key: PublicKey) -> bytes:
    """A public key as PEM."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@cache
def _placeholder(algorithm: str) -> PrivateKey:
    """A key of the same kind that certifies nothing: it only gives a document its shape."""
    if algorithm == ED25519:
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP384R1() if algorithm == P384 else ec.SECP256R1())


def _built(builder: Any, signer: Signer) -> Any:  # the three builders share no type
    return builder.sign(_placeholder(signer.algorithm), hash_of(signer.algorithm))


def certificate(builder: x509.CertificateBuilder, signer: Signer) -> x509.Certificate:
    """The certificate a builder describes, signed by `signer`."""
    shape = _built(builder, signer)
    tbs = shape.tbs_certificate_bytes
    made = x509.load_der_x509_certificate(
        _with_signature(shape.public_bytes(Encoding.DER), tbs, _proved(signer, tbs))
    )
    assert made.tbs_certificate_bytes == tbs
    return made


def revocation_list(
    builder: x509.CertificateRevocationListBuilder, signer: Signer
) -> x509.CertificateRevocationList:
    """The revocation list a builder describes, signed by `signer`."""
    shape = _built(builder, signer)
    tbs = shape.tbs_certlist_bytes
    return x509.load_der_x509_crl(
        _with_signature(shape.public_bytes(Encoding.DER), tbs, _proved(signer, tbs))
    )


def request(subject: x509.Name, names: x509.SubjectAlternativeName, signer: Signer) -> bytes:
    """A certificate signing request as DER: the public key with proof that its private half is here."""
    # A request carries its own public key, so no placeholder of another key can give it its shape.
    if isinstance(signer, KeySigner):
        builder = (
            x509.CertificateSigningRequestBuilder().subject_name(subject).add_extension(names, critical=False)
        )
        return builder.sign(signer.key, hash_of(signer.algorithm)).public_bytes(Encoding.DER)
    return _request_elsewhere(subject, names, signer)


def _request_elsewhere(subject: x509.Name, names: x509.SubjectAlternativeName, signer: Signer) -> bytes:
    """As `request`, for a key that is not here: its public key takes the placeholder's place."""
    placeholder = KeySigner(_placeholder(signer.algorithm))
    shape = x509.load_der_x509_csr(request(subject, names, placeholder))
    old, new = (
        key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        for key in (placeholder.public_key, signer.public_key)
    )
    # Keys of one kind have encodings of one length, so every length around them stays right.
    tbs = shape.tbs_certrequest_bytes.replace(old, new, 1)
    return _with_signature(
        shape.public_bytes(Encoding.DER), tbs, _proved(signer, tbs), replaced=shape.tbs_certrequest_bytes
    )


def _proved(signer: Signer, tbs: bytes) -> bytes:
    """The signature, proved by the public key: a signer that errs is found before anything leaves the house."""
    signature, key = signer.sign(tbs), signer.public_key
    chosen = hash_of(signer.algorithm)
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, tbs)
        else:
            assert chosen is not None
            key.verify(signature, tbs, ec.ECDSA(chosen))
    except InvalidSignature as exc:
        raise LocalError(
            "signer of the authority", expected="a signature by its public key", got="another"
        ) from exc
    return signature


def _with_signature(shape: bytes, tbs: bytes, signature: bytes, *, replaced: bytes = b"") -> bytes:
    """SEQUENCE { tbs, algorithm as in `shape`, BIT STRING signature }."""
    after = shape.index(replaced or tbs) + len(replaced or tbs)
    algorithm = shape[after : after + 2 + shape[after + 1]]
    return _der(0x30, tbs + algorithm + _der(0x03, b"\0" + signature))


def _der(tag: int, content: bytes) -> bytes:
    """One DER value."""
    size = len(content)
    if size < 0x80:  # noqa: PLR2004  # X.690, 8.1.3: a short length
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content
