"""Healing 补齐: the holder of a new epoch takes back what the one before had sent, before it seals anything.

    parent and children ─return─▸ batches this node once sealed ─verify─▸ our own again
                                                                       └▸ of the node's other zones: accepted

A zone built from its copy ends where the copy does; its neighbours may have more of its streams. What they have goes
on from where they are, or they would see the zone go back and hold it. Each batch carries the seal of the holder
before, so nobody can bring anything that was never sent. Decides nothing about who is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

from jinbao.flow.ports import Index, Ledger, Now, Observer, Peer, Room, SealHeader, Shelf, VerifyBatch
from jinbao.flow.sealing import StreamSealer
from jinbao.model import acts
from jinbao.model.batch import Kind, SealedBatch, Shortfall, VerifiedBatch
from jinbao.model.errors import CorruptionError
from jinbao.model.failpoint import declare, hit
from jinbao.model.stream import JOURNAL, Mark, StreamId
from jinbao.model.zone import Endpoint
from jinbao.trust.encoding import decode_header

FETCHED = declare(
    "heal.after_fetch", "the segments of a batch that came back are durable, it is not recorded"
)
TAKEN = declare(
    "heal.after_take", "a batch that came back is ours again, its neighbour is asked for the next"
)
HEALED = declare("heal.before_end", "everything came back, the zone does not know yet that it may seal")


@dataclass(frozen=True, slots=True)
class Returned:
    """What one neighbour gave back: batches and rows of our own, batches of the node's other zones."""

    peer: Endpoint
    batches: int
    rows: int
    passed: int


class Healing:
    """Takes back the own streams of one zone, neighbour by neighbour, and then ends the waiting."""

    def __init__(
        self,
        *,
        index: Index,
        ledger: Ledger,
        shelf: Shelf,
        verify: VerifyBatch,
        stream_of: Callable[[SealedBatch], StreamId],
        accept: Callable[[Peer], int],
        libraries: Collection[str],
        seal: SealHeader,
        epoch: int,
        observer: Observer,
        now: Now,
        headers_max: int,
        room: Room,
    ) -> None:
        """`accept` takes one round of the node's other streams from a peer; `seal` seals at the new `epoch`."""
        self._index, self._ledger, self._shelf, self._room = index, ledger, shelf, room
        self._verify, self._stream_of, self._accept = verify, stream_of, accept
        self._libraries, self._seal, self._epoch = frozenset(libraries), seal, epoch
        self._observer, self._now, self._headers_max = observer, now, headers_max

    def take(self, peer: Peer) -> Returned:
        """Everything a neighbour has that this node once sealed. Killed and called again it goes on.

        Raises LinkError where the way fails, PeerError for what was never sealed here, CorruptionError for a
        segment that is not what its header names, SpaceError where there is no room: while it has anything
        that cannot be taken there is no end to it, for whatever is sealed next would stand in its place.
        """
        batches = rows = passed = 0
        while coming := self._coming(peer):
            own = [batch for batch in coming if batch.header.stream.origin == self._index.me]
            for batch in own:
                self._take(peer, batch)
                rows += sum(ref.rows for ref in batch.header.segments)
            batches += len(own)
            if len(own) < len(coming):
                accepted = self._accept(peer)
                if not own and not accepted:
                    raise self._refused(peer, coming[0].header.stream, coming[0].header.seq)
                passed += accepted
        returned = Returned(peer.endpoint, batches, rows, passed)
        self._observer.event("taken_back", peer=str(peer.endpoint), batches=batches, rows=rows, passed=passed)
        return returned

    def _coming(self, peer: Peer) -> list[VerifiedBatch]:
        """The next batches of our node's streams that a neighbour has and we have not, proved."""
        me, coming = self._index.me, dict[StreamId, Mark]()

        def last(stream: StreamId) -> Mark:
            held = self._index.head if stream.origin == me else self._index.mark
            return coming.get(stream) or held(stream)

        found = []
        for sealed in peer.headers(self._heads(), self._headers_max, 0.0):
            if isinstance(sealed, Shortfall) or self._stream_of(sealed).origin.node != me.node:
                continue
            batch = self._verify(sealed, last)
            if batch is not None:
                header = batch.header
                coming[header.stream] = Mark(
                    header.stream, header.incarnation, header.epoch, header.seq, batch.head
                )
                found.append(batch)
        return found

    def _refused(self, peer: Peer, stream: StreamId, seq: int) -> CorruptionError:
        """Why nothing comes any more though there is something: what the stream is held by, if it is."""
        _, _, reason = self._index.held().get(stream, (0, "", ""))
        return CorruptionError(
            f"{stream}#{seq}",
            expected=f"to come back from {peer.endpoint}",
            got=reason or "a batch that is not accepted",
            next_step="jinbao standby promote, once more; or declare again --without it",
        )

    def _heads(self) -> list[Mark]:
        """How far every stream of this node is here."""
        me = self._index.me
        own = [head for head in self._index.streams() if head.stream.origin == me]
        return [*own, *(mark for mark in self._index.marks(nodes=[me.node]) if mark.stream.origin != me)]

    def _take(self, peer: Peer, batch: VerifiedBatch) -> None:
        header = batch.header
        self._room(sum(ref.bytes for ref in header.segments if self._shelf.size(ref.sha256) is None))
        for ref in header.segments:
            self._shelf.bring(ref, partial(peer.fetch, header.stream, header.seq, ref))()
        hit(FETCHED)
        self._ledger.record(acts.sealed(batch.sealed))
        hit(TAKEN)

    def end(self, built: int, asked: Sequence[Endpoint], without: Sequence[Endpoint]) -> None:
        """Let the zone seal again: every library stream of which anything came back is closed and sent whole next.

        `built` is the last act the zone was built from; `asked` gave back all they had, `without` were given up.
        """
        grown = self._grown(built)
        voids = [acts.sealed(self._void(mark)) for mark in grown if self._is_open(mark)]
        hit(HEALED)
        self._ledger.record(*voids, acts.healed(self._epoch, grown, asked, without))

    def _grown(self, built: int) -> list[Mark]:
        """Own streams that have batches which came after the zone was built, journals apart."""
        own = [h for h in self._index.streams() if h.stream.origin == self._index.me]
        return [h for h in own if h.stream.topic != JOURNAL and self._index.recorded_at(h) > built]

    def _is_open(self, mark: Mark) -> bool:
        """Whether a library's stream ends within a submission that nobody will close any more."""
        if mark.stream.topic not in self._libraries:
            return False
        newest = self._index.batch(mark.stream, mark.seq, mark.head)
        return newest is not None and decode_header(newest.payload).kind not in {Kind.MANIFEST, Kind.VOID}

    def _void(self, mark: Mark) -> SealedBatch:
        sealer = StreamSealer(
            mark, incarnation=self._index.incarnation(), epoch=self._epoch, seal=self._seal, now=self._now
        )
        return sealer.next(Kind.VOID)
