"""Certificates with one thing wrong, made by hand: what no authority of ours issues."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from tests.trust.example import NOW

from jinbao.trust.suites import P256

BOTH = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)
URI = "spiffe://jinbao.test/city/140100/140100/production/e/1"
HOST = "production.140100.jinbao.internal"


def name(text: str) -> x509.Name:
    """A name of one part."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@dataclass(frozen=True)
class Holder:
    """A key with its certificate; signs as a zone does."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    rest: tuple[x509.Certificate, ...] = field(default=())

    suite: str = P256

    @property
    def certificates(self) -> tuple[bytes, ...]:
        """The chain as DER."""
        return tuple(c.public_bytes(Encoding.DER) for c in (self.certificate, *self.rest))

    def sign(self, message: bytes) -> bytes:
        """ECDSA with SHA-256."""
        return self.key.sign(message, ec.ECDSA(hashes.SHA256()))


def certify(
    issuer: Holder | None = None,
    *,
    subject: str = "a zone",
    uris: tuple[str, ...] = (URI,),
    hosts: tuple[str, ...] = (HOST,),
    usages: tuple[ObjectIdentifier, ...] = BOTH,
    authority: bool = False,
    first: datetime = NOW - timedelta(days=1),
    last: datetime = NOW + timedelta(days=1),
    curve: ec.EllipticCurve | None = None,
) -> Holder:
    """A holder certified by `issuer`, or by itself; without names or usages the extension is left out."""
    key = ec.generate_private_key(curve or ec.SECP256R1())
    builder = x509.CertificateBuilder(
        issuer_name=issuer.certificate.subject if issuer else name(subject),
        subject_name=name(subject),
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=first,
        not_valid_after=last,
    ).add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    names = [*map(x509.UniformResourceIdentifier, uris), *map(x509.DNSName, hosts)]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    signed = builder.sign(issuer.key if issuer else key, hashes.SHA256())
    return Holder(key, signed, (issuer.certificate, *issuer.rest) if issuer else ())


def root() -> Holder:
    """An authority that certified itself."""
    return certify(subject="root", uris=(), hosts=(), usages=(), authority=True)
