"""A whole hierarchy made by hand: roots, authorities, leaves, lists and cross certificates, as a test needs them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from tests.trust.example import NOW

from jinbao.model.zone import Endpoint, Tier
from jinbao.trust.identity import DOCUMENT_SIGNING, Identity, Use, dns_name
from jinbao.trust.suites import INTL, P256

DOMAIN = "jinbao.test"
DAY, YEAR = timedelta(days=1), timedelta(days=365)
LINE_USAGES = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)
_USAGE = dict.fromkeys(
    ("key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"), False
)


@dataclass(frozen=True)
class Leaf:
    """A zone's key and chain; seals as a zone does."""

    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    certificate: x509.Certificate
    rest: tuple[x509.Certificate, ...]

    @property
    def suite(self) -> str:
        """The suite of the key's kind."""
        return INTL if isinstance(self.key, ed25519.Ed25519PrivateKey) else P256

    @property
    def certificates(self) -> tuple[bytes, ...]:
        """The chain as DER."""
        return tuple(c.public_bytes(Encoding.DER) for c in (self.certificate, *self.rest))

    def sign(self, message: bytes) -> bytes:
        """By the rules of the suite."""
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return self.key.sign(message)
        return self.key.sign(message, ec.ECDSA(hashes.SHA256()))


@dataclass(frozen=True)
class Authority:
    """A key that signs; `certificate` is its own, `above` what leads from it upwards, `at` when all of it happens."""

    name: str
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    above: tuple[x509.Certificate, ...] = field(default=())
    at: datetime = NOW

    def issuing(self, name: str, *, life: timedelta = YEAR, path_length: int = 0) -> Authority:
        """An authority below this one."""
        key = ec.generate_private_key(ec.SECP384R1())
        found = self.certify_authority(name, key.public_key(), life=life, path_length=path_length)
        return Authority(name, key, found, at=self.at)

    def certify_authority(
        self,
        name: str,
        key: ec.EllipticCurvePublicKey,
        *,
        life: timedelta = YEAR,
        path_length: int = 0,
    ) -> x509.Certificate:
        """A certificate for some authority's key."""
        builder = _builder(_subject(name), key, self.at - YEAR, self.at + life)
        builder = builder.add_extension(_uri(f"authority/{name}"), critical=False)
        return self.sign(_may_sign(builder, path_length))

    def sign(self, builder: x509.CertificateBuilder) -> x509.Certificate:
        """A certificate signed by this authority."""
        named = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = builder.issuer_name(self.certificate.subject).add_extension(named, critical=False)
        return builder.sign(self.key, hashes.SHA384())

    def leaf(
        self,
        endpoint: Endpoint,
        use: Use = Use.SEAL,
        *,
        tier: Tier = Tier.CITY,
        usages: Sequence[ObjectIdentifier] | None = (),
        epoch: int = 1,
        first: datetime | None = None,
        last: datetime | None = None,
    ) -> Leaf:
        """A zone's certificate of a use, whatever this authority may."""
        key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
        key = (
            ec.generate_private_key(ec.SECP256R1())
            if use is Use.LINE
            else ed25519.Ed25519PrivateKey.generate()
        )
        identity = Identity(DOMAIN, tier, endpoint.node.partition("-")[0], endpoint, epoch)
        names = [x509.UniformResourceIdentifier(identity.uri), x509.DNSName(dns_name(endpoint))]
        chosen = usages or (LINE_USAGES if use is Use.LINE else (DOCUMENT_SIGNING,))
        builder = (
            _builder(
                _subject(str(endpoint)), key.public_key(), first or self.at - DAY, last or self.at + 14 * DAY
            )
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        )
        if usages is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage(chosen), critical=False)
        return Leaf(key, self.sign(builder), (self.certificate, *self.above))

    def revocations(
        self,
        number: int,
        revoked: Iterable[tuple[x509.Certificate, datetime, x509.ReasonFlags]] = (),
        *,
        made_at: datetime | None = None,
        life: timedelta = timedelta(hours=24),
    ) -> bytes:
        """This authority's list, DER."""
        named = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        made_at = made_at or self.at - timedelta(hours=1)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(made_at)
            .next_update(made_at + life)
            .add_extension(x509.CRLNumber(number), critical=False)
            .add_extension(named, critical=False)
        )
        for certificate, at, reason in revoked:
            entry = (
                x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(at)
            )
            builder = builder.add_revoked_certificate(
                entry.add_extension(x509.CRLReason(reason), critical=False).build()
            )
        return builder.sign(self.key, hashes.SHA384()).public_bytes(Encoding.DER)


def root(at: datetime = NOW) -> Authority:
    """An authority that certified itself; the same name every time, as roots follow one another."""
    key = ec.generate_private_key(ec.SECP384R1())
    builder = _builder(_subject("root"), key.public_key(), at - YEAR, at + 20 * YEAR)
    builder = builder.add_extension(_uri("authority/root"), critical=False).issuer_name(_subject("root"))
    return Authority("root", key, _may_sign(builder, 1).sign(key, hashes.SHA384()), at=at)


def cross(of: Authority, by: Authority) -> x509.Certificate:
    """The key of one root certified by another."""
    return by.certify_authority("root", of.key.public_key(), path_length=1)


def der(certificate: x509.Certificate) -> bytes:
    """A certificate as a document."""
    return certificate.public_bytes(Encoding.DER)


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _uri(path: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{DOMAIN}/{path}")])


def _builder(
    subject: x509.Name,
    key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey,
    first: datetime,
    last: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(first)
        .not_valid_after(last)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _may_sign(builder: x509.CertificateBuilder, path_length: int) -> x509.CertificateBuilder:
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_cert_sign=True, crl_sign=True, **_USAGE
    )
    constraints = x509.BasicConstraints(ca=True, path_length=path_length)
    return builder.add_extension(constraints, critical=True).add_extension(usage, critical=True)
