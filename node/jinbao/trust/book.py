"""The trust book 信任簿: roots, authorities and revocation lists a zone holds, and what follows from them.

Immutable; folded from the anchors an operator installed and the signed documents that came
since. Every document proves itself, so that order and way do not matter: a certificate leads
to a root in force, a list is signed by such an authority and its number only grows.

A root follows another by X.509 alone: a new root is believed when a certificate of its key by
a root in force is there (new with old); the old one is retired when the new root's list
names the certificate it gave the old key (old with new).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from itertools import pairwise
from types import MappingProxyType

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from jinbao.model.errors import IdentityError, RevocationUnknownError, UnprovableError
from jinbao.trust.chain import Step, issued, may_sign, path_to_anchor
from jinbao.trust.envelope import parse_certificate
from jinbao.trust.identity import ROOT, Use, authority_name, check_usage
from jinbao.trust.revocation import RevocationList, key_id, read_list, signed_by

GRACE = timedelta(hours=72)
"""A line is down over a long weekend; after that nobody knows who was taken back meanwhile."""

AUTHORITIES_MAX = 300
"""32 authorities, each a handful of certificates in rotation."""

_NO_LISTS: Mapping[str, RevocationList] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Proof:
    """A leaf that was proved for a use: the way to its anchor, and when all of it is in force."""

    path: tuple[x509.Certificate, ...]
    use: Use
    first: datetime
    last: datetime

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate that was asked about."""
        return self.path[0]

    @property
    def issuer(self) -> x509.Certificate:
        """The authority that signed it."""
        return self.path[1]


@dataclass(frozen=True)
class TrustBook:
    """What is trusted now. `crls` by key id of the authority; see `of` for how one is made."""

    roots: tuple[x509.Certificate, ...]
    authorities: tuple[x509.Certificate, ...] = ()
    crls: Mapping[str, RevocationList] = field(default_factory=lambda: _NO_LISTS)
    grace: timedelta = GRACE

    @classmethod
    def of(
        cls,
        anchors: Iterable[x509.Certificate],
        documents: Iterable[bytes] = (),
        *,
        grace: timedelta = GRACE,
    ) -> TrustBook:
        """Fold anchors and documents (DER certificates and lists, in any order); what proves nothing is left out.

        For documents that were admitted before, or come with the anchors themselves.
        """
        certificates, lists = _sorted(documents)
        roots = list(anchors)
        authorities = _reachable(roots, certificates)
        while grown := [c for c in authorities if _is_new_root(c, roots, authorities)]:
            roots += grown
            authorities = _reachable(roots, certificates)
        crls = _newest(lists, (*roots, *authorities))
        standing = [root for root in roots if not _is_retired(root, roots, authorities, crls)]
        return cls(tuple(standing), tuple(authorities), MappingProxyType(crls), grace)

    def admit(self, documents: Sequence[bytes]) -> TrustBook:
        """The book with documents a peer or an operator brought; the same book if all are known.

        Raises UnprovableError for one that is no document, leads to no root held here, or is a
        list older than the one held.
        """
        after, refused = self.absorb(documents)
        if refused:
            raise refused[0]
        return after

    def absorb(self, documents: Sequence[bytes]) -> tuple[TrustBook, list[UnprovableError]]:
        """The book with those of the documents that prove themselves, and why each of the others does not."""
        refused: list[UnprovableError] = []
        readable: list[bytes] = []
        for document in dict.fromkeys(d for d in documents if d not in self.known):
            try:
                _sorted([document])
                readable.append(document)
            except UnprovableError as exc:
                refused.append(exc)
        if not readable:
            return self, refused
        try:
            after = TrustBook.of(self.roots, [*self.documents, *readable], grace=self.grace)
        except UnprovableError as exc:
            return self, [*refused, exc]
        lost = [d for d in readable if d not in after.known and not after.is_past_root(d)]
        return after, refused + [_objection(after, d) for d in lost]

    def is_past_root(self, document: bytes) -> bool:
        """Whether a document is the own certificate of a root that was retired here: no news, and no error."""
        try:
            found = parse_certificate(document)
        except UnprovableError:
            return False
        keys = {_key(c) for c in self.authorities if authority_name(c) == ROOT}
        return authority_name(found) == ROOT and _is_self_signed(found) and _key(found) in keys

    def newer(self, documents: Sequence[bytes]) -> list[bytes]:
        """Those of the documents this book has no newer one of; a peer may well hold an older list."""
        return [d for d in documents if d not in self.known and not self._is_old_news(d)]

    def _is_old_news(self, document: bytes) -> bool:
        try:
            found = read_list(document)
        except UnprovableError:
            return False  # no list: admit says what it is, or that it is nothing
        held = self.crls.get(found.key_id)
        return held is not None and held.number >= found.number

    @cached_property
    def documents(self) -> tuple[bytes, ...]:
        """Every certificate and list of the book, as DER: whoever holds one of its roots comes to the same book."""
        lists = tuple(self.crls[key].der for key in sorted(self.crls))
        return tuple(_der(c) for c in (*self.roots, *self.authorities)) + lists

    @cached_property
    def known(self) -> frozenset[bytes]:
        """The same, to look up in."""
        return frozenset(self.documents)

    def prove(
        self, leaf: x509.Certificate, rest: Sequence[x509.Certificate], at: datetime, use: Use
    ) -> Proof:
        """The way from `leaf` to a root, in force and not taken back at `at`.

        Raises IdentityError: no way, not for this use, out of force (a clock reason), RevokedError,
        or RevocationUnknownError where no list covers `at`.
        """
        check_usage(leaf, use)
        path = path_to_anchor(leaf, (*rest, *self.authorities), self.roots, at, self._step(at))
        for above in path[2:]:
            if authority_name(above) != ROOT and above not in self.roots:
                raise IdentityError(
                    f"issuer of {leaf.subject.rfc4514_string()[:80]}",
                    expected="an authority a root certified",
                    got=f"one of authority {authority_name(above) or 'nobody'}",
                )
        # What is known holds until the first certificate ends, or the first list is too old.
        lists = [self.crls[key] for key in map(key_id, path[1:]) if key in self.crls]
        ends = [c.not_valid_after_utc for c in path] + [crl.next_update + self.grace for crl in lists]
        return Proof(path, use, max(c.not_valid_before_utc for c in path), min(ends))

    def _step(self, at: datetime) -> Step:
        return lambda certificate, issuer: self._check_revoked(certificate, issuer, at)

    def check_revoked(self, proof: Proof, at: datetime) -> None:
        """Raise RevokedError or RevocationUnknownError unless the whole path was good at `at`.

        Cheap: a proof made once with this book is asked again for every call.
        """
        for certificate, issuer in pairwise(proof.path):
            self._check_revoked(certificate, issuer, at)

    def _check_revoked(self, certificate: x509.Certificate, issuer: x509.Certificate, at: datetime) -> None:
        name = authority_name(issuer)
        if not name:
            return  # a flat authority publishes no list; its operator takes the anchor away
        crl = self.crls.get(key_id(issuer))
        if crl is None:
            raise RevocationUnknownError(
                f"revocation list of authority {name}",
                expected="one",
                got="none",
                next_step="jinbao trust import, with the newest list of that authority",
            )
        crl.check(certificate, at, self.grace)

    def is_tainted(self, authority: x509.Certificate) -> bool:
        """Whether an authority asks for what it signed to be renewed at once: its own list names its own certificate.

        What it signed still counts, so that nobody is cut off meanwhile.
        """
        crl = self.crls.get(key_id(authority))
        return crl is not None and authority.serial_number in crl.revoked

    def issuers(self, names: Iterable[str], at: datetime) -> tuple[x509.Certificate, ...]:
        """Certificates of the named authorities that may sign now: all a link to their zones trusts.

        And the roots where one is not known yet, or is flat and signs its zones itself.
        """
        wanted = frozenset(names)
        found = [
            c
            for c in self.authorities
            if authority_name(c) in wanted and may_sign(c, 0) and not self._is_taken_back(c, at)
        ]
        flat = [root for root in self.roots if not authority_name(root)]
        # An authority nobody here has heard of may be a successor: the root leads to it, and who it may
        # speak for is asked once it speaks.
        unheard = wanted - {authority_name(c) for c in found}
        return (*found, *(self.roots if unheard else flat))

    def _is_taken_back(self, authority: x509.Certificate, at: datetime) -> bool:
        try:
            path_to_anchor(authority, self.authorities, self.roots, at, self._step(at))
        except IdentityError:
            return True
        return False


def _objection(book: TrustBook, document: bytes) -> UnprovableError:
    """Why a document is not in the book; raises it itself for one that is no document."""
    try:
        found = read_list(document)
    except UnprovableError:
        certificate = parse_certificate(document)
        return UnprovableError(
            f"trust document {certificate.subject.rfc4514_string()[:120]}",
            expected="an authority that leads to a root held here",
            got="one that does not",
            next_step="compare anchors.pem at both ends",
        )
    thing = f"revocation list of {found.authority.rfc4514_string()[:120]}"
    held = book.crls.get(found.key_id)
    if held is not None and held.number >= found.number:
        return UnprovableError(
            thing, expected=f"a number after {held.number}, or that very list", got=f"number {found.number}"
        )
    return UnprovableError(thing, expected="the signature of an authority held here", got="another's")


def _sorted(documents: Iterable[bytes]) -> tuple[list[x509.Certificate], list[RevocationList]]:
    """Documents by kind; raises UnprovableError for one that is neither."""
    certificates: list[x509.Certificate] = []
    lists: list[RevocationList] = []
    for document in dict.fromkeys(documents):
        try:
            lists.append(read_list(document))
        except UnprovableError:
            certificates.append(parse_certificate(document))
    if len(certificates) > AUTHORITIES_MAX:
        raise UnprovableError(
            "trust book", expected=f"at most {AUTHORITIES_MAX} authorities", got=len(certificates)
        )
    return certificates, lists


def _reachable(
    roots: Sequence[x509.Certificate], certificates: Sequence[x509.Certificate]
) -> list[x509.Certificate]:
    """Authorities a root leads to, whatever the time: an expired one still proves what it signed.

    Downward from the roots, so that each certificate is held against what is proved, never against
    others of its kind: certificates of roots first, then issuing authorities, which roots alone certify.
    """
    named = [c for c in certificates if authority_name(c) and may_sign(c, 0) and c not in roots]
    above = list(roots)
    waiting = [c for c in named if authority_name(c) == ROOT and not _is_self_signed(c)]
    while fresh := [c for c in waiting if any(issued(c, signer) for signer in above)]:
        above += fresh
        waiting = [c for c in waiting if c not in fresh]
    found = [c for c in above if c not in roots]
    # A root's own certificate is signed by its own key: it leads nowhere by itself, but a
    # certificate of the same key does.
    keys = {_key(c) for c in found}
    own = [c for c in named if authority_name(c) == ROOT and _key(c) in keys and _is_self_signed(c)]
    signers = [c for c in (*roots, *found) if may_sign(c, 1)]
    issuing = [c for c in named if authority_name(c) != ROOT and any(issued(c, signer) for signer in signers)]
    return [*found, *own, *issuing]


def _is_new_root(
    certificate: x509.Certificate, roots: Sequence[x509.Certificate], authorities: Sequence[x509.Certificate]
) -> bool:
    """Whether this is a root's own certificate, and a root in force certified the same key as a root."""
    if authority_name(certificate) != ROOT or not _is_self_signed(certificate) or certificate in roots:
        return False
    key = _key(certificate)
    return any(
        authority_name(c) == ROOT and _key(c) == key and any(issued(c, root) for root in roots)
        for c in authorities
        if c != certificate
    )


def _is_retired(
    root: x509.Certificate,
    roots: Sequence[x509.Certificate],
    authorities: Sequence[x509.Certificate],
    crls: Mapping[str, RevocationList],
) -> bool:
    """Whether a later root took back the certificate it had given this root's key.

    No earlier one can: who was retired retires nobody.
    """
    key, since = _key(root), root.not_valid_before_utc
    others = [other for other in roots if _key(other) != key and other.not_valid_before_utc >= since]
    given = [c for c in authorities if _key(c) == key and authority_name(c) == ROOT]
    return any(
        issued(c, other) and key_id(other) in crls and c.serial_number in crls[key_id(other)].revoked
        for c in given
        for other in others
    )


def _newest(
    lists: Sequence[RevocationList], signers: Sequence[x509.Certificate]
) -> dict[str, RevocationList]:
    """The list of the highest number of each authority key, signed by it."""
    newest: dict[str, RevocationList] = {}
    for found in lists:
        held = newest.get(found.key_id)
        if held is not None and held.number >= found.number:
            continue
        if any(signed_by(found, signer) for signer in signers):
            newest[found.key_id] = found
    return newest


def _is_self_signed(certificate: x509.Certificate) -> bool:
    return issued(certificate, certificate)


def _key(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)
