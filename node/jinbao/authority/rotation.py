"""Rotation of an authority's keys: prepare (make it known), activate (it signs), taint (renew at once), retire.

Each step is a person's, and each may be repeated after a crash. A root is rotated by X.509 alone: each
of both roots certifies the other's key; who trusts the old one learns the new one by the first
certificate, and gives up the old one when the new root takes back the second.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from jinbao.authority import profile
from jinbao.authority import signer as signing
from jinbao.authority.authority import Authority
from jinbao.authority.keys import Spec
from jinbao.authority.requests import read
from jinbao.authority.signer import Signer, algorithm_of
from jinbao.authority.state import OwnKey, Stage, State, Use, der, key_hash, packed
from jinbao.authority.trust_files import parse, roots_in_force
from jinbao.model.errors import IdentityError, UsageError
from jinbao.trust.chain import issued
from jinbao.trust.identity import ROOT


def prepare(authority: Authority, now: datetime, key: tuple[Spec, Signer] | None = None) -> str:
    """A successor of the key that signs; returns its identifier.

    A root certifies itself and both roots each other; an issuing authority's key waits for its certificate.
    """
    with authority.acting() as state:
        old = state.active
        waiting = state.key_in(Stage.MADE, Stage.PREPARED)
        if waiting is not None and waiting.certificates and _is_prepared(state, old, waiting):
            raise UsageError(
                f"authority {state.name}",
                expected="no successor yet",
                got=waiting.ski[:12],
                next_step="jinbao ca rotate DIR activate",
            )
        new = waiting or authority.make_key(now, key)
        if state.role == ROOT:
            _prepare_root(authority, state, old, new, now)
        return new.ski


def _is_prepared(state: State, old: OwnKey, new: OwnKey) -> bool:
    return state.role != ROOT or (_has_cross(state, old, new) and _has_cross(state, new, old))


def _has_cross(state: State, issuer: OwnKey, subject: OwnKey) -> bool:
    """Whether `issuer` certified the key of `subject`."""
    wanted = key_hash(subject.certificate)
    return any(
        one.use is Use.CROSS and one.issuer == issuer.ski and one.key == wanted
        for one in state.issued.values()
    )


def _prepare_root(authority: Authority, state: State, old: OwnKey, new: OwnKey, now: datetime) -> None:
    if not new.certificates:
        authority.certify_self(new, now)
    for subject, issuer in ((new, old), (old, new)):
        if not _has_cross(state, issuer, subject):
            made = profile.cross(subject.certificate, authority.issuer(issuer))
            authority.record_issued([(made, Use.CROSS, "authority/root")], "rotation", now, issuer.ski)


def activate(authority: Authority, now: datetime) -> str:
    """The prepared key signs from now on; returns its identifier."""
    with authority.acting() as state:
        key = state.key_in(Stage.PREPARED)
        if key is None:
            raise UsageError(
                f"authority {state.name}",
                expected="a prepared key",
                got="none",
                next_step="jinbao ca rotate DIR prepare",
            )
        authority.record("activated", now, ski=key.ski)
        return key.ski


def taint(authority: Authority, now: datetime) -> str:
    """Say of the key before the one that signs that its leaves are to be renewed at once; returns its identifier."""
    with authority.acting() as state:
        key = _before(state, Stage.SUPERSEDED)
        if state.role == ROOT:
            raise UsageError("taint", expected="an issuing authority", got="a root", next_step="retire it")
        authority.record("tainted", now, ski=key.ski)
    authority.crl(now)
    return key.ski


def retire(authority: Authority, now: datetime) -> str:
    """Give up the key before the one that signs; returns its identifier.

    Of a root, by taking back the certificate the new root gave it; refused while an authority
    has none of the new root. Of an issuing authority, refused while a leaf of it is in force.
    """
    with authority.acting() as state:
        key = _before(state, Stage.SUPERSEDED, Stage.TAINTED)
        left = _left_root(state, now) if state.role == ROOT else _left(state, key, now)
        if left:
            raise UsageError(
                f"key {key.ski[:12]} of authority {state.name}",
                expected="nothing that hangs on it alone",
                got=", ".join(left[:5]),
                next_step="certify or renew these first",
            )
        if state.role == ROOT:
            _take_back_cross(authority, state, key, now)
        # Its last list says of everything it signed what held until now; what it sealed stays provable.
        authority.make_list(key, now)
        authority.record("retired", now, ski=key.ski)
    authority.crl(now)
    return key.ski


def _before(state: State, *stages: Stage) -> OwnKey:
    key = state.key_in(*stages)
    if key is None:
        raise UsageError(
            f"authority {state.name}",
            expected=f"a key that is {' or '.join(stages)}",
            got="none",
            next_step="jinbao ca rotate DIR activate",
        )
    return key


def _left_root(state: State, now: datetime) -> list[str]:
    """Authorities that have no certificate by the root that signs."""
    alive = [
        one
        for one in state.issued.values()
        if one.use is Use.AUTHORITY
        and one.serial not in state.revoked
        and one.certificate.not_valid_after_utc > now
    ]
    certified = {one.key for one in alive if one.issuer == state.active.ski}
    return sorted({one.about for one in alive if one.key not in certified})


def _left(state: State, key: OwnKey, now: datetime) -> list[str]:
    """Zones with a certificate of this key that is still in force."""
    return sorted(
        {
            one.about
            for one in state.issued.values()
            if one.issuer == key.ski
            and one.use in {Use.LINE, Use.SEAL}
            and one.serial not in state.revoked
            and one.certificate.not_valid_after_utc > now
        }
    )


def _take_back_cross(authority: Authority, state: State, old: OwnKey, now: datetime) -> None:
    wanted = key_hash(old.certificate)
    serials = [
        f"{one.serial:x}"
        for one in state.issued.values()
        if one.use is Use.CROSS and one.key == wanted and one.issuer == state.active.ski
    ]
    authority.record("revoked", now, serials=serials, reason=x509.ReasonFlags.superseded.value)


# An issuing authority and the root above it


def certificate_request(authority: Authority) -> bytes:
    """A request for the key that waits for its certificate, else for the key that signs, DER."""
    with authority.acting() as state:
        if state.role == ROOT:
            raise UsageError("a root", expected="to certify itself", got="a request")
        key = state.key_in(Stage.MADE) or state.active
        names = profile.authority_names(state.domain, state.name)
        return signing.request(
            profile.authority_subject(state.domain, state.name), names, authority.signer(key)
        )


def certify_request(
    root: Authority, request: bytes, now: datetime, life: timedelta | None = None
) -> x509.Certificate:
    """The certificate of an issuing authority by the root, from its request; the request's name says which."""
    found = read(request, "request of an authority")
    with root.acting() as state:
        domain = state.domain
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    node = uris[0].rpartition("/")[2] if len(uris) == 1 else ""
    if not node[:6].isdigit() or uris != [profile.authority_uri(domain, node)]:
        raise IdentityError(
            "name in the request",
            expected=profile.authority_uri(domain, "NODE"),
            got=", ".join(uris)[:120] or "none",
        )
    key = found.public_key()
    algorithm_of(key)
    return root.certify(node, key, now, life)  # type: ignore[arg-type]  # algorithm_of refused other kinds


def install(authority: Authority, documents: Iterable[bytes], now: datetime) -> list[str]:
    """Take over certificates by the root and other trust documents; returns identifiers of keys that got one.

    The certificate must lead to a root among these documents or those known; the first one lets
    the authority sign, that of a successor waits to be activated.
    """
    fresh = tuple(dict.fromkeys(documents))
    certificates = [one for one in map(parse, fresh) if isinstance(one, x509.Certificate)]
    roots = roots_in_force((*authority.documents(), *fresh))
    with authority.acting() as state:
        own = {key.public_key: key for key in state.keys.values()}
        ours = [(own[spki], c) for c in certificates if (spki := _spki(c)) in own]
        new = [(key, c) for key, c in ours if c not in key.certificates]
        for _key, certificate in new:
            _check_own(state, certificate, roots)
        for key, certificate in new:
            authority.record("certified", now, ski=key.ski, certificate=packed(der(certificate)))
            if state.key_in(Stage.ACTIVE) is None:
                authority.record("activated", now, ski=key.ski)
        mine = {der(certificate) for _, certificate in ours}
    authority.learn([document for document in fresh if document not in mine], now)
    return [key.ski for key, _ in new]


def _spki(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, profile.SPKI)


def _check_own(state: State, certificate: x509.Certificate, roots: Iterable[x509.Certificate]) -> None:
    """Raise IdentityError unless a certificate makes this authority one that may sign leaves, by a root."""
    thing = f"certificate of authority {state.name}"
    if not any(issued(certificate, root) for root in roots):
        raise IdentityError(
            thing,
            expected="a root among the documents that signed it",
            got=certificate.issuer.rfc4514_string(),
        )
    try:
        is_authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound as exc:
        raise IdentityError(thing, expected="an authority's, with a key identifier", got=str(exc)) from exc
    if not is_authority:
        raise IdentityError(thing, expected="an authority's", got="a leaf's")


def certify_here(authority: Authority, root: Authority, now: datetime, life: timedelta | None = None) -> None:
    """Request, certificate and import in one go, where both are on this machine."""
    made = certify_request(root, certificate_request(authority), now, life)
    root.crl(now, due_only=True)
    install(authority, (der(made), *root.documents()), now)
