"""Inbound: a peer's batches become ours. 受理, then 入库; two stages, each durable before it is said.

    follow headers ─ verify ─ fetch segments ─ accept ┄ apply ─ attest
                                                 │         │       └ receipt `applied`, with the digest of stored rows
                                                 │         └ rows, apply mark, published package: one transaction
                                                 └ index, mark, receipt `accepted`: one transaction

Accepting never waits for SQL of applying. One stream's trouble stops no other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from jinbao.flow.ports import Index, Ledger, Now, Observer, Peer, Shelf, VerifyBatch
from jinbao.model import acts
from jinbao.model.batch import SealedBatch, VerifiedBatch
from jinbao.model.errors import CorruptionError, PeerError
from jinbao.model.failpoint import declare, hit
from jinbao.model.receipt import Receipt, Stage
from jinbao.model.stream import DOWNWARD, StreamId

FETCHED = declare("inbound.after_fetch", "all segments of a batch are durable, the batch is not accepted")
ACCEPTED = declare("inbound.after_accept", "a batch is accepted, its peer has not seen the new mark")


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
        headers_max: int,
    ) -> None:
        self._index, self._ledger, self._shelf = index, ledger, shelf
        self._verify, self._stream_of = verify, stream_of
        self._observer, self._now = observer, now
        self._headers_max = headers_max

    def step(self, peer: Peer, wait_s: float = 0.0) -> int:
        """One round with one peer; returns how many batches were accepted.

        Raises LinkError when the way to the peer fails; what was accepted stays.
        """
        accepted = 0
        troubled: set[StreamId] = set()
        for sealed in peer.headers(self._index.marks(), self._headers_max, wait_s):
            stream = self._stream(peer, sealed)
            if stream is None or stream in troubled:
                continue
            if self._take(peer, stream, sealed):
                accepted += 1
            else:
                troubled.add(stream)
        return accepted

    def _stream(self, peer: Peer, sealed: SealedBatch) -> StreamId | None:
        """The stream a batch says it is of; one nobody can read is told and stops no other."""
        try:
            return self._stream_of(sealed)
        except PeerError as exc:
            self._observer.event("header_refused", peer=str(peer.endpoint), code=exc.code, reason=str(exc))
            return None

    def _take(self, peer: Peer, stream: StreamId, sealed: SealedBatch) -> bool:
        """Verify, fetch and accept one batch; False if its stream must wait for mending."""
        try:
            batch = self._verify(sealed)
            if batch is not None:
                self._fetch(peer, batch)
        except (PeerError, CorruptionError) as exc:
            self._hold(peer, stream, sealed, exc)
            return False
        if batch is not None:
            hit(FETCHED)
            self._accept(peer, batch)
            hit(ACCEPTED)
        return True

    def _fetch(self, peer: Peer, batch: VerifiedBatch) -> None:
        """Bring every segment of the batch onto the shelf."""
        header = batch.header
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
            )
            self._ledger.record(act, acts.receipt_due(receipt))
        self._observer.event(
            "batch_accepted",
            peer=str(peer.endpoint),
            stream=str(header.stream),
            topic=header.stream.topic,
            seq=header.seq,
            rows=sum(ref.rows for ref in header.segments),
            bytes=sum(ref.bytes for ref in header.segments),
        )

    def _hold(
        self, peer: Peer, stream: StreamId, sealed: SealedBatch, exc: PeerError | CorruptionError
    ) -> None:
        """Stop one stream, loudly, once; it goes on by itself when the next proof holds."""
        held: Mapping[StreamId, tuple[int, str, str]] = self._index.held()
        reason = str(exc)
        if stream in held and held[stream][1:] == (exc.code, reason):
            return
        seq = next((m.seq for m in self._index.marks() if m.stream == stream), 0) + 1
        self._ledger.record(acts.held(stream, seq, exc.code, reason, [sealed]))
        self._observer.event(
            "stream_held", peer=str(peer.endpoint), stream=str(stream), seq=seq, code=exc.code, reason=reason
        )
