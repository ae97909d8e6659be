"""The trail 审计日志: entries made durable before what they tell, outcomes after; and reads of both.

Fail-closed: what cannot be written raises AuditError, and the caller then neither acts nor
shows. Refusals beyond a rate, and what peers do, are counted per minute, so that nobody fills
the disk by being refused.
"""

from __future__ import annotations

import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import sqlalchemy as sa

from jinbao.audit.persons import PersonKey
from jinbao.audit.projection import newest
from jinbao.audit.tables import CUT, ENTRY
from jinbao.model import acts
from jinbao.model.acts import Act
from jinbao.model.audit import Caller, Entry, Outcome, Way
from jinbao.model.errors import AuditError, LocalError
from jinbao.store.engine import Store

KINDS_PER_MINUTE_MAX = 64
"""Different things counted within one minute; codes and events are few, accounts are not ours to bound."""

_PAGE = 1000


class Records(Protocol):
    """Where acts become durable; the journal's ledger."""

    def record(self, *acts: Act) -> None:
        """All of them durable, or none."""
        ...


@dataclass(frozen=True, slots=True)
class TrailLimits:
    """`refusals_per_minute_max` are told one by one; `persons_max` are named one by one."""

    refusals_per_minute_max: int = 30
    persons_max: int = 10_000


class Trail:
    """One zone's trail. `moved` is told role and outcome of every entry."""

    def __init__(
        self,
        store: Store,
        ledger: Records,
        key: PersonKey,
        now: Callable[[], str],
        *,
        limits: TrailLimits,
        moved: Callable[[Entry], None],
    ) -> None:
        self._store, self._ledger, self.key = store, ledger, key
        self._now, self.limits, self._moved = now, limits, moved
        self._lock = threading.Lock()
        self._counted: Counter[tuple[str, str, str, str, int]] = Counter()
        self._minute, self._refusals = "", 0

    # Writing.

    def ask(self, caller: Caller, action: str, **parts: Any) -> Entry:
        """The entry before the act; durable when this returns, else AuditError."""
        return self._record(_entry(caller, action, Outcome.ASKED, **parts))

    def end(
        self,
        asked: Entry,
        outcome: Outcome,
        *,
        detail: str = "",
        numbers: Sequence[str] = (),
        everyone: str = "",
    ) -> None:
        """The outcome of what was asked; `numbers` are those of the persons it showed, or it showed `everyone`."""
        many = len(numbers) > self.limits.persons_max
        self._record(
            replace(
                asked,
                id=secrets.token_hex(8),
                about=asked.id,
                outcome=outcome,
                detail=detail,
                arguments="",
                reason="",
                persons=() if many else self.key.persons(numbers),
                everyone=everyone or (asked.action if many else ""),
            )
        )

    def refuse(self, caller: Caller, action: str, *, detail: str, **parts: Any) -> None:
        """An attempt that was refused; beyond the rate it is counted instead."""
        if self._may_tell():
            self._record(_entry(caller, action, Outcome.REFUSED, detail=detail, **parts))
        else:
            self.count(action, detail, caller=caller)

    def count(self, action: str, detail: str, *, caller: Caller | None = None) -> None:
        """One more of its kind within this minute; durable at the next `flush`."""
        who = caller or Caller("", -1, Way.LINE)
        kind = action, detail, who.account, str(who.way), who.uid
        with self._lock:
            if kind not in self._counted and len(self._counted) >= KINDS_PER_MINUTE_MAX:
                kind = "other", "", "", str(Way.ZONE), -1
            self._counted[kind] += 1

    def flush(self) -> bool:
        """Record what was counted; whether there was any. What cannot be recorded stays counted."""
        with self._lock:
            counted, self._counted = self._counted, Counter()
        if not counted:
            return False
        entries = [
            replace(
                _entry(Caller(account, uid, Way(way)), action, Outcome.COUNTED), detail=detail, count=many
            )
            for (action, detail, account, way, uid), many in sorted(counted.items())
        ]
        try:
            self._record(*entries)
        except AuditError:
            with self._lock:
                self._counted.update(counted)
            raise
        return True

    def _may_tell(self) -> bool:
        minute = self._now()[:16]
        with self._lock:
            if minute != self._minute:
                self._minute, self._refusals = minute, 0
            self._refusals += 1
            return self._refusals <= self.limits.refusals_per_minute_max

    def _record(self, *entries: Entry) -> Entry:
        try:
            self._ledger.record(*(acts.audited(entry) for entry in entries))
        except LocalError as exc:
            done = entries[0].outcome is Outcome.DONE
            raise AuditError(
                f"audit of {entries[0].action}",
                expected="a durable entry of its outcome"
                if done
                else "a durable entry before anything is done",
                got=str(exc),
                next_step="it was done, what it shows is withheld" if done else "nothing was done",
            ) from exc
        for entry in entries:
            self._moved(entry)
        return entries[0]

    # Reading.

    def head(self) -> tuple[int, str]:
        """Number and hash of the newest entry, (0, "") of an empty trail."""
        with self._store.read() as connection:
            return newest(connection)

    def cut_away(self) -> tuple[int, str]:
        """Number and hash of the last entry that was cut away, (0, "") if none was."""
        query = sa.select(CUT.c.number, CUT.c.hash).order_by(CUT.c.number.desc()).limit(1)
        with self._store.read() as connection:
            row = connection.execute(query).first()
        return (row.number, row.hash) if row else (0, "")

    def older_than(self, moment: str) -> tuple[int, str]:
        """Number and hash of the last entry before the first one made at `moment` or later; (0, "") if there is none."""
        kept = sa.select(sa.func.min(ENTRY.c.number)).where(ENTRY.c.at >= moment).scalar_subquery()
        last = sa.select(ENTRY.c.number, ENTRY.c.hash).order_by(ENTRY.c.number.desc()).limit(1)
        with self._store.read() as connection:
            row = connection.execute(last.where(sa.or_(kept.is_(None), ENTRY.c.number < kept))).first()
        return (row.number, row.hash) if row else (0, "")

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every entry left, as stored, in order."""
        after = 0
        while True:
            query = sa.select(ENTRY).where(ENTRY.c.number > after).order_by(ENTRY.c.number).limit(_PAGE)
            with self._store.read() as connection:
                page = [dict(row) for row in connection.execute(query).mappings()]
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1]["number"]


def _entry(caller: Caller, action: str, outcome: Outcome, **parts: Any) -> Entry:
    return Entry(
        id=secrets.token_hex(8),
        outcome=outcome,
        account=caller.account,
        uid=caller.uid,
        way=caller.way,
        claimed=caller.claimed,
        roles=parts.pop("roles", ()),
        action=action,
        **parts,
    )
