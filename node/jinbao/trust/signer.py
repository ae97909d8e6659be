"""Who sealed a document: from an envelope to a proved certificate, remembered while the book stays the same.

One zone seals thousands of batches with one certificate; its chain is proved once. What can
change between two batches, time and revocation, is asked for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509

from jinbao.model.batch import SealedBatch
from jinbao.model.errors import IdentityError, UnprovableError
from jinbao.trust.book import Proof, TrustBook
from jinbao.trust.identity import Use, authority_name
from jinbao.trust.suites import sealing_suite

PROOFS_MAX = 4096
"""Two certificates a zone in rotation, for every zone a ministry hears of."""

CLOCK_TOLERANCE = timedelta(hours=24)
"""A document may say it was made this much after our own time: clocks differ, certificates do not wait."""


def moment(said: str, now: datetime, *, thing: str) -> datetime:
    """When a document says it was made, UTC; raises UnprovableError for no time, or one well after `now`."""
    try:
        made_at = datetime.fromisoformat(said)
        found = made_at.astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise UnprovableError(f"{thing}: time", expected="RFC 3339", got=said[:40]) from exc
    if made_at.tzinfo is None or found > now + CLOCK_TOLERANCE:
        raise UnprovableError(
            f"clock: {thing}",
            expected="a time at most 24 h after ours",
            got=said[:40],
            next_step="compare the clocks of both nodes",
        )
    return found


def use_of(suite_id: str) -> Use:
    """What a certificate must be for to seal by a suite: release 0.1 sealed with the key of its line."""
    return Use.LINE if sealing_suite(suite_id, thing="envelope").shares_tls_key else Use.SEAL


def prove_signer(
    book: TrustBook, suite_id: str, leaf: x509.Certificate, rest: Sequence[x509.Certificate], at: datetime
) -> Proof:
    """The way from a signer to a root; raises IdentityError.

    An authority of ours gives every zone a key for seals: who then seals with the key of its
    line is refused, so that a stolen line key cannot speak in the older suite.
    """
    proof = book.prove(leaf, rest, at, use_of(suite_id))
    check_suite(suite_id, proof.issuer)
    return proof


def check_suite(suite_id: str, issuer: x509.Certificate) -> None:
    """Raise IdentityError where a key of the line seals although its authority gives keys for seals."""
    if use_of(suite_id) is Use.LINE and authority_name(issuer):
        raise IdentityError("envelope: suite", expected="that of a key for seals", got=suite_id)


@dataclass
class SignerProofs:
    """Proofs by certificate chain, forgotten when the book changes; safe to share between threads."""

    _book: TrustBook | None = None
    _known: dict[tuple[bytes, ...], Proof] = field(default_factory=dict)

    def prove(
        self,
        book: TrustBook,
        sealed: SealedBatch,
        leaf: x509.Certificate,
        rest: Sequence[x509.Certificate],
        at: datetime,
    ) -> Proof:
        """As `prove_signer`, for the certificates of `sealed`, which are `leaf` and `rest`."""
        if book is not self._book or len(self._known) > PROOFS_MAX:
            self._book, self._known = book, {}
        known, chain = self._known, (sealed.suite.encode(), *sealed.certificates)
        proof = known.get(chain)
        if proof is not None and proof.first <= at <= proof.last:
            book.check_revoked(proof, at)
            return proof
        known[chain] = prove_signer(book, sealed.suite, leaf, rest, at)
        return known[chain]
