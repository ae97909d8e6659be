"""Newer revocation lists of issuing authorities, asked for by the zone itself: nobody carries them.

Asks each authority the settings name and the one that certified this zone: once an hour, and each minute
or so while the list held of it is past half its life. What comes proves itself or is refused whole. A
failure is told and asked again, and ends nothing: how old a list is says the alert on lists. A decision
zone opens no connection and asks nobody; it is told by its exchange zone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.hazmat.primitives.serialization import Encoding

from jinbao.appliance.assembly import OpenZone, rfc3339
from jinbao.appliance.metrics import Sample
from jinbao.appliance.trust_keeper import DER, document_of
from jinbao.authority.joining import enrolment_of
from jinbao.authority.profile import enrolment_host
from jinbao.flow.pace import Pace, PaceLimits
from jinbao.link.enrolment import EnrolmentClient, EnrolmentLimits
from jinbao.model.errors import LinkError, PeerError, UnprovableError
from jinbao.model.zone import Zone
from jinbao.trust.book import TrustBook
from jinbao.trust.identity import authority_name
from jinbao.trust.revocation import key_id

AGAIN_S, AGAIN_MAX_S = 60.0, 600.0
"""Pause before an authority is asked again that failed, or whose list is due: within its list's second half, many times."""

JITTER_SHARE = 0.25
"""By so much of its interval a question comes sooner or later."""

_NEVER = datetime.min.replace(tzinfo=UTC)

LIMITS = EnrolmentLimits(call_s=10.0)
"""Nothing is signed for the answer, so that no person is waited for."""

Ask = Callable[[str, str, bytes], Sequence[bytes] | None]
"""Documents of an authority by name, address and the pinned roots (PEM); None where it does not know the question."""


def ask(authority: str, address: str, roots: bytes) -> Sequence[bytes] | None:
    """Over the network; raises LinkError or PeerError."""
    return EnrolmentClient(address, enrolment_host(authority), roots, LIMITS).trust()


@dataclass(frozen=True, slots=True)
class Asked:
    """One authority to ask. What it says `is_ours` to pass on where it is this node's own, or the settings name it."""

    authority: str
    address: str
    is_ours: bool


@dataclass
class Standing:
    """How asking one authority went; not durable."""

    pace: Pace
    asked_at: datetime | None = None
    wait_s: float = 0.0
    answered_at: datetime | None = None
    is_old: bool = False
    """Whether it is of a release that does not know the question."""
    reason: str = ""
    """Why the last question was not answered; empty where it was."""

    def is_due(self, now: datetime, *, is_list_due: bool) -> bool:
        """Whether it is time to ask; also where the clock went back."""
        if self.asked_at is None:
            return True
        waited = (now - self.asked_at).total_seconds()
        sooner = is_list_due and not self.is_old and not self.pace.failures
        return not 0 <= waited < (min(AGAIN_S, self.wait_s) if sooner else self.wait_s)


class AskingAuthorities:
    """One step asks one authority, if one is due."""

    def __init__(self, zone: OpenZone, ask: Ask = ask) -> None:
        self._zone, self._ask = zone, ask
        self._known: dict[str, Standing] = {}

    def asked(self) -> list[Asked]:
        """Whom this zone asks, by authority; an address of the settings stands for the one it enrolled at."""
        zone = self._zone
        if zone.me.zone is Zone.DECISION:
            return []
        named = dict(zone.settings.authorities)
        mine, address = enrolment_of(zone.identity)
        found = {mine: address} | named if mine and address else named
        return [Asked(name, at, name in named or name == zone.me.node) for name, at in sorted(found.items())]

    def step(self) -> bool:
        """Ask whoever is due and waited longest; whether anybody was. Raises LocalError where nothing can be recorded.

        One at a time, so that a zone that stops waits for one answer alone.
        """
        now = self._zone.ports.now()
        due = [
            (standing.asked_at or _NEVER, one, standing)
            for one in self.asked()
            if (standing := self._standing(one.authority)).is_due(
                now, is_list_due=self._is_list_due(one.authority, now)
            )
        ]
        if not due:
            return False
        _, one, standing = min(due, key=lambda found: found[0])
        standing.asked_at, standing.wait_s = now, standing.pace.after_failure()
        self._ask_one(one, standing)
        return True

    def _standing(self, authority: str) -> Standing:
        interval_s = self._zone.settings.pace.authority_interval_s
        again_s = min(AGAIN_S, interval_s)
        limits = PaceLimits(interval_s, again_s, max(again_s, min(AGAIN_MAX_S, interval_s)))
        return self._known.setdefault(authority, Standing(Pace(limits, self._zone.ports.rng)))

    def _ask_one(self, one: Asked, standing: Standing) -> None:
        zone, name = self._zone, f"authority {one.authority}"
        roots = b"".join(root.public_bytes(Encoding.PEM) for root in zone.trust.book().roots)
        try:
            documents = self._ask(one.authority, one.address, roots)
            if documents is not None:
                self._take_in(one, documents)
        except (LinkError, PeerError) as exc:
            standing.reason = str(exc)
            if isinstance(exc, UnprovableError):
                zone.trust.refuse(name, exc)
            zone.observer.event(
                "authority_ask_failed",
                authority=one.authority,
                code=exc.code,
                reason=str(exc),
                failures=standing.pace.failures,
                retry_in_s=round(standing.wait_s, 2),
            )
            return
        self._note_answer(one, standing, knows=documents is not None)

    def _note_answer(self, one: Asked, standing: Standing, *, knows: bool) -> None:
        """When to ask again: sooner where a list is due although the authority answered."""
        now = self._zone.ports.now()
        if not knows and not standing.is_old:
            self._zone.observer.event("authority_outdated", authority=one.authority, address=one.address)
        standing.is_old = not knows
        standing.reason = "" if knows else "an earlier release, which does not know the question"
        if knows:
            standing.answered_at = now
        if standing.is_old or not self._is_list_due(one.authority, now):
            # Spread, so that a province's zones do not ask in one minute for good.
            spread = 1 + JITTER_SHARE * (2 * self._zone.ports.rng.random() - 1)
            standing.wait_s = standing.pace.after_success(worked=False) * spread

    def _take_in(self, one: Asked, documents: Sequence[bytes]) -> None:
        """Believe and record what is newer than ours, all or nothing; an authority may well hold older lists of others."""
        trust = self._zone.trust
        for document in documents:
            if document[:1] != DER:
                raise UnprovableError(
                    f"answer of authority {one.authority}",
                    expected="certificates and revocation lists, DER",
                    got=document[:8].hex() or "nothing",
                )
        book = trust.book()
        newer = frozenset(book.newer(documents))
        wanted = [document_of(d) for d in documents if d in newer or (one.is_ours and d in book.known)]
        trust.take_in(wanted, "" if one.is_ours else f"authority {one.authority}")

    def _is_list_due(self, authority: str, now: datetime) -> bool:
        """Whether the newest list held of an authority is past half its life, or there is none although it makes one."""
        return is_list_due(self._zone.trust.book(), authority, now)

    def standings(self) -> list[dict[str, str]]:
        """Whom this zone asks, and how it went: authority, address, when it last answered, and why not since."""
        known = [(one, self._standing(one.authority)) for one in self.asked()]
        return [
            {
                "authority": one.authority,
                "address": one.address,
                "answered_at": rfc3339(standing.answered_at) if standing.answered_at else "",
                "reason": standing.reason,
            }
            for one, standing in known
        ]

    def samples(self) -> Iterator[Sample]:
        """When each authority last answered."""
        for one in self.asked():
            at = self._standing(one.authority).answered_at
            labels = {"authority": one.authority}
            yield "jinbao_authority_answered_timestamp_seconds", labels, at.timestamp() if at else 0.0


def is_list_due(book: TrustBook, authority: str, now: datetime) -> bool:
    """Whether an authority may have a newer list than a book: half of its newest one's life is over, or it has none.

    Not for an authority nobody here knows by a certificate of ours: whoever it is, its lists say nothing.
    """
    keys = [key_id(c) for c in book.authorities if authority_name(c) == authority]
    lists = [book.crls[key] for key in keys if key in book.crls]
    if not lists:
        return bool(keys)
    newest = max(lists, key=lambda crl: crl.next_update)
    return now >= newest.this_update + (newest.next_update - newest.this_update) / 2
