"""Certificate requests of zones: read within bounds, proof of possession checked, names held to the granted ones.

A request says which key; never who asks. Its subject is ignored, and alternative names, where it
has any, must be the ones that are granted. One key of each kind: P-256 for the line, Ed25519 for seals.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from jinbao.authority.profile import leaf_names
from jinbao.authority.state import Use, key_hash
from jinbao.model.errors import IdentityError, UnprovableError
from jinbao.trust.identity import Identity

REQUEST_BYTES_MAX = 4096
"""A request of ours has 400 bytes."""


@dataclass(frozen=True)
class ZoneRequest:
    """Both requests of one zone, DER."""

    line: bytes
    seal: bytes


@dataclass(frozen=True)
class ProvedKeys:
    """Both public keys of one zone, each proved to be in the hands of who asks."""

    line: ec.EllipticCurvePublicKey
    seal: ed25519.Ed25519PublicKey
    hashes: tuple[str, str]


def prove(request: ZoneRequest, identity: Identity) -> ProvedKeys:
    """The keys of a request; raises UnprovableError or IdentityError."""
    line, seal = read(request.line, f"{Use.LINE} request"), read(request.seal, f"{Use.SEAL} request")
    for found in (line, seal):
        _check_names(found, identity)
    first, second = line.public_key(), seal.public_key()
    if not isinstance(first, ec.EllipticCurvePublicKey) or not isinstance(first.curve, ec.SECP256R1):
        raise IdentityError("line request: key", expected="P-256", got=_kind(first))
    if not isinstance(second, ed25519.Ed25519PublicKey):
        raise IdentityError("seal request: key", expected="Ed25519", got=_kind(second))
    return ProvedKeys(first, second, (key_hash(line), key_hash(seal)))


def read(der: bytes, thing: str) -> x509.CertificateSigningRequest:
    """One request whose signature holds: who made it has the private key."""
    if len(der) > REQUEST_BYTES_MAX:
        raise UnprovableError(thing, expected=f"at most {REQUEST_BYTES_MAX} bytes", got=len(der))
    try:
        found = x509.load_der_x509_csr(der)
        _, _, is_proved = found.public_key(), found.extensions, found.is_signature_valid
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion) as exc:
        raise UnprovableError(thing, expected="a certificate request, DER", got=str(exc)[:120]) from exc
    if not is_proved:
        raise UnprovableError(thing, expected="a signature by the key in it", got="another")
    return found


def _check_names(found: x509.CertificateSigningRequest, identity: Identity) -> None:
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    if set(names) != set(leaf_names(identity)):
        got = ", ".join(str(name.value)[:80] for name in names)
        raise IdentityError("names in the request", expected=f"none, or {identity.uri}", got=got)


def _kind(key: object) -> str:
    return key.curve.name if isinstance(key, ec.EllipticCurvePublicKey) else type(key).__name__
