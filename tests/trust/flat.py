"""One root that certifies every zone itself, one key for line and seals: a network of release 0.1."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from jinbao.authority.identity_files import ANCHORS, CHAIN, KEY
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint
from jinbao.trust.identity import Identity, dns_name

_BACKDATED = timedelta(minutes=5)


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write(path: Path, content: bytes) -> None:
    """Create a file only its owner can read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)  # a file that was there keeps its old mode otherwise
        file.write(content)


class FlatAuthority:
    """A root key in memory that certifies zones itself; `life` is that of its leaves."""

    def __init__(self, *, life: timedelta = timedelta(days=7), now: datetime | None = None) -> None:
        self._now = now or datetime.now(UTC)
        self._life = life
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "flat authority")])
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        self.root = (
            self._builder(name, name, life * 7, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def _builder(
        self, subject: x509.Name, issuer: x509.Name, life: timedelta, key: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - _BACKDATED)
            .not_valid_after(self._now + life)
        )

    def issue(self, endpoint: Endpoint, topology: Topology, directory: Path) -> None:
        """Write key, chain and anchors of one zone into `directory` (0700)."""
        row = topology.by_node[endpoint.node]
        identity = Identity(topology.trust_domain, row.tier, row.region, endpoint, row.epoch)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, str(endpoint))])
        names = x509.SubjectAlternativeName(
            [x509.UniformResourceIdentifier(identity.uri), x509.DNSName(dns_name(endpoint))]
        )
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
        leaf = (
            self._builder(subject, self.root.subject, self._life, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(names, critical=False)
            .add_extension(usage, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        _write(directory / KEY, _private_pem(key))
        _write(directory / CHAIN, leaf.public_bytes(Encoding.PEM))
        _write(directory / ANCHORS, self.root.public_bytes(Encoding.PEM))
