"""Identity: who a certificate speaks for, held against the signed topology.

    spiffe://<trust-domain>/<tier>/<region>/<node>/<zone>/e/<epoch>     a zone
    spiffe://<trust-domain>/authority/<node>                            an issuing authority
    spiffe://<trust-domain>/authority/root                              the root

A zone's certificate has exactly one URI name of this grammar and one DNS name. A chain that
verifies is not enough: tier, region, zone and epoch must be the topology's row for that
node, and its issuer the authority that may speak for that row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from jinbao.model.errors import IdentityError, StaleEpochError, UnknownEpochError
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint, Tier, Zone

_URI = re.compile(
    r"spiffe://(?P<domain>[a-z0-9][a-z0-9.-]{0,63})/(?P<tier>ministry|province|city)/(?P<region>[0-9]{6})"
    r"/(?P<node>[0-9]{6}(?:-backup)?)/(?P<zone>production|exchange|decision)/e/(?P<epoch>[1-9][0-9]{0,8})"
)

_AUTHORITY = re.compile(
    r"spiffe://(?P<domain>[a-z0-9][a-z0-9.-]{0,63})/authority/(?P<name>root|[0-9]{6}(?:-backup)?)"
)
ROOT = "root"
"""Name of the authority everything hangs on."""

DOCUMENT_SIGNING = ObjectIdentifier("1.3.6.1.5.5.7.3.36")
"""Extended key usage of a certificate that seals (RFC 9336)."""


class Use(StrEnum):
    """What a leaf is for; a key of one use never passes for the other."""

    LINE = "line"  # both sides of mutual TLS
    SEAL = "seal"  # signatures over documents


_USAGES = {
    Use.LINE: frozenset({ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}),
    Use.SEAL: frozenset({DOCUMENT_SIGNING}),
}


@dataclass(frozen=True, slots=True)
class Identity:
    """What one certificate says of its holder."""

    trust_domain: str
    tier: Tier
    region: str
    endpoint: Endpoint
    epoch: int

    @property
    def uri(self) -> str:
        """The one URI name."""
        e = self.endpoint
        return f"spiffe://{self.trust_domain}/{self.tier}/{self.region}/{e.node}/{e.zone}/e/{self.epoch}"


def dns_name(endpoint: Endpoint) -> str:
    """The one DNS name of a zone, `exchange.140100.jinbao.internal`."""
    return f"{endpoint.zone}.{endpoint.node}.jinbao.internal"


def parse_identity(certificate: x509.Certificate) -> Identity:
    """Read the names; raises IdentityError unless they are exactly ours."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError) as exc:
        raise IdentityError("certificate names", expected="one URI and one DNS name", got="none") from exc
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    hosts = names.get_values_for_type(x509.DNSName)
    if len(uris) != 1 or len(hosts) != 1:
        raise IdentityError(
            "certificate names", expected="one URI and one DNS name", got=f"{len(uris)} URI, {len(hosts)} DNS"
        )
    match = _URI.fullmatch(uris[0])
    if match is None:
        raise IdentityError(
            "certificate URI", expected="spiffe://domain/tier/region/node/zone/e/N", got=uris[0][:120]
        )
    endpoint = Endpoint(match["node"], Zone(match["zone"]))
    if hosts[0] != dns_name(endpoint):
        raise IdentityError("certificate DNS name", expected=dns_name(endpoint), got=hosts[0][:120])
    return Identity(match["domain"], Tier(match["tier"]), match["region"], endpoint, int(match["epoch"]))


def check_row(identity: Identity, topology: Topology) -> None:
    """Raise unless the identity is exactly its topology row: StaleEpochError for an older epoch, UnknownEpochError else."""
    endpoint = identity.endpoint
    row = topology.row(endpoint.node)
    if row is None or not topology.knows(endpoint):
        raise IdentityError(f"caller {endpoint}", expected="a zone of the topology", got="none of that name")
    said = (identity.trust_domain, identity.tier, identity.region)
    held = (topology.trust_domain, row.tier, row.region)
    if said != held:
        raise IdentityError(f"caller {endpoint}", expected=" ".join(held), got=" ".join(said))
    if identity.epoch != row.epoch:
        family = StaleEpochError if identity.epoch < row.epoch else UnknownEpochError
        raise family(
            f"caller {endpoint}",
            expected=f"epoch {row.epoch}",
            got=f"epoch {identity.epoch}",
            next_step="jinbao topology",
            caller=endpoint.node,
        )


def authority_name(certificate: x509.Certificate) -> str:
    """The authority a certificate names: `root` or a node; empty for one that names none of ours."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ""
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    match = _AUTHORITY.fullmatch(uris[0]) if len(uris) == 1 else None
    return match["name"] if match else ""


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether a certificate may sign others."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def check_usage(leaf: x509.Certificate, use: Use) -> None:
    """Raise IdentityError for an authority used as a leaf, or a leaf that is not meant for `use`."""
    if is_authority(leaf):
        raise IdentityError("certificate", expected="a zone's", got="an authority's")
    try:
        usages = set(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        usages = set()
    if not usages >= _USAGES[use]:
        raise IdentityError("certificate usage", expected=_WORDS[use], got="less than that")


_WORDS = {Use.LINE: "client and server authentication", Use.SEAL: "document signing"}


def check_issuer(identity: Identity, issuer: x509.Certificate, topology: Topology) -> None:
    """Raise IdentityError unless the authority that signed a leaf may speak for the leaf's row.

    A flat authority, one whose certificate names none of ours, is an anchor the operator
    installed by hand (a government's own, or that of a network of release 0.1); what it signs
    is taken as it stands.
    """
    name = authority_name(issuer)
    if not name:
        return
    expected = topology.issuer(identity.endpoint.node)
    if name != expected:
        raise IdentityError(
            f"issuer of {identity.endpoint}",
            expected=f"authority {expected}",
            got=f"authority {name}",
            next_step="jinbao topology",
        )
