"""Trust material as files: certificates of authorities and revocation lists as PEM blocks, and the roots among them.

Reads within bounds and sorts; whom a zone believes is decided by who holds these documents against its anchors.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from jinbao.model.errors import UnprovableError
from jinbao.trust.book import TrustBook
from jinbao.trust.chain import issued

TRUST_BYTES_MAX = 8 << 20
"""Certificates of 40 authorities and a list of 100,000 entries."""

_BLOCK = re.compile(
    rb"-----BEGIN (CERTIFICATE|X509 CRL)-----\r?\n[A-Za-z0-9+/=\r\n]+-----END \1-----", flags=re.MULTILINE
)
Document = x509.Certificate | x509.CertificateRevocationList


def parse(der: bytes) -> Document:
    """A document by its content; raises UnprovableError for one that is neither."""
    try:
        return x509.load_der_x509_certificate(der)
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        pass
    try:
        found = x509.load_der_x509_crl(der)
        found.extensions.get_extension_for_class(x509.CRLNumber)
        found.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion, x509.ExtensionNotFound) as exc:
        raise UnprovableError(
            "trust document", expected="a certificate or a numbered revocation list", got=str(exc)[:80]
        ) from exc
    return found


def read_trust(pem: bytes, thing: str = "trust.pem") -> tuple[bytes, ...]:
    """Every certificate and list of a PEM file, DER; raises UnprovableError for one that cannot be read."""
    if len(pem) > TRUST_BYTES_MAX:
        raise UnprovableError(thing, expected=f"at most {TRUST_BYTES_MAX} bytes", got=len(pem))
    found = []
    for match in _BLOCK.finditer(pem):
        load = x509.load_pem_x509_crl if match[1] == b"X509 CRL" else x509.load_pem_x509_certificate
        try:
            found.append(load(match[0]).public_bytes(Encoding.DER))
        except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as exc:
            raise UnprovableError(thing, expected="PEM blocks", got=str(exc)[:80]) from exc
    if len(found) != pem.count(b"-----BEGIN ") or (not found and pem.strip()):
        blocks = pem.count(b"-----BEGIN ")
        raise UnprovableError(
            thing,
            expected="certificates and lists as PEM",
            got=f"{blocks} blocks, {len(found)} of them whole",
        )
    return tuple(found)


def write_trust(documents: Iterable[bytes]) -> bytes:
    """Documents as one PEM file, in the order given."""
    return b"".join(parse(document).public_bytes(Encoding.PEM) for document in documents)


def newest(documents: Iterable[bytes]) -> tuple[bytes, ...]:
    """The documents without repetition, and of each authority key only the list with the highest number."""
    kept: dict[object, tuple[int, bytes]] = {}
    for document in documents:
        found = parse(document)
        if isinstance(found, x509.Certificate):
            kept.setdefault(document, (0, document))
            continue
        key = found.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        number = found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        name = (found.issuer, key)
        if name not in kept or kept[name][0] < number:
            kept[name] = (number, document)
    return tuple(document for _, document in kept.values())


def roots_in_force(documents: Iterable[bytes]) -> tuple[x509.Certificate, ...]:
    """Self-signed authorities that no other root took back.

    A root is retired when another lists the certificate it had given the old one's key.
    """
    known = list(documents)
    certificates = [one for one in map(parse, known) if isinstance(one, x509.Certificate)]
    return TrustBook.of((c for c in certificates if issued(c, c)), known).roots


def cross_certificates(documents: Iterable[bytes]) -> list[x509.Certificate]:
    """Certificates by which one root vouches for the key of another: self-issued, and not self-signed."""
    certificates = [one for one in map(parse, documents) if isinstance(one, x509.Certificate)]
    return [c for c in certificates if c.subject == c.issuer and not issued(c, c)]
