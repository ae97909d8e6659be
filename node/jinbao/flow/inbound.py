"""Inbound: a peer's batches become ours. 受理, then 入库; two stages, each durable before it is said.

    follow headers ─ verify ─ fetch segments ─ accept ┄ apply ─ attest
                                                 │         │       └ receipt `applied`, with the digest of stored rows
                                                 │         └ rows, apply mark, published package: one transaction
                                                 └ index, mark, receipt `accepted`: one transaction

Accepting never waits for SQL of applying. One stream's trouble stops no other: `holding`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

from jinbao.flow.holding import ClockWatch, Holder
from jinbao.flow.ports import Beside, Index, Ledger, Now, Observer, Peer, Room, Shelf, VerifyBatch
from jinbao.model import acts
from jinbao.model.batch import SealedBatch, SegmentRef, Shortfall, VerifiedBatch
from jinbao.model.errors import (
    CorruptionError,
    IdentityError,
    JinbaoError,
    LineClosedError,
    LinkError,
    PeerError,
    StaleEpochError,
    UnacceptableError,
)
from jinbao.model.failpoint import declare, hit
from jinbao.model.quoting import quoted
from jinbao.model.receipt import REASON_CHARACTERS_MAX, Receipt, Stage
from jinbao.model.stream import CONTROL, DOWNWARD, JOURNAL, OBJECT_TABLE, SPARE_TABLE, Mark, StreamId
from jinbao.model.zone import Endpoint
from jinbao.trust.objects import kept_as
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


@dataclass
class _Round:
    """One round with one peer; `coming` are marks of batches that are proved and not yet accepted."""

    peer: Peer
    epoch: int
    """Of the peer's node when the round began."""
    beside: Beside
    troubled: set[StreamId]
    """Streams that must wait for mending."""
    coming: dict[StreamId, Mark] = field(default_factory=dict)
    accepted: int = 0
    closed: bool = False
    """Whether a window of the line is closed for bulk: what needs none of it goes on."""


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
        beside: Callable[[], Beside],
        brings: Callable[[Endpoint], Collection[str]],
        sees: Callable[[Endpoint, StreamId], bool],
        epoch_of: Callable[[Endpoint], int],
        room: Room,
        further: Callable[[Endpoint], Sequence[Mark]] = lambda _peer: (),
    ) -> None:
        """`brings`: the nodes whose streams a peer may have for us; none named is any.

        `sees`: whether a peer may show us a stream at all; `epoch_of` the epoch at which a peer's identity is held, as
        far as is known now; `room` raises SpaceError where nothing may be written.
        `further`: marks of others that a peer is told before ours, for it may have forgotten those batches; raises where
        it may not be asked yet.
        """
        self._sees, self._epoch_of, self._room = sees, epoch_of, room
        self._index, self._ledger, self._shelf = index, ledger, shelf
        self._brings, self._further = brings, further
        self._verify, self._stream_of = verify, stream_of
        self._observer, self._now = observer, now
        self._limits, self._beside = limits, beside
        self._holder = Holder(
            index=index, ledger=ledger, observer=observer, now=now, held_max=limits.held_streams_max
        )
        self._clocks = ClockWatch(observer, now)
        self._behind: dict[StreamId, Mark] = {}

    def seeing(
        self,
        brings: Callable[[Endpoint], Collection[str]],
        sees: Callable[[Endpoint, StreamId], bool],
    ) -> Inbound:
        """The same with another sight of its peers."""
        other = copy.copy(self)
        other._brings, other._sees = brings, sees  # noqa: SLF001  # a copy of our own
        return other

    def step(self, peer: Peer, wait_s: float = 0.0) -> int:
        """One round with one peer; returns how many batches were accepted.

        While a batch becomes durable here, the segments of the next arrive. Raises LinkError when
        the way to the peer fails, or its identity has another holder meanwhile; what was accepted stays.
        """
        epoch = self._epoch_of(peer.endpoint)
        marks = {mark.stream: mark for mark in self._index.marks(nodes=self._brings(peer.endpoint))}
        known = set(marks)
        with self._beside() as beside:
            here = _Round(peer, epoch, beside, self._holder.lasting())
            asked = [*self._further(peer.endpoint), *marks.values()]
            for sealed in peer.headers(asked, self._limits.headers_max, wait_s):
                stream = self._stream(peer, sealed)
                if stream is None or stream in here.troubled or not self._has_room(peer, stream, known):
                    continue
                if self._take(here, sealed, marks.get(stream, Mark(stream))):
                    known.add(stream)
        return here.accepted

    def _stream(self, peer: Peer, sealed: SealedBatch) -> StreamId | None:
        """The stream a batch says it is of; one nobody can read, or that is not for us, is told and stops no other."""
        try:
            stream = self._stream_of(sealed)
            if not self._sees(peer.endpoint, stream):
                expected = f"streams that {peer.endpoint} may show"
                raise UnacceptableError("header", expected=expected, got=str(stream))
        except PeerError as exc:
            reason = quoted(str(exc), REASON_CHARACTERS_MAX)
            self._observer.event("header_refused", peer=str(peer.endpoint), code=exc.code, reason=reason)
            return None
        return stream

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

    def _take(self, here: _Round, sealed: SealedBatch, asked: Mark) -> bool:
        """Verify one batch, and begin to fetch and accept it; False if its stream must wait for mending."""
        peer, stream = here.peer, asked.stream
        try:
            batch = self._foreseen(here, sealed, stream)
            if batch is None:
                here.beside.settle()
                if stream in here.troubled:
                    return False
                batch = self._verify(sealed, self._index.mark)
            if batch is None and isinstance(sealed, Shortfall) and check_short(sealed, asked, peer.endpoint):
                self._tell_behind(peer, asked)
        except (PeerError, CorruptionError) as exc:
            here.beside.settle()
            self._hold(here, stream, sealed, exc)
            return False
        return batch is None or self._begin(here, batch)

    def _begin(self, here: _Round, batch: VerifiedBatch) -> bool:
        """Fetch a proved batch and begin to accept it; False if its stream must wait for mending.

        A peer that is no longer who it was ends the round: that says nothing of the stream.
        """
        header = batch.header
        if here.closed and header.segments and header.stream.topic not in CONTROL:
            return self._postpone(here, header.stream)
        try:
            keeps = self._fetch(here.peer, batch)
        except LineClosedError:  # nothing is wrong: it is fetched when the window opens
            here.closed = True
            return self._postpone(here, header.stream)
        except (PeerError, CorruptionError) as exc:
            here.beside.settle()
            if isinstance(exc, IdentityError | StaleEpochError):
                raise
            self._hold(here, header.stream, batch.sealed, exc)
            return False
        here.coming[header.stream] = Mark(
            header.stream, header.incarnation, header.epoch, header.seq, batch.head
        )
        here.beside.begin(lambda: self._land(here, batch, keeps))
        return True

    def _postpone(self, here: _Round, stream: StreamId) -> bool:
        """Leave the rest of a stream for a later round; what is just becoming durable is accepted all the same."""
        here.beside.settle()
        here.troubled.add(stream)
        return False

    def _foreseen(self, here: _Round, sealed: SealedBatch, stream: StreamId) -> VerifiedBatch | None:
        """The batch, if it is proved to follow the one of its stream that is just becoming durable."""
        coming = here.coming.get(stream)
        if coming is None:
            return None
        try:
            return self._verify(sealed, lambda _: coming)
        except (PeerError, CorruptionError):
            return None  # it is judged again by what is durable, where each contradiction has both its sides

    def _land(self, here: _Round, batch: VerifiedBatch, keeps: Sequence[Callable[[], None]]) -> None:
        """Make fetched segments durable, then accept their batch, unless one before it could not be."""
        stream = batch.header.stream
        try:
            self._keep(here, batch, keeps)
            if stream in here.troubled:
                return
            hit(FETCHED)
            self._require_holder(here)
            self._accept(here.peer, batch)
            here.accepted += 1
            hit(ACCEPTED)
        except BaseException:
            here.troubled.add(stream)  # what is on its way behind it would leave a gap
            raise

    def _require_holder(self, here: _Round) -> None:
        """Raise LinkError for a peer whose identity was granted away since the round began.

        The new holder is told what is here already; what came after that would contradict what it goes on from.
        """
        now = self._epoch_of(here.peer.endpoint)
        if now != here.epoch:
            raise LinkError(
                f"round with {here.peer.endpoint}",
                expected=f"its holder of epoch {here.epoch} to the end",
                got=f"epoch {now}, granted meanwhile",
                next_step="nothing: the next round asks the new holder",
            )

    def _keep(self, here: _Round, batch: VerifiedBatch, keeps: Sequence[Callable[[], None]]) -> None:
        """Put the segments onto the shelf; one that is not what was promised holds the stream."""
        try:
            _keep_all(keeps)
        except (PeerError, CorruptionError) as exc:
            if batch.header.stream not in here.troubled:
                self._hold(here, batch.header.stream, batch.sealed, exc)

    def _hold(
        self, here: _Round, stream: StreamId, sealed: SealedBatch, exc: PeerError | CorruptionError
    ) -> None:
        here.troubled.add(stream)
        self._holder.hold(here.peer.endpoint, stream, sealed, exc)

    def _tell_behind(self, peer: Peer, asked: Mark) -> None:
        """Say once of each mark that a relay has less of a stream than this zone: it was restored, and catches up."""
        if self._behind.get(asked.stream) != asked:
            self._behind[asked.stream] = asked
            self._observer.event(
                "peer_behind", peer=str(peer.endpoint), stream=str(asked.stream), seq=asked.seq
            )

    def _fetch(self, peer: Peer, batch: VerifiedBatch) -> list[Callable[[], None]]:
        """Bring every segment of the batch; what is returned puts them onto the shelf.

        Raises SpaceError before the first byte where they would break the disk's reserve: what is
        left is for the acts by which a person makes room.
        """
        header = batch.header
        for ref in header.segments:
            if ref.bytes > self._limits.segment_bytes_max:
                place = f"{header.stream}#{header.seq}: segment {ref.sha256[:12]}"
                most = f"at most {self._limits.segment_bytes_max} bytes"
                raise UnacceptableError(place, expected=most, got=ref.bytes)
        kept = [self._kept(header.stream, ref) for ref in header.segments]
        self._room(sum(ref.bytes for ref in kept if self._shelf.size(ref.sha256) is None))
        keeps: list[Callable[[], None]] = []
        try:
            for ref in header.segments:
                keeps += self._bring(peer, batch, ref)
        except JinbaoError:
            _keep_all(keeps)  # what came whole stays: the next round goes on after it
            raise
        return keeps

    def _bring(self, peer: Peer, batch: VerifiedBatch, ref: SegmentRef) -> list[Callable[[], None]]:
        """Bring one segment. What acts name may be gone where they were recorded: nothing needs it any more."""
        header = batch.header
        kept = self._kept(header.stream, ref)
        try:
            return [
                self._shelf.bring(kept, lambda offset: peer.fetch(header.stream, header.seq, ref, offset))
            ]
        except CorruptionError:
            if header.stream.topic != JOURNAL or ref.table not in {OBJECT_TABLE, SPARE_TABLE}:
                raise
            self._observer.event("object_gone", stream=str(header.stream), seq=header.seq, segment=ref.sha256)
            return []

    def _kept(self, stream: StreamId, ref: SegmentRef) -> SegmentRef:
        """A segment by the name under which it lies here."""
        return replace(ref, sha256=kept_as(self._index.me.node, stream, ref.sha256))

    def _accept(self, peer: Peer, batch: VerifiedBatch) -> None:
        header = batch.header
        act = acts.accepted(batch, peer.endpoint)
        if header.stream.topic in DOWNWARD or header.stream.topic == JOURNAL:  # whose origin sees our marks
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


def _keep_all(keeps: Sequence[Callable[[], None]]) -> None:
    """Put every segment onto the shelf that can be; raises what the first raised that could not."""
    failed = list[JinbaoError | OSError]()
    for keep in keeps:
        try:
            keep()
        except (JinbaoError, OSError) as exc:
            failed.append(exc)
    if failed:
        raise failed[0]
