"""Verification: the only place a `SealedBatch` becomes a `VerifiedBatch`.

In this order, each before the next: bounds, suite and seal; the signer's chain; the
signer is the stream's origin in the topology; the header follows the mark. Clauses 2.1,
2.3, 4.1 and 4.2 of the wire contract. Never looks at segments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from jinbao.model.batch import Header, SealedBatch, VerifiedBatch
from jinbao.model.errors import EquivocationError, SequenceGapError, StaleEpochError, UnprovableError
from jinbao.model.stream import Mark, StreamId
from jinbao.model.topology import Topology
from jinbao.trust.book import TrustBook
from jinbao.trust.encoding import HEADER_TYPE, decode_header
from jinbao.trust.envelope import head_of, signer_of
from jinbao.trust.identity import check_issuer, check_row, parse_identity
from jinbao.trust.signer import SignerProofs, moment


@dataclass(frozen=True)
class Verifier:
    """Proves sealed batches by what the trust book and the topology say when it is asked."""

    book: Callable[[], TrustBook]
    topology: Callable[[], Topology]
    now: Callable[[], datetime]
    _proofs: SignerProofs = field(default_factory=SignerProofs, repr=False, compare=False)

    def verify(self, sealed: SealedBatch, mark_of: Callable[[StreamId], Mark]) -> VerifiedBatch | None:
        """The batch, proved to follow the mark of its stream; None if it is the mark itself or before it.

        Raises UnprovableError (a gap, equivocation, an older epoch, a broken seal) or
        IdentityError (a signer that may not speak for the stream).
        """
        header = self.prove(sealed)
        head, last = head_of(sealed), mark_of(header.stream)
        if self._is_seen(header, head, last):
            return None
        check_follows(header, last)
        return VerifiedBatch(sealed, header, head)

    def prove(self, sealed: SealedBatch) -> Header:
        """The header, once seal and signer are proved; says nothing of its place in the stream."""
        leaf, rest = signer_of(sealed, HEADER_TYPE)
        identity = parse_identity(leaf)
        header = decode_header(sealed.payload)
        # A relayed batch may be older than its signer's short certificate: what counts is
        # that the certificate was in force when the batch says it was made, and that it
        # does not claim to be made later than now.
        said_at = moment(header.made_at, self.now(), thing=f"{header.stream}#{header.seq}")
        proof = self._proofs.prove(self.book(), sealed, leaf, rest, said_at)
        if identity.endpoint != header.stream.origin or identity.epoch != header.epoch:
            raise UnprovableError(
                f"{header.stream}#{header.seq}: signer",
                expected=f"{header.stream.origin} at epoch {header.epoch}",
                got=f"{identity.endpoint} at epoch {identity.epoch}",
            )
        topology = self.topology()
        row = topology.row(header.stream.origin.node)
        if row is None or header.epoch >= row.epoch:
            check_row(identity, topology)
        check_issuer(identity, proof.issuer, topology)
        return header

    @staticmethod
    def stored(sealed: SealedBatch, header: Header, head: str) -> VerifiedBatch:
        """A batch this zone verified before it recorded it, read back from its own journal.

        Not proved again: the journal's own hash chain is what says it is unchanged.
        """
        return VerifiedBatch(sealed, header, head)

    @staticmethod
    def _is_seen(header: Header, head: str, last: Mark) -> bool:
        if header.seq > last.seq or header.incarnation != last.incarnation:
            return False
        if header.seq == last.seq and head != last.head:
            raise EquivocationError(
                f"{header.stream}#{header.seq}", expected=f"head {last.head[:12]}", got=head[:12]
            )
        return True


def check_follows(header: Header, last: Mark) -> None:
    """Check that `header` follows the mark in the same stream, with nothing between.

    Raises SequenceGapError, StaleEpochError, EquivocationError or UnprovableError. The seal
    of `header` is already verified. Source: clauses 2.1 and 2.3.
    """
    place = f"{header.stream}#{header.seq}"
    if header.epoch < last.epoch:
        raise StaleEpochError(place, expected=f"epoch {last.epoch} or later", got=header.epoch)
    if last.seq and (header.incarnation, header.epoch) != (last.incarnation, last.epoch):
        _check_continues(header, last, place)
    if header.seq != last.seq + 1:
        raise SequenceGapError(f"{header.stream}", expected=f"batch {last.seq + 1}", got=header.seq)
    if header.previous != last.head:
        raise EquivocationError(
            place, expected=f"to follow head {last.head[:12] or 'none'}", got=header.previous[:12] or "none"
        )


def _check_continues(header: Header, last: Mark, place: str) -> None:
    if header.continues == last:
        return
    raise UnprovableError(
        place,
        expected=f"incarnation {last.incarnation[:8]} at epoch {last.epoch}, or one that continues it",
        got=f"incarnation {header.incarnation[:8]} at epoch {header.epoch}",
        next_step="jinbao line rebase --plan",
    )
