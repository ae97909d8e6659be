"""Chains 证书链: the way from a leaf to an anchor, and what must hold of every certificate on it.

Pure path building over given certificates: signatures, validity, who may sign whom. Knows no
names, no revocation and no topology; `book` puts those beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from jinbao.model.errors import IdentityError
from jinbao.trust.identity import is_authority

AUTHORITIES_MAX = 4
"""Root, its cross certificate, issuing: no chain of ours has more between leaf and anchor."""


def path_to_anchor(
    leaf: x509.Certificate,
    pool: Iterable[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    at: datetime,
) -> tuple[x509.Certificate, ...]:
    """The certificates from `leaf` to an anchor, both included, all in force at `at`.

    `pool` holds authorities that may lie between, in any order; nothing in it is believed.
    Raises IdentityError, for a clock reason where that is all that is wrong.
    """
    check_time(leaf, at)
    authorities = [c for c in pool if c != leaf and is_authority(c)]
    late: list[IdentityError] = []
    found = _search((leaf,), authorities, anchors, at, late)
    if found:
        return found
    if late:
        raise late[0]
    raise IdentityError(
        "certificate chain",
        expected="an issuer this zone trusts",
        got=leaf.issuer.rfc4514_string()[:120],
        next_step="compare anchors.pem at both ends",
    )


def _search(
    path: tuple[x509.Certificate, ...],
    pool: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    at: datetime,
    late: list[IdentityError],
) -> tuple[x509.Certificate, ...]:
    """Depth first, anchors before others; `late` collects what only the clock speaks against."""
    # Roots follow one another by certificates of one root for another's key, in their common name. Such
    # a certificate does not count (RFC 5280, 4.2.1.9); one that an issuing authority gives itself does.
    names = {anchor.subject for anchor in anchors}
    crossing = [c for c in path if c.subject == c.issuer and c.subject in names]
    current, below = path[-1], sum(is_authority(c) for c in path) - len(crossing)
    for anchor in anchors:
        if may_sign(anchor, below) and issued(current, anchor):
            return (*path, anchor)
    if len(path) > AUTHORITIES_MAX:
        return ()
    for candidate in pool:
        if candidate in path or not may_sign(candidate, below) or not issued(current, candidate):
            continue
        try:
            check_time(candidate, at)
        except IdentityError as exc:
            late.append(exc)
            continue
        found = _search((*path, candidate), pool, anchors, at, late)
        if found:
            return found
    return ()


def issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether `issuer`'s name and key signed `certificate`."""
    if certificate.issuer != issuer.subject:
        return False  # the signature is the dear part: most candidates end here
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def may_sign(authority: x509.Certificate, below: int) -> bool:
    """Whether a certificate is an authority's, and allows so many authorities between itself and a leaf."""
    try:
        constraints = authority.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return False
    try:
        signs = authority.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        signs = True  # no usage named: none excluded (RFC 5280, 4.2.1.3)
    length = constraints.path_length
    return constraints.ca and signs and (length is None or below <= length)


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
