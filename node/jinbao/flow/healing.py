"""Healing 补齐: the holder of a new epoch takes back what the one before had sent, before it seals anything.

    parent and children ─return─▸ batches that came from here ─verify─▸ our own again
                                                                       └▸ of those below us: accepted

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
from jinbao.model.batch import Header, Kind, SealedBatch, Shortfall, VerifiedBatch
from jinbao.model.errors import LinkError, LocalError
from jinbao.model.failpoint import declare, hit
from jinbao.model.stream import JOURNAL, Mark, StreamId
from jinbao.model.zone import Endpoint
from jinbao.trust.encoding import decode_header
from jinbao.trust.envelope import head_of

FETCHED = declare(
    "heal.after_fetch", "the segments of a batch that came back are durable, it is not recorded"
)
TAKEN = declare(
    "heal.after_take", "a batch that came back is ours again, its neighbour is asked for the next"
)
HEALED = declare("heal.before_end", "everything came back, the zone does not know yet that it may seal")


@dataclass(frozen=True, slots=True)
class Returned:
    """What one neighbour gave back: batches and rows of our own, batches that had passed through here."""

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
        gives: Callable[[Endpoint, StreamId], bool],
        accept: Callable[[Peer], int],
        libraries: Collection[str],
        seal: SealHeader,
        epoch: int,
        observer: Observer,
        now: Now,
        headers_max: int,
        room: Room,
    ) -> None:
        """`gives`: whether a peer may give a stream back; `accept` takes one round of others' streams from a peer.

        `seal` seals at the new `epoch`.
        """
        self._index, self._ledger, self._shelf, self._room = index, ledger, shelf, room
        self._verify, self._stream_of, self._accept = verify, stream_of, accept
        self._gives = gives
        self._libraries, self._seal, self._epoch = frozenset(libraries), seal, epoch
        self._observer, self._now, self._headers_max = observer, now, headers_max

    def take(self, peer: Peer) -> Returned:
        """Everything a neighbour has that once came from here or through here. Killed and called again it goes on.

        Raises LinkError where the way fails or the peer knows no giving back, PeerError for what was never sealed
        here, CorruptionError for a segment that is not what its header names, SpaceError where there is no room,
        LocalError where something of others could not be taken.
        """
        batches = rows = passed = 0
        while found := self._own(peer):
            for batch in found:
                self._take(peer, batch)
                batches += 1
                rows += sum(ref.rows for ref in batch.header.segments)
        while accepted := self._accept(peer):
            passed += accepted
        self._require_all(peer)
        returned = Returned(peer.endpoint, batches, rows, passed)
        self._observer.event("taken_back", peer=str(peer.endpoint), batches=batches, rows=rows, passed=passed)
        return returned

    def _own(self, peer: Peer) -> list[VerifiedBatch]:
        """The next batches of our own streams that a neighbour has and we have not, proved."""
        coming: dict[StreamId, Mark] = {}

        def last(stream: StreamId) -> Mark:
            return coming.get(stream) or self._index.head(stream)

        found = []
        for sealed in peer.headers(self._heads(peer), self._headers_max, 0.0):
            if isinstance(sealed, Shortfall) or self._origin(peer, sealed) != self._index.me:
                continue
            batch = self._verify(sealed, last)
            if batch is not None:
                header = batch.header
                self._require_before(peer, header)
                coming[header.stream] = Mark(
                    header.stream, header.incarnation, header.epoch, header.seq, batch.head
                )
                found.append(batch)
        return found

    def _origin(self, peer: Peer, sealed: SealedBatch) -> Endpoint:
        """Whose batch it is; raises LinkError for one that is none to be given back: a release without clause 2.9.

        That neighbour may have much of ours, and an answer without it would pass for "nothing".
        """
        stream = self._stream_of(sealed)
        if not self._gives(peer.endpoint, stream):
            raise LinkError(
                f"what {peer.endpoint} gives back",
                expected=f"batches that came from {self._index.me.node}",
                got=f"{stream}, as from release 0.1",
                next_step="upgrade it",
            )
        return stream.origin

    def _require_before(self, peer: Peer, header: Header) -> None:
        """Raise LocalError for a batch of our own epoch: the grant was used already, and its holder may live."""
        if header.epoch >= self._epoch:
            raise LocalError(
                f"{header.stream}#{header.seq} of {peer.endpoint}",
                expected=f"one sealed before epoch {self._epoch}",
                got=f"one sealed at epoch {header.epoch}: another was built by this grant, and served",
                next_step="jinbao standby declare, again: for the epoch after it",
            )

    def _require_all(self, peer: Peer) -> None:
        """Raise LocalError for a stream of which the peer has more that could not be taken.

        What goes on from before it would contradict what the peer has, and be held there for good.
        """
        for sealed in peer.headers(self._heads(peer), self._headers_max, 0.0):
            if isinstance(sealed, Shortfall):
                continue
            stream = self._stream_of(sealed)
            seq = decode_header(sealed.payload).seq
            if self._index.batch(stream, seq, head_of(sealed)) is not None:
                continue  # the peer knows less of the stream than we do, and shows it from its first batch
            _, _, reason = self._index.held().get(stream, (0, "", "refused; see the log"))
            raise LocalError(
                f"what {stream} had sent to {peer.endpoint}",
                expected="to be taken back",
                got=reason,
                next_step="mend it there (jinbao journal scrub) or release it here (jinbao line release), and "
                f"try again; or declare again --without {peer.endpoint}",
            )

    def _heads(self, peer: Peer) -> list[Mark]:
        """How far every stream is here that a peer may give back."""
        own = [head for head in self._index.streams() if head.stream.origin == self._index.me]
        others = (mark for mark in self._index.marks() if self._gives(peer.endpoint, mark.stream))
        return [*own, *others]

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
        """Own streams that have batches which came after the zone was built, journals apart.

        So has a library's of which the zone does not know from what it was sealed: its copy ended in between.
        """
        own = [h for h in self._index.streams() if h.stream.origin == self._index.me]
        return [h for h in own if h.stream.topic != JOURNAL and self._is_grown(h, built)]

    def _is_grown(self, head: Mark, built: int) -> bool:
        at, library = self._index.recorded_at(head), head.stream.topic
        return at > built or (library in self._libraries and not self._index.is_concluded(library, at))

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
