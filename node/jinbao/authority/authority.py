"""An authority 发证机构: issues for zones of the signed topology, takes back, lists, and tells others what to trust.

A root certifies issuing authorities, an issuing authority zones. All it is stands in its ledger; every
operation first reads what others wrote there, acts, and records before it answers. Rotation is in
`rotation`, answers to nodes in `enrolling`. It never sees a zone's private key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from jinbao.authority import profile
from jinbao.authority.keys import FileKeys, Keys, Spec, ski_of
from jinbao.authority.ledger import Ledger
from jinbao.authority.policy import Policy, check_parent, leaf_life
from jinbao.authority.profile import Issuer, Revocation
from jinbao.authority.requests import ProvedKeys, ZoneRequest, prove
from jinbao.authority.signer import PublicKey, Signer
from jinbao.authority.state import Issued, OwnKey, Stage, State, Use, der, packed
from jinbao.authority.trust_files import cross_certificates, newest, roots_in_force
from jinbao.model.errors import IdentityError, StaleEpochError, UsageError
from jinbao.model.topology import Topology
from jinbao.model.zone import NODE_PATTERN, Endpoint
from jinbao.trust.chain import issued
from jinbao.trust.identity import ROOT, Identity

REASONS = {
    "key-compromise": x509.ReasonFlags.key_compromise,
    "superseded": x509.ReasonFlags.superseded,
    "cessation": x509.ReasonFlags.cessation_of_operation,
    "affiliation": x509.ReasonFlags.affiliation_changed,
    "privilege-withdrawn": x509.ReasonFlags.privilege_withdrawn,
}
"""Why a certificate is taken back: the first refuses all of it, the others what was made afterwards."""

_DOMAIN = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")


@dataclass(frozen=True)
class Pair:
    """Both certificates of one zone, each with the authority's behind it."""

    line: tuple[x509.Certificate, ...]
    seal: tuple[x509.Certificate, ...]


def identity_of(endpoint: Endpoint, topology: Topology) -> Identity:
    """What a topology calls a zone; raises IdentityError for one it does not have."""
    row = topology.row(endpoint.node)
    if row is None or not topology.knows(endpoint):
        raise IdentityError(f"zone {endpoint}", expected="a zone of the topology", got="none of that name")
    return Identity(topology.trust_domain, row.tier, row.region, endpoint, row.epoch)


class Authority:
    """One authority; safe to share between threads, and between processes that name the same directory."""

    def __init__(self, ledger: Ledger, keys: Keys, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        self._ledger, self._keys, self._state = ledger, keys, State()

    @classmethod
    def at(cls, directory: Path, passphrase: bytes = b"", policy: Policy | None = None) -> Authority:
        """The authority of a directory, founded or not."""
        return cls(Ledger(directory), FileKeys(directory / "keys", passphrase), policy)

    @property
    def is_founded(self) -> bool:
        """Whether this is an authority already."""
        with self.acting() as state:
            return bool(state.role) and state.key_in(Stage.ACTIVE) is not None

    @contextmanager
    def acting(self) -> Iterator[State]:
        """What the authority is now, while nobody else acts."""
        with self._ledger.exclusive() as news:
            for entry in news:
                self._state.apply(entry)
            yield self._state

    def record(self, kind: str, now: datetime, **body: Any) -> None:
        """One act: durable, then part of the state. Inside `acting` only."""
        self._state.apply(self._ledger.append(kind, now, body))

    # Founding

    def found(
        self, role: str, domain: str, node: str, now: datetime, key: tuple[Spec, Signer] | None = None
    ) -> None:
        """Become the root or the issuing authority of `node`; a root certifies itself, the other waits.

        Founding again what was cut off half-way goes on; as anything else is refused.
        """
        if not _DOMAIN.fullmatch(domain) or (node and not NODE_PATTERN.fullmatch(node)):
            raise UsageError(
                "authority",
                expected="a trust domain and a node of six digits",
                got=f"{domain[:70]} {node[:20]}",
            )
        with self.acting() as state:
            if (state.role, state.domain, state.node) == (role, domain, node) and not state.key_in(
                Stage.ACTIVE
            ):
                pass
            elif state.role:
                raise UsageError(
                    "authority of this directory", expected="none yet", got=f"authority {state.name}"
                )
            else:
                self.record("founded", now, role=role, domain=domain, node=node)
            waiting = state.key_in(Stage.MADE, Stage.PREPARED) or self.make_key(now, key)
            if role == ROOT:
                if not waiting.certificates:
                    self.certify_self(waiting, now)
                self.record("activated", now, ski=waiting.ski)

    def make_key(self, now: datetime, key: tuple[Spec, Signer] | None = None) -> OwnKey:
        """A new key, without a certificate yet. Inside `acting` only."""
        spec, signer = key or self._keys.make()
        public = signer.public_key
        ski = ski_of(public)
        encoded = public.public_bytes(Encoding.DER, profile.SPKI)
        self.record("key_made", now, ski=ski, spec=dict(spec), public_key=packed(encoded))
        return self._state.keys[ski]

    def certify_self(self, key: OwnKey, now: datetime) -> None:
        """Sign a root's own certificate. Inside `acting` only."""
        check_roots_life(self.policy)
        made = profile.root(self._state.domain, self.signer(key), now, self.policy.root)
        self.record("certified", now, ski=key.ski, certificate=packed(der(made)))

    def signer(self, key: OwnKey) -> Signer:
        """The private half of one of the authority's keys, wherever it is."""
        return self._keys.find(key.spec)

    def issuer(self, key: OwnKey | None = None) -> Issuer:
        """The key that signs, or the given one, with its certificate. Inside `acting` only."""
        chosen = key or self._state.active
        return Issuer(chosen.certificate, self.signer(chosen))

    # Certificates of zones and authorities

    def in_force(self, topology: Topology) -> Topology:
        """A topology with every grant this authority took in: whatever is asked of a topology is asked of this."""
        with self.acting() as state:
            return state.in_force(topology)

    def may_certify(self, identity: Identity, topology: Topology | None) -> None:
        """Raise unless this authority is the one that certifies this zone as exactly this. Inside `acting` only."""
        self.check_epoch(identity)
        self.check_own(identity.endpoint.node, identity.trust_domain, topology)
        if topology is None:
            return
        row = identity_of(identity.endpoint, self._state.in_force(topology))
        if row != identity:
            raise IdentityError(f"zone {identity.endpoint}", expected=row.uri, got=identity.uri)

    def check_epoch(self, identity: Identity) -> None:
        """Raise StaleEpochError where the identity was granted to another holder. Inside `acting` only."""
        node, epoch = identity.endpoint.node, self._state.epoch(identity.endpoint.node)
        if identity.epoch < epoch:
            raise StaleEpochError(
                f"zone {identity.endpoint}",
                expected=f"epoch {epoch}",
                got=f"epoch {identity.epoch}",
                next_step=f"stop this one: {node} has another holder, whose token is made anew (jinbao ca token)",
            )

    def check_own(self, node: str, domain: str, topology: Topology | None) -> None:
        """Raise unless this authority is the one that certifies a node. Inside `acting` only."""
        state = self._state
        if state.role == ROOT:
            raise UsageError("a root", expected="an authority to certify", got=f"node {node}")
        if domain != state.domain:
            raise IdentityError("trust domain", expected=state.domain, got=domain)
        if topology is None:
            return
        issuer = topology.issuer(node) if topology.row(node) else "none"
        if issuer != state.node:
            raise IdentityError(
                f"authority of {node}",
                expected=f"authority {issuer}",
                got=f"authority {state.node}",
                next_step="ask the authority the topology names",
            )

    def issue(
        self,
        endpoint: Endpoint,
        topology: Topology,
        request: ZoneRequest,
        *,
        now: datetime,
        life: timedelta | None = None,
    ) -> Pair:
        """Both certificates of a zone of the topology; raises IdentityError for one that is not this authority's."""
        with self.acting() as state:
            identity = identity_of(endpoint, state.in_force(topology))
            self.may_certify(identity, topology)
            return self.sign_pair(identity, prove(request, identity), now=now, life=life, via="operator")

    def sign_pair(
        self, identity: Identity, keys: ProvedKeys, *, now: datetime, life: timedelta | None, via: str
    ) -> Pair:
        """Sign and record both certificates as one act. Inside `acting` only; the right was checked."""
        span, issuer, about = leaf_life(self.policy, life), self.issuer(), str(identity.endpoint)
        check_parent(self.policy, issuer.certificate, span, now, about)
        line = profile.line_leaf(identity, keys.line, issuer, now, span)
        seal = profile.seal_leaf(identity, keys.seal, issuer, now, span)
        self.record_issued([(line, Use.LINE, about), (seal, Use.SEAL, about)], via, now)
        return self.pair(line, seal)

    def pair(self, line: x509.Certificate, seal: x509.Certificate) -> Pair:
        """Certificates of a zone with the authority that signed them. Inside `acting` only."""
        above = self._state.keys[self._state.issued[line.serial_number].issuer].certificate
        return Pair((line, above), (seal, above))

    def record_issued(
        self, made: Sequence[tuple[x509.Certificate, Use, str]], via: str, now: datetime, ski: str = ""
    ) -> None:
        """One act for certificates that were signed together."""
        listed = [{"der": packed(der(c)), "use": use, "about": about} for c, use, about in made]
        self.record("issued", now, certificates=listed, via=via, issuer=ski or self._state.active.ski)

    def certify(
        self, node: str, key: PublicKey, now: datetime, life: timedelta | None = None
    ) -> x509.Certificate:
        """An issuing authority's certificate by the root; the same key may be certified again."""
        span = self.policy.issuing if life is None else life
        with self.acting() as state:
            if state.role != ROOT:
                raise UsageError("an issuing authority", expected="zones to certify", got=f"authority {node}")
            issuer = self.issuer()
            check_parent(self.policy, issuer.certificate, span, now, f"authority {node}")
            made = profile.issuing(state.domain, node, key, issuer, now, span)
            self.record_issued([(made, Use.AUTHORITY, f"authority/{node}")], "operator", now)
            return made

    def enrolment_chain(self, key: PublicKey, now: datetime) -> tuple[x509.Certificate, ...]:
        """A certificate for this authority's enrolment listener, and the way up from it.

        With the cross certificate of a new root in it, so that who pins the old one comes in too.
        """
        crosses = cross_certificates(self.documents())
        with self.acting() as state:
            issuer = self.issuer()
            check_parent(self.policy, issuer.certificate, self.policy.leaf, now, "the enrolment listener")
            made = profile.enrolment_leaf(state.domain, state.node, key, issuer, now, self.policy.leaf)
            self.record_issued([(made, Use.ENROLMENT, f"authority/{state.node}")], "listener", now)
            above = [cross for cross in crosses if issued(issuer.certificate, cross)]
            return (made, issuer.certificate, *above)

    def has_moved(self, own: x509.Certificate) -> bool:
        """Whether another key or certificate of the authority signs since `own` did."""
        with self.acting() as state:
            return state.active.certificate != own

    def issued(self) -> list[Issued]:
        """Everything it signed, oldest first."""
        with self.acting() as state:
            return list(state.issued.values())

    # Taking back

    def revoke(self, serials: Iterable[int], reason: str, now: datetime) -> list[int]:
        """Take certificates back; those that were before are left as they are. Returns the new ones."""
        if reason not in REASONS:
            raise UsageError("reason", expected=" or ".join(REASONS), got=reason)
        with self.acting() as state:
            wanted = list(dict.fromkeys(serials))
            unknown = [serial for serial in wanted if serial not in state.issued]
            if unknown or not wanted:
                got = ", ".join(f"{serial:x}" for serial in unknown) or "none"
                raise UsageError("certificate", expected="one this authority issued", got=got)
            fresh = [serial for serial in wanted if serial not in state.revoked]
            if fresh:
                hexes = [f"{serial:x}" for serial in fresh]
                self.record("revoked", now, serials=hexes, reason=REASONS[reason].value)
            return fresh

    def serials_of(self, node: str, zone: str = "", *, now: datetime) -> list[int]:
        """Serials of all certificates of a node or of one of its zones that have not ended."""
        about = (f"{node}/{zone}",) if zone else (f"{node}/", f"authority/{node}")
        with self.acting() as state:
            return [
                one.serial
                for one in state.issued.values()
                if one.about.startswith(about) and one.certificate.not_valid_after_utc >= now
            ]

    def crl(self, now: datetime, *, due_only: bool = False) -> list[x509.CertificateRevocationList]:
        """A new list of each key that is in use; if asked, only those whose half-life is over or that lack somebody."""
        with self.acting() as state:
            made = []
            for key in state.keys.values():
                if not self._lists(key):
                    continue
                last = state.lists.get(key.ski)
                if due_only and last is not None and not (_is_due(last, now) or self._is_short(key, last)):
                    continue
                made.append(self.make_list(key, now))
            return made

    def _is_short(self, key: OwnKey, last: x509.CertificateRevocationList) -> bool:
        """Whether something was taken back since a key's list was made: a crash came between, or others do it."""
        listed = {entry.serial_number for entry in last}
        mine = (serial for serial in self._state.revoked if self._state.issued[serial].issuer == key.ski)
        return any(serial not in listed for serial in mine)

    def _lists(self, key: OwnKey) -> bool:
        """Whether somebody may ask what a key took back: it signs, signed, or is known before it does."""
        if key.stage is Stage.PREPARED:
            return any(one.issuer == key.ski for one in self._state.issued.values())
        return key.stage not in {Stage.MADE, Stage.RETIRED}

    def make_list(self, key: OwnKey, now: datetime) -> x509.CertificateRevocationList:
        """The next list of one key. Inside `acting` only."""
        state = self._state
        last = state.lists.get(key.ski)
        number = 1 if last is None else crl_number(last) + 1
        # Also what has ended: a seal is checked as of when it says it was made, and a thief dates as he likes.
        lines = [one for serial, one in state.revoked.items() if state.issued[serial].issuer == key.ski]
        if key.stage is Stage.TAINTED:  # its own serials on its own list say so; no leaf has those numbers
            reason = x509.ReasonFlags.superseded
            lines += [Revocation(own.serial_number, now, reason) for own in key.certificates]
        life = self.policy.root_crl if state.role == ROOT else self.policy.crl
        made = profile.revocation_list(self.issuer(key), number, lines, now, life)
        self.record("crl", now, ski=key.ski, der=packed(made.public_bytes(Encoding.DER)))
        return made

    # What others trust

    def learn(self, documents: Iterable[bytes], now: datetime) -> None:
        """Keep trust documents of others (roots, cross certificates, lists) to hand them on."""
        with self.acting() as state:
            fresh = [document for document in dict.fromkeys(documents) if document not in state.documents]
            if fresh:
                self.record("imported", now, documents=[packed(document) for document in fresh])

    def documents(self) -> tuple[bytes, ...]:
        """All certificates of authorities and the newest list of each key, DER.

        Also those that were taken back: they prove what was signed before, and that they were.
        """
        with self.acting() as state:
            own = [c for key in state.keys.values() for c in key.certificates]
            signed = [
                one.certificate for one in state.issued.values() if one.use in {Use.AUTHORITY, Use.CROSS}
            ]
            lists = [found.public_bytes(Encoding.DER) for found in state.lists.values()]
            return newest([*map(der, own), *map(der, signed), *state.documents, *lists])

    def roots(self) -> tuple[x509.Certificate, ...]:
        """The roots in force, oldest first."""
        return roots_in_force(self.documents())


def crl_number(found: x509.CertificateRevocationList) -> int:
    """The number of a list."""
    return found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def _is_due(last: x509.CertificateRevocationList, now: datetime) -> bool:
    end = last.next_update_utc
    return end is None or now >= last.last_update_utc + (end - last.last_update_utc) / 2


def check_roots_life(policy: Policy) -> None:
    """Raise UsageError for a policy whose root does not live long enough for its authorities."""
    if policy.root <= policy.issuing * policy.times:
        raise UsageError(
            "life of a root",
            expected=f"more than {policy.times} times {policy.issuing.days} days",
            got=f"{policy.root.days} days",
        )
