"""Who calls: identity of a caller from the TLS session, checked on every call (clause 1.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from jinbao.model.errors import IdentityError
from jinbao.model.topology import Topology
from jinbao.model.zone import Border, Endpoint
from jinbao.trust.envelope import parse_certificate
from jinbao.trust.identity import check_chain, check_row, parse_identity


class CallerCheck:
    """Names the neighbour that calls, or refuses it."""

    def __init__(
        self,
        me: Endpoint,
        *,
        anchors: Sequence[x509.Certificate],
        topology: Callable[[], Topology],
        now: Callable[[], datetime],
    ) -> None:
        self._me, self._anchors, self._topology, self._now = me, anchors, topology, now

    def identify(self, session: Mapping[str, Iterable[bytes]]) -> Endpoint:
        """The calling endpoint; `session` is gRPC's auth context. Raises IdentityError or StaleEpochError."""
        spoken = [v.decode("ascii", "replace") for v in session.get("ssl_tls_version", [])]
        if spoken and spoken != ["TLSv1.3"]:
            raise IdentityError("TLS version", expected="TLSv1.3", got=", ".join(spoken))
        pem = list(session.get("x509_pem_cert", []))
        if not pem:
            raise IdentityError("caller", expected="a certificate", got="none")
        leaf = _certificates(pem[:1])[0]
        rest = _certificates(session.get("x509_pem_cert_chain", []))
        check_chain(leaf, [c for c in rest if c != leaf], self._anchors, self._now())
        identity = parse_identity(leaf)
        topology = self._topology()
        check_row(identity, topology)
        self._check_neighbour(identity.endpoint, topology)
        return identity.endpoint

    def _check_neighbour(self, caller: Endpoint, topology: Topology) -> None:
        row = topology.by_node[caller.node]
        follows = self._me.node in row.protects
        if not follows and caller not in topology.neighbours(self._me):
            raise IdentityError(
                f"caller {caller}",
                expected=f"a neighbour of {self._me}",
                got="a zone that is none",
                next_step="jinbao topology",
            )
        if not follows and topology.border(self._me, caller) is Border.CARRIER:
            raise IdentityError(f"caller {caller}", expected="packages by carrier", got="a live connection")


def _certificates(pems: Iterable[bytes]) -> list[x509.Certificate]:
    """Certificates TLS has seen, read with all their parts; raises UnprovableError for one that cannot be."""
    return [
        parse_certificate(found.public_bytes(Encoding.DER))
        for pem in pems
        for found in x509.load_pem_x509_certificates(pem)
    ]
