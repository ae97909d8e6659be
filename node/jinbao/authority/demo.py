"""Authorities of a demonstration: all of them in one process, beside the nodes they certify.

For demonstrations and tests on one machine, which no real authority may be. `DemoAuthorities` is the
hierarchy of a real network, by the same code; `DemoAuthority` one root that issues one certificate per
zone, as in release 0.1.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from jinbao.authority import rotation
from jinbao.authority.authority import Authority, granted
from jinbao.authority.identity_files import (
    ANCHORS,
    CHAIN,
    KEY,
    SEAL_CHAIN,
    SEAL_KEY,
    TRUST,
    write_generation,
)
from jinbao.authority.joining import Context, Waiting, private_pem
from jinbao.authority.keys import MemoryKeys
from jinbao.authority.ledger import Ledger
from jinbao.authority.policy import Policy
from jinbao.authority.profile import ROOT
from jinbao.authority.requests import ZoneRequest
from jinbao.authority.trust_files import newest, write_trust
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


class DemoAuthority:
    """A root key in memory; `life` is that of the leaves it issues."""

    def __init__(self, *, life: timedelta = timedelta(days=7), now: datetime | None = None) -> None:
        self._now = now or datetime.now(UTC)
        self._life = life
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "jinbao demo authority")])
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


class DemoAuthorities:
    """A root, the ministry's issuing authority and one per province, in memory, made when first asked for.

    `life` is that of leaves; authorities live long enough for it, and lists hold as long as it.
    """

    def __init__(self, *, life: timedelta = timedelta(days=14), now: datetime | None = None) -> None:
        self._now = now or datetime.now(UTC)
        self.policy = Policy(
            leaf=life,
            leaf_min=timedelta(0),
            leaf_max=life,
            issuing=life * 7,
            root=life * 50,
            crl=life,
            root_crl=life * 7,
        )
        self._by_name: dict[str, Authority] = {}

    def authority(self, name: str, domain: str) -> Authority:
        """The authority of a node, or `root`."""
        if name not in self._by_name:
            made = self._by_name[name] = Authority(Ledger(None), MemoryKeys(), self.policy)
            made.found(ROOT if name == ROOT else "issuing", domain, "" if name == ROOT else name, self._now)
            if name != ROOT:
                rotation.certify_here(made, self.authority(ROOT, domain), self._now)
            made.crl(self._now)
        return self._by_name[name]

    def documents(self) -> tuple[bytes, ...]:
        """Certificates of all authorities and their newest lists, DER."""
        return newest(document for one in self._by_name.values() for document in one.documents())

    def revoke(
        self, endpoint: Endpoint, topology: Topology, reason: str, now: datetime | None = None
    ) -> None:
        """Take back all certificates of a zone, and list it."""
        authority, at = self._by_name[topology.issuer(endpoint.node)], now or self._now
        authority.revoke(authority.serials_of(endpoint.node, endpoint.zone, now=at), reason, at)
        authority.crl(at)

    def prepare(self, name: str, now: datetime | None = None) -> None:
        """Make a successor of an authority's key; the root's is made known to all authorities."""
        authority, at = self._by_name[name], now or self._now
        rotation.prepare(authority, at)
        if name != ROOT:
            rotation.certify_here(authority, self._by_name[ROOT], at)
        self._spread(at)

    def activate(self, name: str, now: datetime | None = None) -> None:
        """Let the successor sign; a new root certifies every authority's key again."""
        at = now or self._now
        rotation.activate(self._by_name[name], at)
        if name == ROOT:
            for other, authority in self._by_name.items():
                if other != ROOT:
                    rotation.certify_here(authority, self._by_name[ROOT], at)
        self._spread(at)

    def taint(self, name: str, now: datetime | None = None) -> None:
        """Ask for the leaves of an authority's old key to be renewed at once."""
        rotation.taint(self._by_name[name], now or self._now)

    def retire(self, name: str, now: datetime | None = None) -> None:
        """Give up an authority's old key."""
        rotation.retire(self._by_name[name], now or self._now)
        self._spread(now or self._now)

    def _spread(self, now: datetime) -> None:
        """New lists of every authority; those of the root known to all."""
        for authority in self._by_name.values():
            authority.crl(now)
        for name, authority in self._by_name.items():
            if name != ROOT:
                authority.learn(self._by_name[ROOT].documents(), now)

    def issue(
        self, endpoint: Endpoint, topology: Topology, directory: Path, now: datetime | None = None
    ) -> None:
        """Write a new generation of one zone's identity into `directory` (0700)."""
        for node in dict.fromkeys(map(topology.issuer, topology.by_node)):
            self.authority(node, topology.trust_domain)
        authority = self._by_name[topology.issuer(endpoint.node)]
        waits = Waiting(
            Context("demo", granted(endpoint, topology), topology.issuer(endpoint.node), "", ()),
            ec.generate_private_key(ec.SECP256R1()),
            ed25519.Ed25519PrivateKey.generate(),
        )
        asked = waits.requests()
        request = ZoneRequest(asked.line_request, asked.seal_request)
        pair = authority.issue(endpoint, topology, request, now=now or self._now)
        pem = [b"".join(c.public_bytes(Encoding.PEM) for c in chain) for chain in (pair.line, pair.seal)]
        roots = b"".join(root.public_bytes(Encoding.PEM) for root in authority.roots())
        files = {
            KEY: private_pem(waits.line),
            CHAIN: pem[0],
            SEAL_KEY: private_pem(waits.seal),
            SEAL_CHAIN: pem[1],
            ANCHORS: roots,
            TRUST: write_trust(self.documents()),
        }
        write_generation(directory, files)
