"""Holding: a stream whose next word cannot be believed stops here, and no other does.

Most holds end by themselves with the next proof. Equivocation and rollback do not: the
origin's key said two things that exclude each other, both sealed headers are kept, the origin
is told by a signed receipt, and only a person lets the stream go on. Decides nothing about
what is provable; that is `trust`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from jinbao.flow.ports import Index, Ledger, Now, Observer
from jinbao.model import acts
from jinbao.model.batch import Header, SealedBatch
from jinbao.model.errors import LASTING, CorruptionError, PeerError, PoisonError
from jinbao.model.quoting import quoted
from jinbao.model.receipt import REASON_CHARACTERS_MAX, Receipt, Stage
from jinbao.model.stream import Mark, StreamId
from jinbao.model.zone import Endpoint
from jinbao.trust.encoding import decode_header
from jinbao.trust.envelope import head_of

CLOCK_FLAG = timedelta(minutes=5)
"""A batch made this much after our time, or before the batch it follows, is flagged: a clock is wrong somewhere."""


class Holder:
    """Holds streams, aloud and once; keeps what contradicts what."""

    def __init__(self, *, index: Index, ledger: Ledger, observer: Observer, now: Now, held_max: int) -> None:
        self._index, self._ledger, self._held_max = index, ledger, held_max
        self._observer, self._now = observer, now

    def lasting(self) -> set[StreamId]:
        """Streams that only a person lets go on."""
        return {stream for stream, (_, code, _) in self._index.held().items() if code in LASTING}

    def hold(
        self, peer: Endpoint, stream: StreamId, sealed: SealedBatch, exc: PeerError | CorruptionError
    ) -> None:
        """Record why a stream stops; a contradiction with both its sides.

        Once per place and kind of trouble: a peer that words it anew each time fills no journal.
        """
        held: Mapping[StreamId, tuple[int, str, str]] = self._index.held()
        reason = quoted(str(exc), REASON_CHARACTERS_MAX)
        seq = next((m.seq for m in self._index.marks() if m.stream == stream), 0) + 1
        if stream in held and held[stream][:2] == (seq, exc.code):
            return
        is_poisoned = stream in held and held[stream][1] == PoisonError.code and exc.code not in LASTING
        if is_poisoned or (stream not in held and len(held) >= self._held_max):
            self._observer.event("header_refused", peer=str(peer), code=exc.code, reason=reason)
            return
        if exc.code in LASTING:
            evidence = [*self._ours(exc), sealed]
            told = acts.receipt_due(self._word(sealed, f"{exc.code}: {reason}"))
            self._ledger.record(acts.held(stream, seq, exc.code, reason, evidence), told)
        else:
            self._ledger.record(acts.held(stream, seq, exc.code, reason, [sealed]))
        self._observer.event(
            "stream_held", peer=str(peer), stream=str(stream), seq=seq, code=exc.code, reason=reason
        )
        if exc.code in LASTING:
            self._observer.event("equivocation_found", kind=exc.code, stream=str(stream), seq=seq)

    def _ours(self, exc: PeerError | CorruptionError) -> list[SealedBatch]:
        """The batch held here that the new one contradicts; none if a re-base began after it."""
        held = exc.values.get("held")
        ours = self._index.batch(held.stream, held.seq, held.head) if isinstance(held, Mark) else None
        return [ours] if ours is not None else []

    def _word(self, shown: SealedBatch, reason: str) -> Receipt:
        """What the origin is told: the place and head it was shown to us with, and why it is held."""
        header = decode_header(shown.payload)
        return Receipt(
            self._index.me,
            header.stream,
            header.seq,
            head_of(shown),
            Stage.HELD,
            0,
            "",
            reason,
            self._now(),
            header.incarnation,
        )


class ClockWatch:
    """Flags batches whose time cannot be right; order is seq, so nothing is refused for it."""

    def __init__(self, observer: Observer, now: Now) -> None:
        self._observer, self._now = observer, now
        self._last: dict[StreamId, datetime] = {}

    def see(self, peer: Endpoint, header: Header) -> None:
        """Tell of a batch made after our own time, or before the one it follows, by more than clocks differ."""
        made_at = datetime.fromisoformat(header.made_at)
        last = self._last.get(header.stream, made_at)
        self._last[header.stream] = made_at
        ahead = made_at - datetime.fromisoformat(self._now())
        off = {"ahead": ahead, "back": last - made_at}
        for direction, by in off.items():
            if by > CLOCK_FLAG:
                self._observer.event(
                    "clock_odd",
                    peer=str(peer),
                    direction=direction,
                    stream=str(header.stream),
                    seq=header.seq,
                    by_s=round(by.total_seconds()),
                )
