"""What alerts are made of, as numbers: how long something waits or is silent, and from when on that is too long.

Every limit stands beside what it limits, so that one rule fits every zone, whatever its settings. Moves
nothing, and reads little: it is asked at every scrape.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache

from apscheduler.triggers.cron import CronTrigger

from jinbao.appliance.assembly import CHINA, OpenZone
from jinbao.appliance.guarding import age_s
from jinbao.appliance.metrics import Sample
from jinbao.audit.lookup import Wanted, lines
from jinbao.authority.renewal import ALARM_FROM
from jinbao.journal.waiting import Waiting
from jinbao.model.audit import Outcome
from jinbao.model.standard import Standard, newest_versions, version_order
from jinbao.model.stream import StreamId
from jinbao.model.zone import Endpoint

BY_CLOCK = ("deadlines", "retention", "trust", "witness", "audit")
"""Workers whose rounds are short and have a time of their own; of others the symptom is watched, not the round."""

CONTRADICTED = frozenset({"equivocation", "rollback", "split_view"})
MISMATCHED = frozenset({"digest_mismatch"})

_LATE_S = 300.0
_CALENDAR_LATE_S = 3600.0
_LOOK_S = 600.0
_TURNS = 12
"""Turns of a calendar that are looked at for its longest gap: a year, of one that has a turn each month."""

_NONE: Mapping[str, str] = {}


@dataclass(frozen=True)
class Running:
    """What only the running zone knows, all in seconds: the age of each contact and round, the interval of a worker.

    `standards` are those the endpoint above said it holds; none while it said nothing.
    """

    contacts: Mapping[Endpoint, float] = field(default_factory=dict)
    rounds: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, float] = field(default_factory=dict)
    standards: Collection[str] = ()


class Backups:
    """When the newest backup of a zone to a directory was made, as its audit trail says.

    Looked up every ten minutes and not at each scrape: the trail is long, and a backup is made each hour at most.
    """

    def __init__(self, zone: OpenZone) -> None:
        self._zone, self._at, self._due = zone, "", -math.inf

    def newest_at(self) -> str:
        """RFC 3339, or empty for none."""
        now = self._zone.ports.now().timestamp()
        if now >= self._due:
            wanted = Wanted(action="backup.made", outcome=Outcome.DONE)
            found = lines(self._zone.store, wanted, 1)
            self._at, self._due = (str(found[0]["at"]) if found else ""), now + _LOOK_S
        return self._at


def stored(zone: OpenZone, backups: Backups | None = None) -> Iterator[Sample]:
    """What the zone's database knows."""
    waiting = Waiting(zone.store)
    held = waiting.held()
    yield "jinbao_streams_contradicted", _NONE, sum(n for code, n in held.items() if code in CONTRADICTED)
    yield "jinbao_streams_mismatched", _NONE, sum(n for code, n in held.items() if code in MISMATCHED)
    yield "jinbao_receipts_missing", _NONE, waiting.receipts_missing()
    yield "jinbao_unapplied_oldest_age_seconds", _NONE, _age_s(zone, waiting.unapplied_since())
    above = zone.topology.above(zone.me)
    for library in zone.standards:
        stream = StreamId(zone.me, library)
        if zone.index.head(stream).seq:
            for receiver in above:
                age = _age_s(zone, waiting.unanswered_since(stream, receiver))
                yield "jinbao_stream_waiting_seconds", {"topic": library, "receiver": str(receiver)}, age
    for task, moment, limit_s in _calendar(zone, waiting, backups):
        yield "jinbao_task_last_success_timestamp_seconds", {"task": task}, moment
        yield "jinbao_task_limit_seconds", {"task": task}, limit_s


def _age_s(zone: OpenZone, at: str) -> float:
    """Seconds since a moment; 0 for none."""
    return age_s(zone, at) if at else 0.0


def _calendar(
    zone: OpenZone, waiting: Waiting, backups: Backups | None
) -> Iterator[tuple[str, float, float]]:
    """What runs by a calendar or by days: when it last went well, and what of that is too long ago.

    What never went well counts from the zone's first act, so that a new zone has its time.
    """
    pace, runs, began_at = zone.settings.pace, zone.settings.watch.late_runs, waiting.began_at()

    def moment(at: str) -> float:
        return datetime.fromisoformat(at or began_at).timestamp()

    if not began_at or zone.superseded:
        return
    if zone.outbound is not None and pace.capture_cron:
        yield "capture", moment(zone.state.captured_at()), calendar_limit_s(pace.capture_cron, runs)
    nodes = {endpoint.node for endpoint in zone.topology.protected(zone.me)}
    if nodes and pace.drill_cron:
        good = {drill.node: drill.good_at for drill in zone.cuts.drills()}
        oldest = min(moment(good.get(node, "")) for node in nodes)
        yield "drill", oldest, calendar_limit_s(pace.drill_cron, runs)
    if backups is not None and zone.settings.watch.backup_s:
        yield "backup", moment(backups.newest_at()), runs * zone.settings.watch.backup_s + _CALENDAR_LATE_S
    scrub_s = timedelta(days=zone.settings.limits.scrub_days).total_seconds()
    yield "scrub", moment(zone.scrub.progress().done_begun_at), runs * scrub_s + _CALENDAR_LATE_S


@lru_cache
def calendar_limit_s(cron: str, runs: int) -> float:
    """Seconds after which a calendar's work is late: so many of its longest gaps, and an hour; never, without turns."""
    trigger = CronTrigger.from_crontab(cron, timezone=CHINA)
    before = trigger.get_next_fire_time(None, datetime(2024, 1, 1, tzinfo=CHINA))
    gaps = []
    for _ in range(_TURNS):
        after = trigger.get_next_fire_time(before, before) if before else None
        if before is None or after is None:
            break
        gaps.append((after - before).total_seconds())
        before = after
    return runs * max(gaps, default=math.inf) + _CALENDAR_LATE_S


def present(zone: OpenZone, running: Running) -> Iterator[Sample]:
    """What this process knows, and the limits of its settings."""
    yield from _contacts(zone, running)
    yield from _rounds(zone, running)
    outdated = outdated_libraries(zone.standards, running.standards)
    for library in zone.standards:
        yield "jinbao_standard_outdated", {"library": library}, float(library in outdated)
    yield "jinbao_certificate_renewal_late_timestamp_seconds", _NONE, _renewal_late(zone)
    yield from _limits(zone)


def _contacts(zone: OpenZone, running: Running) -> Iterable[Sample]:
    """How long ago each neighbour answered; of one that an operator paused nothing."""
    above, children = zone.topology.parent(zone.me), zone.topology.children(zone.me)
    for peer, age in running.contacts.items():
        side = "above" if peer == above else "below" if peer in children else "protected"
        yield "jinbao_peer_contact_age_seconds", {"peer": str(peer), "side": side}, age


def _rounds(zone: OpenZone, running: Running) -> Iterable[Sample]:
    now = zone.ports.now().timestamp()
    for name in BY_CLOCK:
        if name in running.rounds and not zone.superseded:
            labels = {"task": name}
            yield "jinbao_task_last_success_timestamp_seconds", labels, now - running.rounds[name]
            yield "jinbao_task_limit_seconds", labels, 2 * running.intervals[name] + _LATE_S


def outdated_libraries(standards: Mapping[str, Standard], above: Collection[str]) -> set[str]:
    """Libraries whose standard the endpoint above holds in a newer version."""
    theirs = newest_versions(above)
    return {
        library
        for library, own in standards.items()
        if version_order(theirs.get(library, "")) > version_order(own.version)
    }


def _renewal_late(zone: OpenZone) -> float:
    """The moment from which a certificate of this zone should have been renewed, of the one that comes first."""
    identity = zone.identity
    leaves = [chain[0] for chain in (identity.tls_chain, identity.seal_chain) if chain]
    spans = [(leaf.not_valid_before_utc, leaf.not_valid_after_utc) for leaf in leaves]
    return min((first + (last - first) * ALARM_FROM).timestamp() for first, last in spans)


def _limits(zone: OpenZone) -> Iterable[Sample]:
    watch, limits = zone.settings.watch, zone.settings.limits
    for name, value in (
        ("jinbao_peer_silent_limit_seconds", watch.silent_s),
        ("jinbao_stream_waiting_limit_seconds", watch.waiting_s),
        ("jinbao_unapplied_limit_seconds", watch.unapplied_s),
        ("jinbao_standby_rpo_limit_seconds", watch.rpo_s),
        ("jinbao_clock_offset_limit_seconds", watch.clock_offset_s),
        ("jinbao_disk_warning_limit_seconds", limits.disk_warning_s),
        ("jinbao_durable_write_limit_seconds", limits.durable_write_s),
        ("jinbao_database_log_limit_bytes", limits.database_log_bytes_max),
        ("jinbao_revocation_grace_seconds", limits.revocation_grace_s),
    ):
        yield name, _NONE, value
