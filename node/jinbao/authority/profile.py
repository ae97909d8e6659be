"""Certificate profiles: exactly what stands in each kind of certificate and list. Builds; decides nothing, stores nothing.

| profile | key | URI name under `spiffe://<domain>/` | usage |
| root | P-384 | `authority/root` | signs certificates and lists, one authority between it and a leaf |
| issuing | P-384 | `authority/<node>` | signs certificates and lists, leaves only |
| line leaf | P-256 | `<tier>/<region>/<node>/<zone>/e/<epoch>` | both sides of TLS |
| seal leaf | Ed25519 | the same | document signing (RFC 9336) |
| enrolment | P-256 | `authority/<node>/enrolment` | the server's side of TLS |

Every certificate carries the identifiers of its own key and of its issuer's. An authority keeps its
name when its key changes; a cross certificate is therefore self-issued and does not count in path lengths.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from jinbao.authority import signer as signing
from jinbao.authority.policy import BACKDATED
from jinbao.authority.signer import PublicKey, Signer
from jinbao.trust.identity import DOCUMENT_SIGNING, ROOT, Identity, dns_name

SPKI = PublicFormat.SubjectPublicKeyInfo


def authority_uri(domain: str, name: str) -> str:
    """The URI name of an authority; `name` is `root` or a node."""
    return f"spiffe://{domain}/authority/{name}"


def enrolment_host(node: str) -> str:
    """The DNS name of an issuing authority's enrolment listener."""
    return f"enrolment.{node}.jinbao.internal"


def authority_subject(domain: str, name: str) -> x509.Name:
    """The distinguished name of an authority; the same for all of its keys."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, domain),
            x509.NameAttribute(NameOID.COMMON_NAME, f"jinbao authority {name}"),
        ]
    )


def authority_names(domain: str, name: str) -> x509.SubjectAlternativeName:
    """The names in an authority's certificate."""
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(authority_uri(domain, name))])


def leaf_names(identity: Identity) -> x509.SubjectAlternativeName:
    """The names in both certificates of a zone."""
    host = x509.DNSName(dns_name(identity.endpoint))
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity.uri), host])


def leaf_subject(identity: Identity) -> x509.Name:
    """The distinguished name of a zone."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, str(identity.endpoint))])


@dataclass(frozen=True)
class Issuer:
    """What signs: an authority's own certificate, and its key wherever it is."""

    certificate: x509.Certificate
    signer: Signer


def _usage(*, leaf: bool, commits: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=leaf,
        content_commitment=commits,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=not leaf,
        crl_sign=not leaf,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(
    subject: x509.Name,
    names: x509.SubjectAlternativeName,
    key: PublicKey,
    since: datetime,
    until: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
        .add_extension(names, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _signed(builder: x509.CertificateBuilder, issuer: Issuer) -> x509.Certificate:
    above = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    named = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(above)
    builder = builder.issuer_name(issuer.certificate.subject).add_extension(named, critical=False)
    return signing.certificate(builder, issuer.signer)


def _authority(builder: x509.CertificateBuilder, path_length: int) -> x509.CertificateBuilder:
    constraints = x509.BasicConstraints(ca=True, path_length=path_length)
    return builder.add_extension(constraints, critical=True).add_extension(_usage(leaf=False), critical=True)


def root(domain: str, signer: Signer, now: datetime, life: timedelta) -> x509.Certificate:
    """A root, signed by itself."""
    subject = authority_subject(domain, ROOT)
    builder = _builder(subject, authority_names(domain, ROOT), signer.public_key, now - BACKDATED, now + life)
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key)
    builder = builder.issuer_name(subject).add_extension(above, critical=False)
    return signing.certificate(_authority(builder, 1), signer)


def issuing(
    domain: str,
    node: str,
    key: PublicKey,
    issuer: Issuer,
    now: datetime,
    life: timedelta,
) -> x509.Certificate:
    """An issuing authority's certificate, signed by the root."""
    names = authority_names(domain, node)
    builder = _builder(authority_subject(domain, node), names, key, now - BACKDATED, now + life)
    return _signed(_authority(builder, 0), issuer)


def cross(subject: x509.Certificate, issuer: Issuer) -> x509.Certificate:
    """The key of one root certified by the other; from when that root began until either of them ends.

    Begins so early because what the old root vouched for stays provable by the new one alone.
    """
    until = min(subject.not_valid_after_utc, issuer.certificate.not_valid_after_utc)
    names = subject.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    key = subject.public_key()
    signing.algorithm_of(key)
    builder = _builder(subject.subject, names, key, subject.not_valid_before_utc, until)  # type: ignore[arg-type]  # checked above
    return _signed(_authority(builder, 1), issuer)


def _leaf(
    builder: x509.CertificateBuilder, *usages: x509.ObjectIdentifier, commits: bool = False
) -> x509.CertificateBuilder:
    return (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(leaf=True, commits=commits), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    )


def line_leaf(
    identity: Identity, key: PublicKey, issuer: Issuer, now: datetime, life: timedelta
) -> x509.Certificate:
    """A zone's certificate for both sides of TLS."""
    builder = _builder(leaf_subject(identity), leaf_names(identity), key, now - BACKDATED, now + life)
    usages = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)
    return _signed(_leaf(builder, *usages), issuer)


def seal_leaf(
    identity: Identity, key: PublicKey, issuer: Issuer, now: datetime, life: timedelta
) -> x509.Certificate:
    """A zone's certificate for seals."""
    builder = _builder(leaf_subject(identity), leaf_names(identity), key, now - BACKDATED, now + life)
    return _signed(_leaf(builder, DOCUMENT_SIGNING, commits=True), issuer)


def enrolment_leaf(
    domain: str, node: str, key: PublicKey, issuer: Issuer, now: datetime, life: timedelta
) -> x509.Certificate:
    """The certificate of an enrolment listener; of no use as a client."""
    uri = x509.UniformResourceIdentifier(f"{authority_uri(domain, node)}/enrolment")
    names = x509.SubjectAlternativeName([uri, x509.DNSName(enrolment_host(node))])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, enrolment_host(node))])
    builder = _builder(subject, names, key, now - BACKDATED, now + life)
    return _signed(_leaf(builder, ExtendedKeyUsageOID.SERVER_AUTH), issuer)


@dataclass(frozen=True, slots=True)
class Revocation:
    """One line of a revocation list."""

    serial: int
    at: datetime
    reason: x509.ReasonFlags


def revocation_list(
    issuer: Issuer, number: int, revocations: Iterable[Revocation], now: datetime, life: timedelta
) -> x509.CertificateRevocationList:
    """What one authority key took back, good for `life`."""
    above = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(now - BACKDATED)
        .next_update(now + life)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(above), critical=False)
    )
    for one in revocations:
        line = x509.RevokedCertificateBuilder().serial_number(one.serial).revocation_date(one.at)
        reason = x509.CRLReason(one.reason)
        builder = builder.add_revoked_certificate(line.add_extension(reason, critical=False).build())
    return signing.revocation_list(builder, issuer.signer)
