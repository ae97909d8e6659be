"""Identity: who a certificate speaks for, held against the signed topology.

    spiffe://<trust-domain>/<tier>/<region>/<node>/<zone>/e/<epoch>

Exactly one URI name of this grammar and one DNS name. A chain that verifies is not
enough: tier, region, zone and epoch must be the topology's row for that node.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import ExtendedKeyUsageOID

from jinbao.model.errors import IdentityError, StaleEpochError
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint, Tier, Zone

_URI = re.compile(
    r"spiffe://(?P<domain>[a-z0-9][a-z0-9.-]{0,63})/(?P<tier>ministry|province|city)/(?P<region>[0-9]{6})"
    r"/(?P<node>[0-9]{6}(?:-backup)?)/(?P<zone>production|exchange|decision)/e/(?P<epoch>[1-9][0-9]{0,8})"
)


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
    """Raise unless the identity is exactly its topology row; an older epoch is StaleEpochError."""
    endpoint = identity.endpoint
    row = topology.row(endpoint.node)
    if row is None or not topology.knows(endpoint):
        raise IdentityError(f"caller {endpoint}", expected="a zone of the topology", got="none of that name")
    said = (identity.trust_domain, identity.tier, identity.region)
    held = (topology.trust_domain, row.tier, row.region)
    if said != held:
        raise IdentityError(f"caller {endpoint}", expected=" ".join(held), got=" ".join(said))
    if identity.epoch != row.epoch:
        family = StaleEpochError if identity.epoch < row.epoch else IdentityError
        raise family(
            f"caller {endpoint}",
            expected=f"epoch {row.epoch}",
            got=f"epoch {identity.epoch}",
            next_step="jinbao topology",
        )


def check_chain(
    leaf: x509.Certificate,
    rest: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    at: datetime,
) -> None:
    """Raise IdentityError unless `leaf` leads to an anchor and every link is in force at `at`."""
    check_usage(leaf)
    current = leaf
    for candidate in (*rest, None):
        check_time(current, at)
        if any(_issued(current, anchor) for anchor in anchors):
            return
        if candidate is None or not _is_authority(candidate) or not _issued(current, candidate):
            break
        current = candidate
    raise IdentityError(
        "certificate chain",
        expected="an issuer this zone trusts",
        got=leaf.issuer.rfc4514_string()[:120],
        next_step="compare anchors.pem at both ends",
    )


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def check_usage(leaf: x509.Certificate) -> None:
    """Raise IdentityError for an authority used as a leaf, or a leaf not meant for both sides of a line."""
    if _is_authority(leaf):
        raise IdentityError("certificate", expected="a zone's", got="an authority's")
    try:
        usages = set(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        usages = set()
    if not {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH} <= usages:
        raise IdentityError(
            "certificate usage", expected="client and server authentication", got="less than both"
        )


def check_time(certificate: x509.Certificate, at: datetime) -> None:
    """Raise IdentityError with a clock reason unless the certificate is in force at `at` (UTC)."""
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not first <= at <= last:
        raise IdentityError(
            "clock: certificate in force",
            expected=f"a time from {first:%Y-%m-%dT%H:%M:%SZ} to {last:%Y-%m-%dT%H:%M:%SZ}",
            got=f"{at:%Y-%m-%dT%H:%M:%SZ}",
            next_step="compare the clocks of both nodes, then renew the certificate",
        )
