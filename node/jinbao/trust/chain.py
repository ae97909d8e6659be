"""Chains 证书链: the way from a leaf to an anchor, and what must hold of every certificate on it.

Pure path building over given certificates: signatures, validity, who may sign whom. Knows no
names, no revocation and no topology; `book` puts those beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from jinbao.model.errors import IdentityError
from jinbao.trust.identity import is_authority

AUTHORITIES_MAX = 4
"""Root, its cross certificate, issuing: no chain of ours has more between leaf and anchor."""

_SIGNED_KEPT = 256
"""Certificates whose signature was right and is not looked at again; more than a zone meets, and little memory."""

Step = Callable[[x509.Certificate, x509.Certificate], None]
"""Asked for a certificate and its issuer; raises IdentityError where no way may go over them."""


def path_to_anchor(
    leaf: x509.Certificate,
    pool: Iterable[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    at: datetime,
    check_step: Step | None = None,
) -> tuple[x509.Certificate, ...]:
    """The certificates from `leaf` to an anchor, both included, all in force at `at`.

    `pool` holds authorities that may lie between, in any order; nothing in it is believed.
    Where `check_step` refuses, another way is looked for: one key may have certificates by two
    roots, and the one that was retired must not stand for both. Raises IdentityError: what
    refused the first whole way there is, or a clock reason where that is all that is wrong.
    """
    check_time(leaf, at)
    search = _Search([c for c in pool if c != leaf and is_authority(c)], anchors, at, check_step)
    found = search.beyond((leaf,))
    if found:
        return found
    for exc in (*search.refused, *search.late):
        raise exc
    raise IdentityError(
        "certificate chain",
        expected="an issuer this zone trusts",
        got=leaf.issuer.rfc4514_string()[:120],
        next_step="compare anchors.pem at both ends",
    )


@dataclass
class _Search:
    """Depth first, anchors before others; remembers what only a step or the clock spoke against."""

    pool: Sequence[x509.Certificate]
    anchors: Sequence[x509.Certificate]
    at: datetime
    check_step: Step | None
    refused: list[IdentityError] = field(default_factory=list)
    late: list[IdentityError] = field(default_factory=list)

    def beyond(self, path: tuple[x509.Certificate, ...]) -> tuple[x509.Certificate, ...]:
        """The path as far as an anchor; empty when none is in reach."""
        # Roots follow one another by certificates of one root for another's key, in their common name. Such
        # a certificate does not count (RFC 5280, 4.2.1.9); one that an issuing authority gives itself does.
        names = {anchor.subject for anchor in self.anchors}
        crossing = [c for c in path if c.subject == c.issuer and c.subject in names]
        current, below = path[-1], sum(is_authority(c) for c in path) - len(crossing)
        for anchor in self.anchors:
            if may_sign(anchor, below) and issued(current, anchor) and self._may_go((*path, anchor)):
                return (*path, anchor)
        if len(path) > AUTHORITIES_MAX:
            return ()
        for candidate in self.pool:
            if candidate in path or not may_sign(candidate, below) or not issued(current, candidate):
                continue
            found = self.beyond((*path, candidate)) if self._is_in_force(candidate) else ()
            if found:
                return found
        return ()

    def _is_in_force(self, candidate: x509.Certificate) -> bool:
        try:
            check_time(candidate, self.at)
        except IdentityError as exc:
            self.late.append(exc)
            return False
        return True

    def _may_go(self, path: tuple[x509.Certificate, ...]) -> bool:
        if self.check_step is None:
            return True
        try:
            for certificate, issuer in pairwise(path):
                self.check_step(certificate, issuer)
        except IdentityError as exc:
            self.refused.append(exc)
            return False
        return True


def issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether `issuer`'s name and key signed `certificate`."""
    if certificate.issuer != issuer.subject:
        return False  # the signature is the dear part: most candidates end here
    try:
        _check_signed(certificate, issuer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


@lru_cache(maxsize=_SIGNED_KEPT)
def _check_signed(certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    """Raise unless the issuer's key signed the certificate.

    That it did follows from the bytes of both alone, by which they are compared, and is kept. Whether
    they are in force, may sign, or are revoked is no part of it: that is asked each time.
    """
    certificate.verify_directly_issued_by(issuer)


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
