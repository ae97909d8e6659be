"""Inbound: a peer's batches become ours. 受理, then 入库; two stages, each durable before it is said.

    follow headers ─ verify ─ fetch segments ─ accept ┄ apply ─ attest
                                                 │         │       └ receipt `applied`, with the digest of stored rows
                                                 │         └ rows, apply mark, published package: one transaction
                                                 └ index, mark, receipt `accepted`: one transaction

Accepting never waits for SQL of applying. One stream's trouble stops no other: `holding`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jinbao.flow.holding import ClockWatch, Holder
from jinbao.flow.ports import Index, Ledger, Now, Observer, Peer, Shelf, VerifyBatch
from jinbao.model import acts
from jinbao.model.batch import SealedBatch, Shortfall, VerifiedBatch
from jinbao.model.errors import CorruptionError, PeerError, UnacceptableError
from jinbao.model.failpoint import declare, hit
from jinbao.model.quoting import quoted
from jinbao.model.receipt import REASON_CHARACTERS_MAX, Receipt, Stage
from jinbao.model.stream import DOWNWARD, Mark, StreamId
from jinbao.trust.verify import check_short

FETCHED = declare("inbound.after_fetch", "all segments of a batch are durable, the batch is not accepted")
ACCEPTED = declare("inbound.after_accept", "a batch is accepted, its peer has not seen the new mark")


@dataclass(frozen=True, slots=True)
class InboundLimits:
    """Bounds of one round, and of what peers may leave behind; each is a setting, with its reason there.

    `headers_max` per answer, `held_streams_max` holds at once, `streams_per_origin_max` streams
    of one zone, `segment_bytes_max` of a segment that is fetched.
    """

    headers_max: int
    held_streams_max: int
    streams_per_origin_max: int
    segment_bytes_max: int


class Inbound:
    """Follows peers and accepts what they prove; the apply step is `apply.Applier`."""

    def __init__(
        self,
        *,
        index: Index,
        ledger: Ledger,
        shelf: Shelf,
        verify: VerifyBatch,
        stream_of: Callable[[SealedBatch], StreamId],
        observer: Observer,
        now: Now,
        limits: InboundLimits,
    ) -> None:
        self._index, self._ledger, self._shelf = index, ledger, shelf
        self._verify, self._stream_of = verify, stream_of
        self._observer, self._now = observer, now
        self._limits = limits
        self._holder = Holder(
            index=index, ledger=ledger, observer=observer, now=now, held_max=limits.held_streams_max
        )
        self._clocks = ClockWatch(observer, now)
        self._behind: dict[StreamId, Mark] = {}

    def step(self, peer: Peer, wait_s: float = 0.0) -> int:
        """One round with one peer; returns how many batches were accepted.

        Raises LinkError when the way to the peer fails; what was accepted stays.
        """
        accepted = 0
        marks = {mark.stream: mark for mark in self._index.marks()}
        troubled = self._holder.lasting()
        known = set(marks)
        for sealed in peer.headers(list(marks.values()), self._limits.headers_max, wait_s):
            stream = self._stream(peer, sealed)
            if stream is None or stream in troubled or not self._has_room(peer, stream, known):
                continue
            taken = self._take(peer, sealed, marks.get(stream, Mark(stream)))
            if taken is None:
                troubled.add(stream)
            else:
                known.add(stream)
                accepted += taken
        return accepted

    def _stream(self, peer: Peer, sealed: SealedBatch) -> StreamId | None:
        """The stream a batch says it is of; one nobody can read is told and stops no other."""
        try:
            return self._stream_of(sealed)
        except PeerError as exc:
            reason = quoted(str(exc), REASON_CHARACTERS_MAX)
            self._observer.event("header_refused", peer=str(peer.endpoint), code=exc.code, reason=reason)
            return None

    def _has_room(self, peer: Peer, stream: StreamId, known: set[StreamId]) -> bool:
        """Whether one more stream of its origin may begin here; a zone that opens thousands is told and passed by."""
        if stream in known:
            return True
        most = self._limits.streams_per_origin_max
        if sum(other.origin == stream.origin for other in known) >= most:
            reason = f"streams of {stream.origin}: expected at most {most}, got {stream}"
            self._observer.event(
                "header_refused", peer=str(peer.endpoint), code="unacceptable", reason=reason
            )
            return False
        return True

    def _take(self, peer: Peer, sealed: SealedBatch, asked: Mark) -> bool | None:
        """Verify, fetch and accept one batch; whether it was new, None if its stream must wait for mending."""
        try:
            batch = self._verify(sealed)
            if batch is not None:
                self._fetch(peer, batch)
            elif isinstance(sealed, Shortfall) and check_short(sealed, asked, peer.endpoint):
                self._tell_behind(peer, asked)
        except (PeerError, CorruptionError) as exc:
            self._holder.hold(peer.endpoint, asked.stream, sealed, exc)
            return None
        if batch is None:
            return False
        hit(FETCHED)
        self._accept(peer, batch)
        hit(ACCEPTED)
        return True

    def _tell_behind(self, peer: Peer, asked: Mark) -> None:
        """Say once of each mark that a relay has less of a stream than this zone: it was restored, and catches up."""
        if self._behind.get(asked.stream) != asked:
            self._behind[asked.stream] = asked
            self._observer.event(
                "peer_behind", peer=str(peer.endpoint), stream=str(asked.stream), seq=asked.seq
            )

    def _fetch(self, peer: Peer, batch: VerifiedBatch) -> None:
        """Bring every segment of the batch onto the shelf."""
        header = batch.header
        for ref in header.segments:
            if ref.bytes > self._limits.segment_bytes_max:
                place = f"{header.stream}#{header.seq}: segment {ref.sha256[:12]}"
                most = f"at most {self._limits.segment_bytes_max} bytes"
                raise UnacceptableError(place, expected=most, got=ref.bytes)
        for ref in header.segments:
            self._shelf.receive(ref, lambda offset, r=ref: peer.fetch(header.stream, header.seq, r, offset))  # type: ignore[misc]

    def _accept(self, peer: Peer, batch: VerifiedBatch) -> None:
        header = batch.header
        act = acts.accepted(batch, peer.endpoint)
        if header.stream.topic in DOWNWARD:
            self._ledger.record(act)
        else:
            rows = sum(ref.rows for ref in header.segments)
            receipt = Receipt(
                self._index.me,
                header.stream,
                header.seq,
                batch.head,
                Stage.ACCEPTED,
                rows,
                "",
                "",
                self._now(),
                header.incarnation,
            )
            self._ledger.record(act, acts.receipt_due(receipt))
        self._clocks.see(peer.endpoint, header)
        self._observer.event(
            "batch_accepted",
            peer=str(peer.endpoint),
            stream=str(header.stream),
            topic=header.stream.topic,
            seq=header.seq,
            rows=sum(ref.rows for ref in header.segments),
            bytes=sum(ref.bytes for ref in header.segments),
        )
