"""Seals 签封: a DSSE-style envelope over bytes that are never re-encoded.

What is signed is the pre-authentication encoding of type and payload, so that a
signature of one kind of document never passes for another. The suite id names hash and
signature, see `suites`; a receiver refuses those it does not know. Knows nothing of who may sign what.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from jinbao.model.batch import Header, SealedBatch
from jinbao.model.errors import UnprovableError
from jinbao.model.quoting import quoted
from jinbao.trust.bounds import PAYLOAD_BYTES_MAX
from jinbao.trust.encoding import HEADER_TYPE, encode_header
from jinbao.trust.suites import check_signature, sealing_suite

CERTIFICATES_MAX = 4
_CERTIFICATE_BYTES_MAX = 8192
_SIGNATURE_BYTES_MAX = 128
_NAME_CHARACTERS_MAX = 100
UNREADABLE = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What the library raises on bytes that are no X.509 of a kind it knows; fuzzing found the less obvious ones."""


class Signer(Protocol):
    """A zone's private key for seals, its certificate chain, leaf first, DER, and the suite both are of."""

    @property
    def suite(self) -> str:
        """Id of the suite this signer seals by."""
        ...

    @property
    def certificates(self) -> tuple[bytes, ...]:
        """The chain that goes into every envelope."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Signature by the rules of the suite."""
        ...


def pae(payload_type: str, payload: bytes) -> bytes:
    """Pre-authentication encoding of DSSE v1: lengths make every boundary unambiguous."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def seal_bytes(payload_type: str, payload: bytes, signer: Signer) -> SealedBatch:
    """Seal any document of the contract."""
    signature = signer.sign(pae(payload_type, payload))
    return SealedBatch(signer.suite, payload_type, payload, signature, signer.certificates)


def seal(header: Header, signer: Signer) -> SealedBatch:
    """Seal a header."""
    return seal_bytes(HEADER_TYPE, encode_header(header), signer)


def head_of(sealed: SealedBatch) -> str:
    """SHA-256 of the payload in hex: the batch's name in its chain."""
    return hashlib.sha256(sealed.payload).hexdigest()


def check_bounds(sealed: SealedBatch) -> None:
    """Refuse an envelope that is larger than any of ours, before anything of it is parsed."""
    sizes = [
        ("suite", len(sealed.suite), _NAME_CHARACTERS_MAX),
        ("payload type", len(sealed.payload_type), _NAME_CHARACTERS_MAX),
        ("payload", len(sealed.payload), PAYLOAD_BYTES_MAX),
        ("signature", len(sealed.signature), _SIGNATURE_BYTES_MAX),
        ("certificate chain", len(sealed.certificates), CERTIFICATES_MAX),
        ("certificate", max(map(len, sealed.certificates), default=0), _CERTIFICATE_BYTES_MAX),
    ]
    for part, got, most in sizes:
        if got > most:
            raise UnprovableError(f"envelope: {part}", expected=f"at most {most}", got=got)
    if not sealed.certificates:
        raise UnprovableError("envelope: certificate chain", expected="at least the signer's", got="none")


def signer_of(sealed: SealedBatch, payload_type: str) -> tuple[x509.Certificate, list[x509.Certificate]]:
    """The signer's certificate and the rest of its chain, once the signature is proved.

    Raises UnprovableError for another suite, another type, or bytes that were changed.
    Whether the signer may be believed is `identity`'s question.
    """
    check_bounds(sealed)
    suite = sealing_suite(sealed.suite, thing="envelope")
    if sealed.payload_type != payload_type:
        raise UnprovableError(
            "envelope: payload type", expected=payload_type, got=quoted(sealed.payload_type)
        )
    leaf, *rest = [parse_certificate(der) for der in sealed.certificates]
    message = pae(sealed.payload_type, sealed.payload)
    check_signature(suite, leaf.public_key(), sealed.signature, message, thing="envelope")
    return leaf, rest


def parse_certificate(der: bytes) -> x509.Certificate:
    """Read one DER certificate with every part that is asked for later; raises UnprovableError if it is none."""
    if len(der) > _CERTIFICATE_BYTES_MAX:
        raise UnprovableError("certificate", expected=f"at most {_CERTIFICATE_BYTES_MAX} bytes", got=len(der))
    try:
        found = x509.load_der_x509_certificate(der)
        # The library reads these only when asked: better here, inside the fence, than in `identity`.
        _ = (
            found.subject,
            found.issuer,
            found.extensions,
            found.public_key(),
            found.signature_hash_algorithm,
        )
    except UNREADABLE as exc:
        raise UnprovableError("certificate", expected="DER", got=quoted(str(exc), 200)) from exc
    return found
