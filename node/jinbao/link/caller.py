"""Who calls: identity of a caller from the TLS session, checked on every call (clause 1.2).

A verdict is kept as long as nothing it rests on changed: the certificates, the trust book,
the topology, and the moment the first of them ends. Long answers are checked again while
they run (clause 1.5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from jinbao.model.errors import (
    IdentityError,
    PeerError,
    RevocationUnknownError,
    RevokedError,
    StaleEpochError,
    UnprovableError,
)
from jinbao.model.topology import Topology
from jinbao.model.zone import Border, Endpoint
from jinbao.trust.book import Proof, TrustBook
from jinbao.trust.envelope import parse_certificate
from jinbao.trust.identity import Use, check_issuer, check_row, parse_identity

VERDICTS_MAX = 4096
"""Certificates remembered: two for each of a ministry's neighbours many times over."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A proved caller: who it is, and until when that needs no second look."""

    endpoint: Endpoint
    pems: tuple[bytes, ...]
    book: TrustBook
    topology: Topology
    until: datetime


class CallerCheck:
    """Names the neighbour that calls, or refuses it."""

    def __init__(
        self,
        me: Endpoint,
        *,
        book: Callable[[], TrustBook],
        topology: Callable[[], Topology],
        now: Callable[[], datetime],
    ) -> None:
        self._me, self._book, self._topology, self._now = me, book, topology, now
        self._known: dict[tuple[bytes, ...], Caller] = {}

    def identify(self, session: Mapping[str, Iterable[bytes]]) -> Caller:
        """The calling endpoint; `session` is gRPC's auth context.

        Raises IdentityError (RevokedError, RevocationUnknownError among them), StaleEpochError
        or UnprovableError.
        """
        spoken = [v.decode("ascii", "replace") for v in session.get("ssl_tls_version", [])]
        if spoken and spoken != ["TLSv1.3"]:
            raise IdentityError("TLS version", expected="TLSv1.3", got=", ".join(spoken))
        leaf = list(session.get("x509_pem_cert", []))[:1]
        if not leaf:
            raise IdentityError("caller", expected="a certificate", got="none")
        return self._judge((*leaf, *session.get("x509_pem_cert_chain", [])))

    def again(self, caller: Caller) -> Caller:
        """The same caller, still let in; raises as `identify` does once it no longer is."""
        return self._judge(caller.pems)

    def _judge(self, pems: tuple[bytes, ...]) -> Caller:
        book, topology, now = self._book(), self._topology(), self._now()
        known = self._known.get(pems)
        if known and known.book is book and known.topology is topology and now <= known.until:
            return known
        found = _certificates(pems)
        leaf, rest = found[0], found[1:]
        proof = _proved(leaf, [c for c in rest if c != leaf], book, topology, now)
        identity = parse_identity(leaf)
        check_row(identity, topology)
        check_issuer(identity, proof.issuer, topology)
        self._check_neighbour(identity.endpoint, topology)
        if len(self._known) >= VERDICTS_MAX:
            self._known = {}
        self._known[pems] = Caller(identity.endpoint, pems, book, topology, proof.last)
        return self._known[pems]

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


def _proved(
    leaf: x509.Certificate,
    rest: Sequence[x509.Certificate],
    book: TrustBook,
    topology: Topology,
    now: datetime,
) -> Proof:
    """The way of a caller's certificate to a root.

    Its authority takes the certificates of a former holder back, which then is no reason to keep from it what it must
    know: whoever comes with an older epoch hears that first (clause 1.7). Both errors are of a whole way to a root.
    """
    try:
        return book.prove(leaf, rest, now, Use.LINE)
    except (RevokedError, RevocationUnknownError) as exc:
        try:
            check_row(parse_identity(leaf), topology)
        except StaleEpochError as stale:
            raise stale from exc
        except PeerError:
            raise exc from None
        raise


def _certificates(pems: Sequence[bytes]) -> list[x509.Certificate]:
    """Certificates TLS has seen, read with all their parts; raises UnprovableError for one that cannot be."""
    try:
        found = [c for pem in pems for c in x509.load_pem_x509_certificates(pem)]
    except ValueError as exc:
        raise UnprovableError("caller", expected="certificates", got=str(exc)[:120]) from exc
    return [parse_certificate(c.public_bytes(Encoding.DER)) for c in found]
