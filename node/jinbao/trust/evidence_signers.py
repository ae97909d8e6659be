"""Who sealed what is in an evidence file, proved at a moment of the past: clauses E6 to E10 and E12 of `evidence`.

Reads both suites. Knows nothing of records, batches or receipts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from jinbao.model.batch import SealedBatch
from jinbao.model.errors import EvidenceError, IdentityError, UnprovableError
from jinbao.model.grant import granted
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint, Tier, Zone
from jinbao.trust.certification import Certification, RevokedError, Way, authority_of
from jinbao.trust.documents import MINISTRY
from jinbao.trust.encoding import TOPOLOGY_TYPE, decode_header, decode_topology
from jinbao.trust.envelope import check_bounds, pae, parse_certificate
from jinbao.trust.evidence import Evidence
from jinbao.trust.grants import GRANT_TYPE, decode_grant
from jinbao.trust.identity import Identity, parse_identity
from jinbao.trust.signer import check_suite

P256, INTL = "p256-sha256", "intl-1"

USAGES: Mapping[str, frozenset[ObjectIdentifier]] = {
    P256: frozenset({ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}),
    INTL: frozenset({ObjectIdentifier("1.3.6.1.5.5.7.3.36")}),  # documentSigning, RFC 9336
}
"""What the certificate of a seal must be for, by suite."""


@contextmanager
def clause(number: str) -> Iterator[None]:
    """Whatever does not hold inside breaks the clause."""
    try:
        yield
    except EvidenceError:
        raise
    except (UnprovableError, IdentityError) as exc:
        broken = "E10" if isinstance(exc, RevokedError) else number
        raise EvidenceError(broken, exc.thing, expected=exc.expected, got=exc.got) from exc


def moment(number: str, text: str) -> datetime:
    """A time as headers carry it, UTC; raises EvidenceError."""
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise EvidenceError(number, "time", expected="RFC 3339 with an offset", got=text[:40])


def _sealed_at(evidence: Evidence) -> datetime:
    """When the first batch says it was made; nothing else of it is believed yet."""
    if not evidence.batches:
        raise EvidenceError("E4", "batches", expected="one and its manifest", got="none")
    with clause("E4"):
        return moment("E4", decode_header(evidence.batches[0].payload).made_at)


class Signers:
    """The signers of one file, under given roots; `is_carried` says whether every state asked for was."""

    def __init__(
        self, evidence: Evidence, roots: Sequence[x509.Certificate], *, require_crl: bool | None
    ) -> None:
        """Raises EvidenceError unless authorities, CRLs, topology and grants hold."""
        with clause("E12"):
            Certification(roots, evidence.authorities, ()).check_carried()
        with clause("E10"):
            self._certification = Certification(roots, evidence.authorities, evidence.crls)
            self._certification.check_crls()
        self._require_crl = self._certification.has_crls if require_crl is None else require_crl
        self.is_carried = True
        with clause("E7"):
            self.topology = self._open(evidence.topology, _sealed_at(evidence))
        self._nodes: set[str] = set()
        self._granted: set[str] = set()
        for sealed in sorted(evidence.grants, key=self._depth):
            self._take(sealed)

    def _open(self, sealed: SealedBatch, near: datetime) -> Topology:
        """The topology; it has no time of its own: its signer is asked about as near to the record's as it could sign."""
        with clause("E6"):
            leaf, rest = _signature(sealed, TOPOLOGY_TYPE)
        topology = decode_topology(sealed.payload)
        at = min(max(near, leaf.not_valid_before_utc), leaf.not_valid_after_utc)
        identity, way = self._certified(leaf, rest, topology, at)
        with clause("E6"):
            check_suite(sealed.suite, way.issuer)
        row = topology.by_node[identity.endpoint.node]
        is_root = identity.endpoint == Endpoint(MINISTRY, Zone.EXCHANGE) and not row.parent
        if not is_root or topology.root != MINISTRY:
            raise IdentityError(
                "topology: signer",
                expected=f"the exchange zone of the root node, {MINISTRY}",
                got=identity.uri,
            )
        return topology

    def _depth(self, sealed: SealedBatch) -> int:
        """How far below the root node a grant's node is: a promoted parent grants at its own new epoch."""
        with clause("E7"):
            return len(self.topology.above(Endpoint(decode_grant(sealed.payload).node, Zone.EXCHANGE)))

    def _take(self, sealed: SealedBatch) -> None:
        """Believe a grant: from here on its node's row is at its epoch."""
        with clause("E7"):
            if sealed.payload_type != GRANT_TYPE:
                raise UnprovableError("grant", expected=GRANT_TYPE, got=sealed.payload_type[:80])
            grant = decode_grant(sealed.payload)
        signer = self.prove(sealed, moment("E7", grant.made_at))
        row = self.topology.row(grant.node)
        parent = Endpoint(row.parent, Zone.EXCHANGE) if row and row.parent else None
        said = (signer.endpoint, grant.trust_domain)
        if parent is None or said != (parent, self.topology.trust_domain):
            raise EvidenceError(
                "E7",
                f"signer of the grant of {grant.node}",
                expected=f"{parent or 'none'}, the exchange zone of its parent",
                got=signer.uri,
            )
        self.topology = granted(self.topology, [grant])
        self._granted.add(grant.node)

    def check_grants(self) -> None:
        """Raise unless every grant is of a node of which a zone sealed something that was proved (clause E7)."""
        idle = sorted(self._granted - self._nodes)
        if idle:
            raise EvidenceError("E7", "grant", expected="one of a node that seals in the file", got=idle[0])

    def prove(self, sealed: SealedBatch, at: datetime) -> Identity:
        """Who sealed an envelope, proved at a moment."""
        with clause("E6"):
            leaf, rest = _signature(sealed, sealed.payload_type)
        identity, way = self._certified(leaf, rest, self.topology, at)
        with clause("E6"):
            check_suite(sealed.suite, way.issuer)
        self._nodes.add(identity.endpoint.node)
        return identity

    def prove_again(self, sealed: SealedBatch, at: datetime) -> None:
        """The signer of an envelope proved before also holds at another moment."""
        leaf, *rest = map(parse_certificate, sealed.certificates)
        with clause("E12"):
            way = self._certification.way(leaf, rest, at)
        self._check_state(leaf, way, at)

    def _certified(
        self, leaf: x509.Certificate, rest: Sequence[x509.Certificate], topology: Topology, at: datetime
    ) -> tuple[Identity, Way]:
        with clause("E7"):
            identity = parse_identity(leaf)
            _check_row(identity, topology)
        with clause("E8"):
            way = self._certification.way(leaf, rest, at)
        with clause("E9"):
            if not way.issuer_is_root:
                _check_issuer(way.issuer, identity, topology)
        self._check_state(leaf, way, at)
        return identity, way

    def _check_state(self, leaf: x509.Certificate, way: Way, at: datetime) -> None:
        """Note whether the state of every certificate of the way is carried; raise where it must be (clause E10)."""
        self.is_carried &= way.revocation_carried
        if self._require_crl and not way.revocation_carried:
            raise EvidenceError(
                "E10",
                f"revocation state of {leaf.subject.rfc4514_string()[:120]}",
                expected=f"CRLs good at {at:%Y-%m-%dT%H:%M:%SZ}",
                got="none",
            )


def _signature(sealed: SealedBatch, payload_type: str) -> tuple[x509.Certificate, list[x509.Certificate]]:
    """The signer's certificate and the rest of its chain, once the signature is proved (clause E6)."""
    check_bounds(sealed)
    if sealed.payload_type != payload_type:
        raise UnprovableError("seal: type", expected=payload_type, got=sealed.payload_type[:80])
    leaf, *rest = map(parse_certificate, sealed.certificates)
    usage = USAGES.get(sealed.suite)
    if usage is None:
        raise UnprovableError("seal: suite", expected=" or ".join(USAGES), got=sealed.suite[:40])
    try:
        said = set(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        said = set()
    if not usage <= said:
        raise UnprovableError("seal: usage", expected=f"a certificate for {sealed.suite}", got="another")
    _check_signature(sealed, leaf.public_key())
    return leaf, rest


def _check_signature(sealed: SealedBatch, key: object) -> None:
    message = pae(sealed.payload_type, sealed.payload)
    try:
        if sealed.suite == INTL and isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(sealed.signature, message)
            return
        is_p256 = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
        if sealed.suite == P256 and is_p256:
            assert isinstance(key, ec.EllipticCurvePublicKey)
            key.verify(sealed.signature, message, ec.ECDSA(hashes.SHA256()))
            return
    except InvalidSignature as exc:
        raise UnprovableError("seal", expected="the signer's over these bytes", got="another") from exc
    raise UnprovableError("seal: key", expected=f"one of {sealed.suite}", got=type(key).__name__)


def _check_row(identity: Identity, topology: Topology) -> None:
    """The identity is its node's row as granted; its epoch may be over by now, but is none that is still to come."""
    row = topology.row(identity.endpoint.node)
    if row is None or not topology.knows(identity.endpoint):
        raise IdentityError("signer", expected="a zone of the topology", got=identity.uri)
    said = (identity.trust_domain, identity.tier, identity.region)
    if said != (topology.trust_domain, row.tier, row.region) or identity.epoch > row.epoch:
        raise IdentityError("signer", expected=f"the row of {row.node}, epoch {row.epoch}", got=identity.uri)


def _check_issuer(issuer: x509.Certificate, identity: Identity, topology: Topology) -> None:
    """A city's certificate comes from its province's authority, every other from the root node's (clause E9)."""
    named = authority_of(issuer)
    row = topology.by_node[identity.endpoint.node]
    parent = topology.row(row.parent)
    of_province = row.tier is Tier.CITY and parent is not None and parent.tier is Tier.PROVINCE
    root = next(r.node for r in topology.rows if not r.parent)
    expected = row.parent if of_province else root
    if named is None or (named.domain, named.name) != (identity.trust_domain, expected):
        raise IdentityError(
            f"issuer of {identity.endpoint}", expected=f"the authority of {expected}", got=named or "none"
        )
