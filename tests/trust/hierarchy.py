"""A hierarchy of authorities as the product's is, minted by hand, with leaves, CRLs and cross certificates."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier
from tests.trust.certificates import name
from tests.trust.example import NOW, TOPOLOGY

from jinbao.model.batch import SealedBatch
from jinbao.model.zone import Endpoint
from jinbao.trust.envelope import pae
from jinbao.trust.identity import Identity, dns_name

DOMAIN = TOPOLOGY.trust_domain
SIGNING = ObjectIdentifier("1.3.6.1.5.5.7.3.36")
TLS = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)
YEAR = timedelta(days=365)
DAY = timedelta(days=1)


def der(certificate: x509.Certificate | x509.CertificateRevocationList) -> bytes:
    """As it is carried."""
    return certificate.public_bytes(Encoding.DER)


def usage(*, certifies: bool) -> x509.KeyUsage:
    """Of an authority, or of a leaf that seals."""
    return x509.KeyUsage(
        digital_signature=not certifies,
        content_commitment=not certifies,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certifies,
        crl_sign=certifies,
        encipher_only=False,
        decipher_only=False,
    )


@dataclass(frozen=True)
class Authority:
    """A root or an issuing authority: its key and its certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def certify(
        self,
        subject: x509.Name,
        uri: str,
        public_key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey,
        *,
        first: datetime,
        last: datetime,
        path_length: int | None = None,
        more: tuple[tuple[x509.ExtensionType, bool], ...] = (),
    ) -> x509.Certificate:
        """A certificate of this authority; with `path_length` an authority's."""
        issuer = self.certificate.subject
        return _certificate(self.key, issuer, subject, uri, public_key, first, last, path_length, more)

    def issuing(self, node: str, *, first: datetime = NOW - YEAR, last: datetime = NOW + YEAR) -> Authority:
        """An issuing authority of a node."""
        key = ec.generate_private_key(ec.SECP384R1())
        uri = f"spiffe://{DOMAIN}/authority/{node}"
        subject = name(f"authority {node} {first:%Y}")
        made = self.certify(subject, uri, key.public_key(), first=first, last=last, path_length=0)
        return Authority(key, made)

    def cross(self, other: Authority, *, first: datetime = NOW) -> x509.Certificate:
        """A certificate of another root's key."""
        it = other.certificate
        uri = f"spiffe://{DOMAIN}/authority/root"
        return self.certify(
            it.subject, uri, other.key.public_key(), first=first, last=first + 20 * YEAR, path_length=1
        )

    def crl(
        self,
        *revoked: tuple[x509.Certificate, datetime, x509.ReasonFlags],
        at: datetime = NOW,
        life: timedelta = 7 * DAY,
    ) -> bytes:
        """A CRL with certificates, the time they were revoked from and why."""
        builder = x509.CertificateRevocationListBuilder(
            issuer_name=self.certificate.subject, last_update=at, next_update=at + life
        ).add_extension(x509.CRLNumber(1), critical=False)
        for certificate, since, reason in revoked:
            entry = x509.RevokedCertificateBuilder(certificate.serial_number, since)
            builder = builder.add_revoked_certificate(
                entry.add_extension(x509.CRLReason(reason), critical=False).build()
            )
        return der(builder.sign(self.key, hashes.SHA384()))

    def leaf(
        self,
        endpoint: Endpoint,
        *,
        intl: bool = True,
        first: datetime = NOW - DAY,
        last: datetime = NOW + 13 * DAY,
        epoch: int = 1,
        usages: tuple[ObjectIdentifier, ...] = (),
    ) -> Sealer:
        """A zone's key and certificate for seals of a suite, certified by this authority."""
        row = TOPOLOGY.by_node[endpoint.node]
        identity = Identity(DOMAIN, row.tier, row.region, endpoint, epoch)
        key = ed25519.Ed25519PrivateKey.generate() if intl else ec.generate_private_key(ec.SECP256R1())
        names = [x509.UniformResourceIdentifier(identity.uri), x509.DNSName(dns_name(endpoint))]
        more = (
            (x509.SubjectAlternativeName(names), False),
            (x509.ExtendedKeyUsage(usages or ((SIGNING,) if intl else TLS)), False),
            (usage(certifies=False), True),
        )
        made = self.certify(name(str(endpoint)), "", key.public_key(), first=first, last=last, more=more)
        return Sealer(key, made, (self.certificate,))


@dataclass(frozen=True)
class Sealer:
    """A zone that seals in the suite of its key."""

    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    certificate: x509.Certificate
    rest: tuple[x509.Certificate, ...]

    def __call__(self, payload_type: str, payload: bytes) -> SealedBatch:
        """Seal a payload."""
        message = pae(payload_type, payload)
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            suite, signature = "p256-sha256", self.key.sign(message, ec.ECDSA(hashes.SHA256()))
        else:
            suite, signature = "intl-1", self.key.sign(message)
        chain = tuple(map(der, (self.certificate, *self.rest)))
        return SealedBatch(suite, payload_type, payload, signature, chain)


def _certificate(
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    subject: x509.Name,
    uri: str,
    public_key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey,
    first: datetime,
    last: datetime,
    path_length: int | None,
    more: tuple[tuple[x509.ExtensionType, bool], ...],
) -> x509.Certificate:
    certifies = path_length is not None
    builder = x509.CertificateBuilder(
        issuer, subject, public_key, x509.random_serial_number(), first, last
    ).add_extension(x509.BasicConstraints(ca=certifies, path_length=path_length), critical=True)
    extensions = list(more)
    if certifies:
        extensions.append((usage(certifies=True), True))
        extensions.append((x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), False))
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(key, hashes.SHA384())


def root(
    text: str = "jinbao root",
    *,
    first: datetime = NOW - 10 * YEAR,
    last: datetime = NOW + 10 * YEAR,
    path: str = "authority/root",
) -> Authority:
    """A root that certified itself; under another `path` it names no authority of ours, as in release 0.1."""
    key = ec.generate_private_key(ec.SECP384R1())
    uri = f"spiffe://{DOMAIN}/{path}"
    made = _certificate(key, name(text), name(text), uri, key.public_key(), first, last, 1, ())
    return Authority(key, made)
