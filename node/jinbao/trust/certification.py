"""Certification: a leaf's way to a given root at a moment of the past, from bytes alone.

Unlike `book.TrustBook`, which asks of now and of this zone's anchors, this builds the way
over whatever authorities and cross certificates are carried, and reads carried CRLs. Clauses
E8, E9 and E10 of `evidence`. Knows no network and no clock.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

from jinbao.model.errors import IdentityError, UnprovableError
from jinbao.trust.chain import check_time
from jinbao.trust.envelope import parse_certificate

_AUTHORITY = re.compile(r"spiffe://(?P<domain>[a-z0-9][a-z0-9.-]{0,63})/authority/(?P<name>root|[0-9]{6})")
_COMPROMISED = frozenset({x509.ReasonFlags.key_compromise, x509.ReasonFlags.ca_compromise})

_STEPS_MAX = 8
"""An issuing authority, and a root certified by its successors over and over."""

ROOT = "root"


class RevokedError(IdentityError):
    """A certificate of the way was revoked by the time asked about, or its key was lost."""


@dataclass(frozen=True, slots=True)
class Authority:
    """Whom an authority's one URI name speaks of: a node, or `root`."""

    domain: str
    name: str


def authority_of(certificate: x509.Certificate) -> Authority | None:
    """The name of an authority of the hierarchy; None for one without, as in release 0.1."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    match = _AUTHORITY.fullmatch(uris[0]) if len(uris) == 1 else None
    return Authority(match["domain"], match["name"]) if match else None


@dataclass(frozen=True, slots=True)
class Way:
    """A proved way: the issuer of the leaf, and whether every certificate's revocation state was carried."""

    issuer: x509.Certificate
    issuer_is_root: bool
    revocation_carried: bool


class Certification:
    """Given roots, and the authorities and CRLs that are carried."""

    def __init__(
        self, roots: Sequence[x509.Certificate], authorities: Sequence[bytes], crls: Sequence[bytes]
    ) -> None:
        """Raises UnprovableError for bytes that are no certificate or CRL."""
        self._roots = tuple(roots)
        self._authorities = tuple(map(parse_certificate, authorities))
        self._crls = tuple(map(_crl, crls))

    def check_carried(self) -> None:
        """Raise unless every authority carried leads to a given root by signatures (clause E12)."""
        known, rest = list(self._roots), list(self._authorities)
        while rest:
            led = [c for c in rest if any(_certified(c, issuer) for issuer in known)]
            if not led:
                raise IdentityError("authority", expected="one a given root leads to", got=_name(rest[0]))
            known += led
            rest = [c for c in rest if c not in led]

    def check_crls(self) -> None:
        """Raise unless every CRL carried is signed by an authority that is (clause E10)."""
        authorities = [*self._roots, *self._authorities]
        for crl in self._crls:
            if not any(_signed(crl, authority) for authority in authorities):
                raise UnprovableError(
                    "CRL",
                    expected="one an authority of the file signed",
                    got=crl.issuer.rfc4514_string()[:120],
                )

    @property
    def has_crls(self) -> bool:
        """Whether any CRL is carried."""
        return bool(self._crls)

    def way(self, leaf: x509.Certificate, rest: Sequence[x509.Certificate], at: datetime) -> Way:
        """The leaf's way to a given root at a moment (clauses E8 and E10).

        Raises IdentityError with what keeps the nearest candidate from being the way.
        """
        if _is_authority(leaf):
            raise IdentityError("certificate", expected="a zone's", got="an authority's")
        check_time(leaf, at)
        pool = [*self._roots, *self._authorities, *rest]
        for certificate in rest:
            if not any(_certified(certificate, authority) for authority in pool):
                raise IdentityError(
                    "certificate chain", expected="whole certificates", got=_name(certificate)
                )
        trouble: IdentityError | None = None
        for steps in self._ways(leaf, pool, ()):
            try:
                return self._prove(leaf, steps, at)
            except IdentityError as exc:
                trouble = trouble or exc
        raise trouble or IdentityError(
            "certificate chain", expected="a way to a given root", got=leaf.issuer.rfc4514_string()[:120]
        )

    def _ways(
        self, below: x509.Certificate, pool: Sequence[x509.Certificate], so_far: tuple[x509.Certificate, ...]
    ) -> Iterator[tuple[x509.Certificate, ...]]:
        """Every way by signatures from a certificate up to a given root, the shortest at each step first."""
        if len(so_far) >= _STEPS_MAX:
            return
        seen: list[x509.Certificate] = []
        for candidate in pool:  # given roots come first
            if candidate in seen or candidate in so_far or not _certified(below, candidate):
                continue
            seen.append(candidate)
            if candidate in self._roots:
                yield (*so_far, candidate)
            else:
                yield from self._ways(candidate, pool, (*so_far, candidate))

    def _prove(self, leaf: x509.Certificate, steps: Sequence[x509.Certificate], at: datetime) -> Way:
        """Hold every certificate of a way against the moment and the CRLs."""
        issuing = [c for c in steps if not self._is_of_a_root(c)]
        for certificate in steps:
            if certificate in issuing or certificate.not_valid_after_utc < at:
                check_time(certificate, at)
        if len(issuing) > 1 or (issuing and issuing[0] is not steps[0]):
            raise IdentityError("certificate chain", expected="one issuing authority", got=len(issuing))
        carried = [
            self._is_state_carried(below, issuer, at)
            for below, issuer in zip((leaf, *steps), steps, strict=False)
        ]
        return Way(steps[0], not issuing, all(carried))

    def _is_of_a_root(self, certificate: x509.Certificate) -> bool:
        """Whether this certifies a root: given, or of one root for another's key, in the name they share."""
        shared = {root.subject for root in self._roots}
        return certificate in self._roots or (
            certificate.subject == certificate.issuer and certificate.subject in shared
        )

    def _is_state_carried(
        self, certificate: x509.Certificate, issuer: x509.Certificate, at: datetime
    ) -> bool:
        """Whether a CRL says how the certificate stood; raises IdentityError if it was revoked."""
        mine = [crl for crl in self._crls if _signed(crl, issuer)]
        for crl in mine:
            entry = crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
            if entry is None:
                continue
            reason = _reason(entry)
            if reason in _COMPROMISED or entry.revocation_date_utc <= at:
                raise RevokedError(
                    "certificate revocation",
                    expected=f"a certificate good at {at:%Y-%m-%dT%H:%M:%SZ}",
                    got=f"one revoked at {entry.revocation_date_utc:%Y-%m-%dT%H:%M:%SZ}, {reason.value}",
                )
        return any(crl.next_update_utc is not None and crl.next_update_utc >= at for crl in mine)


def _reason(entry: x509.RevokedCertificate) -> x509.ReasonFlags:
    try:
        return entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except x509.ExtensionNotFound:
        return x509.ReasonFlags.unspecified


def _crl(der: bytes) -> x509.CertificateRevocationList:
    try:
        found = x509.load_der_x509_crl(der)
        # Read here what is asked for later, inside the fence.
        _ = found.issuer, found.extensions, found.next_update_utc, [e.extensions for e in found]
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion) as exc:
        raise UnprovableError("CRL", expected="DER", got=str(exc)) from exc
    return found


def _signed(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    key = issuer.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey):
        return False
    return crl.issuer == issuer.subject and crl.is_signature_valid(key)


def _certified(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether `issuer` may certify and signed this certificate."""
    if not _is_authority(issuer):
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def _is_authority(certificate: x509.Certificate) -> bool:
    """Whether basic constraints and, where it is said, key usage let it certify."""
    try:
        may = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return may
    return may and usage.key_cert_sign


def _name(certificate: x509.Certificate) -> str:
    parts = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(parts[0].value)[:80] if parts else certificate.subject.rfc4514_string()[:80]
