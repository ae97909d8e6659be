"""Deadlines 时限: what should have been said of a submission by now, and was not, becomes evidence too.

    origin    a sealed submission without a receipt of a tier above     → act `missing`, event, reason
    receiver  an accepted submission neither applied nor refused        → signed receipt `overdue`

The clock decides only what is said to be late, never what is accepted or applied, nor in which
order. Each is said once; a receipt that comes after all answers it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from jinbao.flow.ports import Index, Ledger, Now, Observer
from jinbao.model import acts
from jinbao.model.failpoint import declare, hit
from jinbao.model.receipt import Receipt, Stage, Unanswered
from jinbao.model.stream import LINE, StreamId
from jinbao.model.zone import Endpoint

MISS_BEFORE = declare("deadlines.before_missing", "a receipt is found late, nothing says so yet")
MISSED = declare("deadlines.after_missing", "a receipt that did not come in time is recorded as missing")
OVERDUE_BEFORE = declare("deadlines.before_overdue", "we are found late, no receipt says so yet")
OVERDUE = declare("deadlines.after_overdue", "the receipt that says we are late is due, not sealed")

ROUND_MAX = 1000
"""Manifests looked at per stream, receiver and round: the rest is found in the next."""

APPLIED = (Stage.APPLIED, Stage.REFUSED)
"""Either word ends the wait for an application."""


@dataclass(frozen=True, slots=True)
class Within:
    """How long a receipt may take, in seconds: from sealing to acceptance, and to application."""

    accept_s: float
    apply_s: float


class Deadlines:
    """Notes what is late; `above` gives the tiers that answer for a stream, nearest first."""

    def __init__(
        self,
        *,
        index: Index,
        ledger: Ledger,
        libraries: Collection[str],
        above: Callable[[Endpoint], Sequence[Endpoint]],
        within: Within,
        observer: Observer,
        now: Now,
    ) -> None:
        self._index, self._ledger = index, ledger
        self._libraries, self._above, self._within = libraries, above, within
        self._observer, self._now = observer, now

    def step(self) -> bool:
        """One round over all libraries' streams; whether anything was found late."""
        now, moved = self._now(), False
        for mark in self._index.streams():
            stream = mark.stream
            if stream.topic not in self._libraries or stream.audience != LINE:
                continue
            if stream.origin == self._index.me:
                moved |= self._await(stream, now)
            elif self._index.me in self._above(stream.origin):
                moved |= self._confess(stream, now)
        return moved

    def _await(self, stream: StreamId, now: str) -> bool:
        """Record which receipts of the tiers above did not come in time."""
        found = False
        for receiver in self._above(stream.origin):
            for stages, within_s in (
                ((Stage.ACCEPTED,), self._within.accept_s),
                (APPLIED, self._within.apply_s),
            ):
                for late in self._index.unanswered(stream, receiver, stages, ROUND_MAX):
                    due_at = later(late.made_at, within_s)
                    if _is_before(due_at, now):
                        self._miss(stream, late, receiver, stages[0], due_at)
                        found = True
        return found

    def _miss(
        self, stream: StreamId, late: Unanswered, receiver: Endpoint, stage: Stage, due_at: str
    ) -> None:
        hit(MISS_BEFORE)
        self._ledger.record(acts.missing(stream, late.seq, late.head, receiver, stage, due_at))
        hit(MISSED)
        self._observer.event(
            "receipt_missing",
            stream=str(stream),
            topic=stream.topic,
            seq=late.seq,
            receiver=str(receiver),
            stage=str(stage),
            due_at=due_at,
        )

    def _confess(self, stream: StreamId, now: str) -> bool:
        """Sign that we accepted a submission and have neither applied nor refused it in time."""
        found = False
        for late in self._index.unanswered(stream, self._index.me, APPLIED, ROUND_MAX):
            due_at = later(late.accepted_at, self._within.apply_s) if late.accepted_at else ""
            if due_at and _is_before(due_at, now):
                self._say_overdue(stream, late, due_at, now)
                found = True
        return found

    def _say_overdue(self, stream: StreamId, late: Unanswered, due_at: str, now: str) -> None:
        held = self._index.held().get(stream)
        reason = f"applied: expected by {due_at}, got none" + (f"; held: {held[2]}" if held else "")
        receipt = Receipt(self._index.me, stream, late.seq, late.head, Stage.OVERDUE, 0, "", reason, now)
        hit(OVERDUE_BEFORE)
        self._ledger.record(acts.receipt_due(receipt))
        hit(OVERDUE)
        self._observer.event(
            "submission_overdue", stream=str(stream), topic=stream.topic, seq=late.seq, reason=reason
        )


def later(text: str, seconds: float) -> str:
    """A time so many seconds after another, RFC 3339."""
    moment = datetime.fromisoformat(text) + timedelta(seconds=seconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _is_before(one: str, other: str) -> bool:
    return datetime.fromisoformat(one) < datetime.fromisoformat(other)
