"""A zone that serves: its listener, one worker per neighbour, one that applies, one that captures.

Threads only call steps; every step can be killed and run again. A bug in a worker ends
the process, because a zone that is half alive is worse than one that restarts.
"""

from __future__ import annotations

import faulthandler
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger

from jinbao.appliance.admin_server import AdminServer
from jinbao.appliance.asking_authorities import AskingAuthorities
from jinbao.appliance.assembly import CHINA, OpenZone, open_zone
from jinbao.appliance.auditing import keep_trail
from jinbao.appliance.carrying import between
from jinbao.appliance.drill_process import EVERY, Drilling, sweep_drills
from jinbao.appliance.guarding import age_s, capture_age_s, exposure, guarded
from jinbao.appliance.housekeeping import sweep_shelf, watch_disk
from jinbao.appliance.mending import holders, mend
from jinbao.appliance.metrics import Sample
from jinbao.appliance.notify import ServiceManager
from jinbao.appliance.observers import where_failed
from jinbao.appliance.questions import Asked, dispatch
from jinbao.appliance.questions.registry import Contact
from jinbao.appliance.renewing import Renewing
from jinbao.appliance.settings import Settings
from jinbao.appliance.signals import Signals
from jinbao.appliance.telling import Teller
from jinbao.appliance.trust_drop import TrustDrop
from jinbao.appliance.watching import Backups, Running, present, stored
from jinbao.appliance.web import WebPort
from jinbao.appliance.zone_lock import require_owner
from jinbao.flow.pace import Pace, PaceLimits, Worker
from jinbao.flow.ports import Peer
from jinbao.journal.index import JournalIndex, Missing
from jinbao.journal.scrub import Use
from jinbao.link.client import LineClient
from jinbao.link.limits import LinkLimits
from jinbao.link.server import LineServer
from jinbao.link.shaping import Shaper
from jinbao.model import acts
from jinbao.model.errors import JinbaoError, LinkError, LocalError
from jinbao.model.stream import Lane
from jinbao.model.zone import Border, Endpoint, Zone
from jinbao.store.files import telling_full_disk

_STOP_S = 15.0
_RETENTION_S = 3600.0
_GIVEN_S = 600.0
"""How long a ciphertext stays that nobody asks for: a fetch that broke off goes on from it, or from the same made again."""
_TRUST_S = 5.0
"""How soon a renewed identity and a document laid down by hand are noticed; what peers bring is at once."""
_RENEWAL_S = 60.0
_AUTHORITIES_S = 15.0
"""How often it is looked whether an authority is to be asked."""
_CLOSED_S = 300.0
"""How often a line that is closed for bulk is asked for what needs none: its answer is as long as of an open one."""
_RELOAD_S, _RELOAD_POLL_S = 10.0, 0.05
_MINUTE_S = 60.0
_DEADLINES_S = 60.0
_ON_DEMAND_S = timedelta(days=36500).total_seconds()


class Part(Protocol):
    """Something that starts with the zone and stops with it: web port, admin sockets."""

    def start(self) -> None:
        """Begin."""
        ...

    def stop(self) -> None:
        """End within seconds."""
        ...


@dataclass
class Following:
    """What is known of one neighbour right now; not durable."""

    peer: Endpoint
    border: Border
    last_contact: float = 0.0
    accepted: int = 0
    client: LineClient | None = field(default=None, repr=False)
    bulk: LineClient | None = field(default=None, repr=False)
    """Of a line that windows limit: what asks for bulk, so that `client` waits for none."""
    asked_closed: float = -math.inf
    """When a closed line was last asked for what needs no bulk; monotonic."""

    @property
    def clients(self) -> list[LineClient]:
        """All there are."""
        return [client for client in (self.client, self.bulk) if client is not None]


class ZoneService:
    """Everything of one zone that runs by itself."""

    def __init__(self, zone: OpenZone) -> None:
        self.zone = zone
        self.started = time.monotonic()
        self.stopped = threading.Event()
        self.failure: BaseException | None = None
        self.workers: dict[str, Worker] = {}
        self._intervals: dict[str, float] = {}
        self.following: dict[Endpoint, Following] = {}
        self._paused: dict[Endpoint, str] = {}
        self.parts: list[Part] = []
        self._drop = TrustDrop(zone.trust)
        self.asking = AskingAuthorities(zone)
        self._seal_due = 0.0
        self.drilling = Drilling(zone.settings, zone.me.zone, zone.observer)
        self._disk_full_in_s = math.inf
        self._backups = Backups(zone)
        self._scheduler = BackgroundScheduler(timezone=CHINA)
        self._limits = LinkLimits(
            fetches_per_peer_max=zone.settings.limits.fetches_per_peer_max,
            headers_max=zone.settings.limits.headers_max,
        )
        trust = zone.trust
        self.standing = trust.standing()
        trust.changed = self._trust_changed
        self._unsealed = True
        self._stepped_down = zone.superseded
        zone.latch.closed = self._disk_failed
        zone.outdated.told = self._end
        self.gives, self.takes = self._shaper("out"), self._shaper("in")
        self.server = self._server()
        zone.metrics.read = self._samples
        zone.ports.files.written = self._signing(zone.ports.files.written)
        zone.store.committed = self._signing(zone.store.committed)

    def _signing(self, told: Callable[[float], None]) -> Callable[[float], None]:
        """What became durable is a sign of life of the worker whose thread did it."""

        def tell(took_s: float) -> None:
            worker = self.workers.get(threading.current_thread().name)
            if worker is not None:
                worker.give_sign()
            told(took_s)

        return tell

    def _shaper(self, direction: str) -> Shaper:
        """One direction of this zone's lines to other nodes, as its windows say; waiting is a sign of life."""
        zone = self.zone
        windows = zone.settings.zones[zone.me.zone].line

        def waiting() -> None:
            worker = self.workers.get(threading.current_thread().name)
            if worker is not None:
                worker.give_sign()

        def told(peer: Endpoint, size: int, waited_s: float) -> None:
            values = {"peer": str(peer), "direction": direction}
            zone.observer.event("line_limited", **values, bytes=size, waited_s=round(waited_s, 3))

        return Shaper(
            windows.schedule(),
            windows.peer_schedules(),
            clock=time.monotonic,
            now=zone.ports.now,
            told=told,
            waiting=waiting,
            spared=zone.me.node,
        )

    def _sleep(self, wait_s: float) -> None:
        """Wait for a turn on the line; a zone that stops waits no longer."""
        if self.stopped.wait(wait_s):
            raise LinkError("line", expected="its turn", got="a zone that stops")

    def _server(self) -> LineServer | None:
        zone = self.zone
        address = zone.settings.zones[zone.me.zone].listen or zone.topology.address(zone.me)
        if not address:
            return None
        return LineServer(
            self.standing,
            address,
            counter=zone.counter,
            standards=[standard.id for standard in zone.standards.values()],
            refused=self._refused,
            limits=self._limits,
            gives=self.gives,
            greeted=self._greeted,
        )

    def _greeted(self, caller: Endpoint) -> None:
        """Whoever calls is there: it is followed again at once, if the last rounds did not reach it."""
        for name in (f"follow {caller}", f"fetch {caller}"):
            if name in self.workers:
                self.workers[name].called()

    def _refused(self, caller: str, exc: JinbaoError) -> None:
        self.zone.observer.event("peer_refused", caller=caller, code=exc.code, reason=str(exc))

    def start(self) -> None:
        """Listen, then follow, apply and capture; a zone whose identity has another holder only answers."""
        if self.server is not None:
            self.server.start()
        if not self.zone.superseded:
            self._begin()
        else:
            self._tell_superseded()
            self._worker("trust", self._trusting, interval_s=_TRUST_S)
        for worker in list(self.workers.values()):
            worker.start()
        for part in self.parts:
            part.start()
        self.zone.observer.event("zone_started", incarnation=self.zone.index.incarnation())

    def _begin(self) -> None:
        """Everything the zone does by itself."""
        self._worker("apply", self._apply)
        within = self.zone.settings.evidence
        looking_s = min(_DEADLINES_S, within.accept_within_s, within.apply_within_s)
        self._worker("deadlines", self.zone.deadlines.step, interval_s=looking_s)
        self._worker("retention", self._retain, interval_s=_RETENTION_S)
        self._worker("trust", self._trusting, interval_s=_TRUST_S)
        self._worker("standby", self._seal_acts)
        self._worker("witness", self._tell_cuts, interval_s=self.zone.settings.pace.witness_interval_s)
        self._worker("scrub", self._scrub, interval_s=_MINUTE_S)
        self._worker("renewal", self._renewing, interval_s=_RENEWAL_S)
        if self.zone.me.zone is not Zone.DECISION:
            looking_s = min(_AUTHORITIES_S, self.zone.settings.pace.authority_interval_s)
            self._worker("authorities", self.asking.step, interval_s=looking_s)
        self._worker(
            "audit", self._audit, interval_s=min(_MINUTE_S, self.zone.settings.audit.seal_interval_s)
        )
        for neighbour in self.zone.topology.followed(self.zone.me):
            self._follow(neighbour)
        if self.zone.outbound is not None:
            self._worker("capture", self._capture, interval_s=_ON_DEMAND_S)
        if self.zone.settings.role == "backup":
            sweep_drills(self.zone.settings.directory(self.zone.me.zone))
            self._worker("drill", self.drilling.step, interval_s=_ON_DEMAND_S)
        self._schedule()

    def _tell_superseded(self) -> None:
        row = self.zone.topology.by_node[self.zone.me.node]
        self.zone.observer.event("zone_superseded", epoch=row.epoch)

    def _step_down(self) -> None:
        """Our identity has another holder: end all work, and stay only to answer whoever asks."""
        self._tell_superseded()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        self.drilling.stop()
        for name, worker in list(self.workers.items()):
            if name != "trust":
                worker.ask_to_stop()
        for known in list(self.following.values()):
            for client in known.clients:
                client.cancel()

    def _worker(self, name: str, step: Callable[[], bool], *, interval_s: float = 0.0) -> None:
        pace = self.zone.settings.pace
        limits = PaceLimits(interval_s=interval_s or pace.interval_s, backoff_max_s=pace.backoff_max_s)
        self._intervals[name] = limits.interval_s

        def guarded() -> bool:
            with telling_full_disk(f"{name} of {self.zone.me}"):
                return step()

        self.workers[name] = Worker(
            name,
            guarded,
            pace=Pace(limits, self.zone.ports.rng),
            observer=self.zone.observer,
            on_bug=self._bug,
        )

    def _bug(self, exc: BaseException) -> None:
        if not isinstance(self.failure, JinbaoError):  # what follows a failed disk is no news
            self.failure = exc
        self.stopped.set()

    def _disk_failed(self, exc: LocalError) -> None:
        """End: whoever goes on after a disk failed may take for written what is not."""
        self.zone.observer.event("disk_failed", reason=str(exc))
        self._end(exc)

    def _end(self, exc: JinbaoError) -> None:
        self.failure = exc
        self.stopped.set()

    def _follow(self, neighbour: Endpoint) -> None:
        zone, border = self.zone, self.zone.topology.border(self.zone.me, neighbour)
        known = self.following.setdefault(neighbour, Following(neighbour, border))
        if border is Border.CARRIER:
            self._worker(f"carry {neighbour}", self._carrying(known))
            return
        address = zone.topology.address(neighbour)
        if not address:
            return
        wait_s = zone.settings.pace.follow_wait_s
        name = f"follow {neighbour}"
        client = known.client = self._client(neighbour, address, Lane.ALL, name)
        self._worker(name, lambda: self._round(known, client, wait_s))
        if self.takes.buckets(neighbour):
            self._divide(known, client)

    def _divide(self, known: Following, client: LineClient) -> Worker:
        """Follow a neighbour in two lanes from now on: what is limited no longer keeps back what is not."""
        client.lane = Lane.CONTROL
        wait_s = self.zone.settings.pace.follow_wait_s
        name = f"fetch {known.peer}"
        bulk = known.bulk = self._client(known.peer, client.address, Lane.BULK, name)
        self._worker(name, lambda: self._bulk_round(known, bulk, wait_s))
        return self.workers[name]

    def _client(self, neighbour: Endpoint, address: str, lane: Lane, worker: str) -> LineClient:
        """What the named worker asks a neighbour by."""

        def heard() -> None:
            self.workers[worker].heard()  # a worker is made after what it asks by

        return LineClient(
            self.standing,
            neighbour,
            address,
            limits=self._limits,
            lane=lane,
            takes=self.takes,
            sleep=self._sleep,
            heard=heard,
        )

    def _bulk_round(self, known: Following, bulk: LineClient, wait_s: float) -> bool:
        """A round of the bulk lane; of a closed line seldom: only what needs no segment can come."""
        if bulk.is_closed:
            now = time.monotonic()
            if now - known.asked_closed < _CLOSED_S:
                return False
            known.asked_closed, wait_s = now, 0.0
        return self._round(known, bulk, wait_s)

    def _round(self, known: Following, peer: Peer, wait_s: float) -> bool:
        """One follow round, unless an operator paused the neighbour, or it is none any more."""
        topology = self.zone.topology
        self._paused = self.zone.index.paused()
        if known.peer in self._paused or known.peer not in topology.followed(self.zone.me):
            return False
        for client in known.clients:
            client.address = topology.address(known.peer)
        accepted = self.zone.inbound.step(peer, wait_s)
        known.last_contact = time.monotonic()
        known.accepted += accepted
        if known.bulk is None and known.client is not None and known.client.is_closed:
            self._divide(known, known.client).start()  # the other end has windows
        if accepted:
            self._news()
        return accepted > 0

    def _carrying(self, known: Following) -> Callable[[], bool]:
        """Both directions of a carrier border: take in packages, lay down ours and our marks."""
        carrying = between(self.zone, known.peer)

        def step() -> bool:
            accepted = self._round(known, carrying.peer, 0.0)
            return carrying.lay() or accepted

        return step

    def _apply(self) -> bool:
        """Apply what was accepted, attest it, seal what is owed; news for followers if anything moved."""
        moved, failed = False, list[LocalError]()
        for step in (self.zone.applier.step, self.zone.submissions.attest, self.zone.receipts.step):
            try:
                moved |= step()
            except LocalError as exc:  # of one stream, it may be: the others are owed their receipts
                failed.append(exc)
        if moved or failed:
            self._news()
        if failed:
            raise failed[0]
        return moved

    def _news(self) -> None:
        """Wake whoever waits for what was just recorded; not who recorded it, or a step that fails would never pause."""
        if self.server is not None:
            self.server.wake()
        mine = threading.current_thread().name
        for name, worker in list(self.workers.items()):
            if name != mine and (name == "apply" or name.startswith("carry")):
                worker.wake()

    def _trusting(self) -> bool:
        """Take in a renewed identity and documents that were laid down, follow new neighbours, pass on what is ours."""
        zone = self.zone
        moved = zone.trust.reload()
        if zone.settings.trust_directory is not None:
            moved |= self._drop.step(zone.settings.trust_directory)
        if zone.superseded:
            return moved
        moved |= self._follow_topology()
        if self._unsealed and zone.trust_sealer is not None:
            self._unsealed = False
            try:
                sealed = zone.trust_sealer.step()
            except BaseException:
                self._unsealed = True  # or nothing would be passed on until the next change
                raise
            if sealed:
                self._news()
        return moved

    def _trust_changed(self) -> None:
        """Whoever waits is judged again by what is known now; what is ours goes on to the neighbours."""
        if self.zone.superseded and not self._stepped_down:
            self._stepped_down = True
            self._step_down()
        self._unsealed = True
        self._news()
        if "trust" in self.workers:
            self.workers["trust"].wake()

    def _renewing(self) -> bool:
        """Renew our certificates when it is time, and take them up at once."""
        if Renewing(self.zone).step():
            self.workers["trust"].wake()
        return False

    def _follow_topology(self) -> bool:
        """Start a worker for each neighbour a newer topology names; whether there was one."""
        fresh = [n for n in self.zone.topology.followed(self.zone.me) if n not in self.following]
        for neighbour in fresh:
            before = set(self.workers)
            self._follow(neighbour)
            for name in self.workers.keys() - before:
                self.workers[name].start()
        return bool(fresh)

    def _schedule(self) -> None:
        """What runs by the calendar: captures where there is a source, drills at a backup site."""
        pace = self.zone.settings.pace
        jobs = [
            (name, cron, job)
            for name, cron, job in (
                ("capture", pace.capture_cron, self.capture_now),
                ("drill", pace.drill_cron, self.drill_now),
            )
            if cron and name in self.workers
        ]
        for _, cron, job in jobs:
            trigger = CronTrigger.from_crontab(cron, timezone=CHINA)
            self._scheduler.add_job(job, trigger, coalesce=True, max_instances=1, misfire_grace_time=None)
        if jobs:
            self._scheduler.start()

    def drill_now(self, node: str = EVERY) -> int:
        """Drill a protected node, or every one, as soon as a drill under way is done; the number of that run."""
        run = self.drilling.ask(node)
        self.workers["drill"].wake()
        return run

    def _is_capture_due(self) -> bool:
        """Whether a run was asked for and not made, or was cut off before every library was judged."""
        state = self.zone.state
        newest = f"run-{state.last_run():06d}"
        judged = {line["library"]: line["run"] for line in state.verdicts()}
        unjudged = any(judged.get(library) != newest for library in self.zone.mappings)
        return state.asked_run() > state.last_run() or unjudged

    def _capture(self) -> bool:
        """Make the run that is due, if one is."""
        assert self.zone.outbound is not None
        if not self._is_capture_due():
            return False
        self.zone.restored.require_told()  # before a whole run is read of which nothing could be sealed
        with self.zone.writing:
            self.zone.outbound.step(self.period())
        self._news()
        state = self.zone.state
        return state.asked_run() > state.last_run()

    def _retain(self) -> bool:
        """Remove files nobody needs any more, as often as the interval says."""
        self._disk_full_in_s = watch_disk(self.zone)
        if not self.zone.writing.locked():  # else a capture is under way: next time
            sweep_shelf(self.zone)
        return False

    def _tell_cuts(self) -> bool:
        """Seal how far we have the journals we follow; at most once each interval."""
        if self.zone.cut_sealer.step():
            self._news()
        return False

    def _scrub(self) -> bool:
        """Read again the segments that are due; a pass that ended begins anew at the next round. Clear what was given."""
        self.zone.giver.sweep(time.time() - _GIVEN_S)
        self.zone.scrub.step(
            lambda sha256, size, uses: mend(self.zone, self._holders(uses), sha256, size, uses)
        )
        return False

    def _holders(self, uses: Sequence[Use]) -> Iterator[Peer]:
        return holders(self.zone, self.standing, self._limits, uses, self.takes, self._sleep)

    def _seal_acts(self) -> bool:
        """Seal what was recorded for the backup site; news for it."""
        with self.zone.shelving:
            sealed = self.zone.following.step()
        if sealed:
            self._news()
        return sealed

    def _audit(self) -> bool:
        """Keep the trail: counts go into it each minute, its head is sealed each interval."""
        now = time.monotonic()
        is_due = now >= self._seal_due
        keep_trail(self.zone, seal=is_due)
        if is_due:
            self._seal_due = now + self.zone.settings.audit.seal_interval_s
        return False

    def capture_now(self) -> None:
        """Record that a run is owed, so that no kill forgets it, and make it as soon as the last one is done.

        A run under way may have read before the change that somebody asks for: it does not count.
        """
        state = self.zone.state
        owed = state.last_run() + (2 if self.zone.writing.locked() else 1)
        if state.asked_run() < owed:
            self.zone.ledger.record(acts.capture_asked(owed))
        self.workers["capture"].wake()

    def period(self) -> str:
        """The month to report, YYYYMM: as set, or the month before this one in China."""
        if self.zone.settings.period:
            return self.zone.settings.period
        china = self.zone.ports.now().astimezone(UTC) + timedelta(hours=8)
        last = china.replace(day=1) - timedelta(days=1)
        return f"{last:%Y%m}"

    def readiness(self) -> list[str]:
        """Why this zone is not ready; empty when it is."""
        failing = [(name, worker.last_error) for name, worker in list(self.workers.items())]
        reasons = [f"{name}: {error}" for name, error in failing if error is not None]
        try:
            reasons += held_reasons(self.zone.index) + self._missing()
        except LocalError as exc:  # the database is what is wrong: that is the answer
            reasons.append(str(exc))
        if self.zone.superseded:
            reasons.append("another holder has the identity of this zone: it is read only")
        if self.failure is not None:
            reasons.append(f"the zone ends: {_why(self.failure)}")
        return reasons

    def unable(self) -> list[str]:
        """Why this zone can do nothing at all; empty when it can."""
        reasons = [] if self.failure is None else [_why(self.failure)]
        try:
            self.zone.index.incarnation()
        except LocalError as exc:
            reasons.append(str(exc))
        return reasons

    def reload(self) -> None:
        """Take up at once a renewed identity and trust documents that were laid down; back once that is done."""
        trust = self.workers["trust"]
        before, until = trust.rounds, time.monotonic() + _RELOAD_S
        trust.wake()
        while trust.rounds == before and time.monotonic() < until and not self.stopped.wait(_RELOAD_POLL_S):
            pass

    def _missing(self) -> list[str]:
        """One reason per stream, receiver and stage whose receipts did not come in time."""
        late: dict[tuple[str, str, str], list[Missing]] = {}
        for one in self.zone.index.missing():
            late.setdefault((str(one.stream), str(one.stage), str(one.receiver)), []).append(one)
        return [
            f"receipts missing: {stream} {stage} by {receiver}: {len(found)}, "
            f"oldest #{found[0].seq} due {found[0].due_at}"
            for (stream, stage, receiver), found in late.items()
        ]

    def contacts(self) -> dict[str, Contact]:
        """What is known of each neighbour, by endpoint."""
        now = time.monotonic()
        return {
            str(peer): Contact(
                str(known.border),
                round(now - known.last_contact, 1) if known.last_contact else None,
                known.accepted,
                round(known.client.clock_offset_s, 3) if known.client else 0.0,
            )
            for peer, known in self.following.items()
        }

    def _samples(self) -> Iterable[Sample]:
        """Gauges as they are now; without those the database knows while it is away."""
        try:
            stored = list(self._stored_samples())
        except LocalError:
            stored = []  # `jinbao_database_up` and readiness say so, a scrape is still answered
        yield "jinbao_database_up", {}, float(bool(stored))
        yield from stored
        yield from self._present_samples()

    def _stored_samples(self) -> Iterable[Sample]:
        """What the database knows."""
        zone, none = self.zone, dict[str, str]()
        counts = zone.index.overview()
        yield "jinbao_streams_held", none, counts.held
        yield "jinbao_journal_acts", none, counts.acts
        yield "jinbao_unapplied_batches", none, counts.unapplied
        yield "jinbao_receipts_due", none, counts.receipts_due
        yield "jinbao_audit_unsealed_entries", none, zone.heads.unsealed()
        yield from self._standby_samples()
        yield from stored(zone, self._backups)
        found: dict[tuple[str, str], int] = {}
        for line in zone.quarantine.summary():
            place = line["library"], line["rule"]
            found[place] = found.get(place, 0) + line["rows"]
        for (library, rule), rows in found.items():
            yield "jinbao_quarantine_findings", {"library": library, "rule": rule}, rows

    def _standby_samples(self) -> Iterable[Sample]:
        """What the backup has of this zone, and this node of the zones it protects."""
        zone = self.zone
        lost = exposure(zone)
        if lost is not None:
            labels = {"backup": lost.backup}
            yield "jinbao_standby_rpo_seconds", labels, lost.rpo_s
            yield "jinbao_standby_rpo_rows", labels, lost.rows
            yield "jinbao_standby_rpo_bytes", labels, lost.bytes
        captured = capture_age_s(zone)
        if captured is not None:
            yield "jinbao_capture_age_seconds", {}, captured
        for cut in guarded(zone):
            labels = {"zone": str(cut.stream.origin)}
            yield "jinbao_standby_acts", labels, cut.lsn
            yield "jinbao_standby_missing_segments", labels, cut.missing
            if cut.at and not cut.missing:
                moment = datetime.fromisoformat(cut.at).timestamp()
                yield "jinbao_standby_restorable_to_timestamp_seconds", labels, moment
        drills = {drill.node: drill for drill in zone.cuts.drills()}
        for node in dict.fromkeys(cut.stream.origin.node for cut in guarded(zone)):
            labels, drill = {"node": node}, drills.get(node)
            yield "jinbao_standby_drill_ok", labels, float(drill is not None and drill.ok)
            good = datetime.fromisoformat(drill.good_at).timestamp() if drill and drill.good_at else 0.0
            yield "jinbao_standby_drill_success_timestamp_seconds", labels, good
            if drill is not None:
                yield "jinbao_standby_drill_seconds", labels, drill.seconds
        for protected in zone.topology.protected(zone.me):
            known = self.following.get(protected)
            seen = time.monotonic() - known.last_contact if known and known.last_contact else math.inf
            yield "jinbao_standby_seen_age_seconds", {"zone": str(protected)}, seen

    def _present_samples(self) -> Iterable[Sample]:
        """What this process and its disk know."""
        zone, none, now = self.zone, dict[str, str](), time.monotonic()
        scrubbed = zone.scrub.progress()
        yield "jinbao_scrub_age_seconds", none, age_s(zone, scrubbed.done_begun_at)
        yield "jinbao_segments_damaged", none, len(scrubbed.bad)
        mine = zone.identity
        yield "jinbao_certificate_expires_timestamp_seconds", none, mine.until.timestamp()
        for crl in zone.trust.book().crls.values():
            labels = {"authority": crl.authority.rfc4514_string()[:120]}
            yield "jinbao_revocation_list_due_timestamp_seconds", labels, crl.next_update.timestamp()
        yield from self.asking.samples()
        yield "jinbao_topology_version", none, zone.topology.version
        yield "jinbao_identity_epoch", none, zone.succession.epoch
        yield "jinbao_zone_superseded", none, float(zone.superseded)
        for node in dict.fromkeys(e.node for e in zone.topology.protected(zone.me)):
            yield "jinbao_standby_epoch", {"node": node}, zone.topology.by_node[node].epoch
        yield "jinbao_schema_steps_ahead", none, len(zone.brought.ahead)
        yield "jinbao_database_log_bytes", none, zone.store.log.bytes() if zone.store.is_sqlite else 0
        yield "jinbao_disk_free_bytes", none, zone.ports.files.free_bytes(zone.shelf.root)
        yield "jinbao_disk_full_in_seconds", none, self._disk_full_in_s
        for place, watch in zone.writes.items():
            yield "jinbao_durable_write_seconds", {"place": place}, watch.median_s
        yield "jinbao_disk_reserve_bytes", none, zone.settings.limits.disk_reserve_bytes
        for name, worker in list(self.workers.items()):
            since = now - (worker.last_success_monotonic or self.started)
            yield "jinbao_step_last_success_age_seconds", {"worker": name}, since
        for known in list(self.following.values()):
            if known.client is not None:
                yield (
                    "jinbao_peer_clock_offset_seconds",
                    {"peer": str(known.peer)},
                    known.client.clock_offset_s,
                )
                for direction, shaper in (("in", self.takes), ("out", self.gives)):
                    labels = {"peer": str(known.peer), "direction": direction}
                    limit = shaper.limit(known.peer)
                    yield "jinbao_line_limit_bytes_per_second", labels, limit.allowed.bytes_per_s
        yield from present(zone, self._running(now))

    def _running(self, now: float) -> Running:
        """Ages of contacts and rounds; who is paused or no neighbour any more has none."""
        zone, above = self.zone, self.zone.topology.parent(self.zone.me)
        asked = set(zone.topology.followed(zone.me)) - self._paused.keys()
        known = self.following.get(above) if above else None
        return Running(
            contacts={
                peer: now - (one.last_contact or self.started)
                for peer, one in list(self.following.items())
                if peer in asked
            },
            rounds={
                name: now - (worker.last_success_monotonic or self.started)
                for name, worker in list(self.workers.items())
            },
            intervals=dict(self._intervals),
            standards=known.client.standards if known and known.client else (),
        )

    def stop(self) -> None:
        """End every worker after its round, then the listener, then the database."""
        self.stopped.set()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        self.drilling.stop()
        for worker in self.workers.values():
            worker.ask_to_stop()
        for known in self.following.values():
            for client in known.clients:
                client.cancel()
        for worker in self.workers.values():
            worker.stop(_STOP_S)
        for part in self.parts:
            part.stop()
        if self.server is not None:
            self.server.stop()
        for known in self.following.values():
            for client in known.clients:
                client.close()
        self._leave()
        self.zone.close()

    def _leave(self) -> None:
        """A stop that was asked for is no end of a batch. Seal the trail; a full disk was told of, and stops no stop."""
        if self.failure is None:
            self.zone.applier.forgive()
        try:
            keep_trail(self.zone, seal=not self.zone.superseded)
        except LocalError as exc:
            self.zone.observer.event("step_failed", worker="audit", code=exc.code, reason=str(exc))


def held_reasons(index: JournalIndex) -> list[str]:
    """Streams that wait: those held here, and those a receiver says it holds against their origin."""
    here = [f"stream {s} held at #{seq}: {why}" for s, (seq, _, why) in index.held().items()]
    return here + [
        f"stream {r.stream} held by {r.receiver} at #{r.seq}: {r.reason}" for r in index.held_elsewhere()
    ]


def _why(failure: BaseException) -> str:
    """An error of ours in its own words; of a bug only where it struck: its text may quote a person's row."""
    return str(failure) if isinstance(failure, JinbaoError) else where_failed(failure)


def ways_in(service: ZoneService) -> list[Part]:
    """The web port and the admin sockets of a zone that serves."""
    zone, settings = service.zone, service.zone.settings
    return [
        WebPort(settings.zones[zone.me.zone].http, metrics=zone.metrics.text, reasons=service.readiness),
        AdminServer(
            settings.run_directory(zone.me.zone),
            lambda name, arguments, caller: dispatch(Asked(zone, service, caller), name, arguments),
            shared=zone.roles.is_separated,
            child=lambda: service.drilling.pid,
        ),
    ]


def run(settings: Settings, zone: Zone) -> int:
    """Serve one zone until SIGTERM or SIGINT; returns the exit code.

    Raises what keeps a zone from starting. The web port and the admin sockets come up last,
    so that whoever finds them finds a zone that works.
    """
    require_owner(settings.directory(zone))
    manager = ServiceManager.of(os.environ)
    if manager.watchdog_s:
        faulthandler.enable()  # its SIGABRT leaves in the log where every thread hung
    manager.tell("STATUS=opening, or bringing the database up to date 正在打开或升级数据库")
    service = ZoneService(open_zone(settings, zone))
    teller = Teller(manager, service, round_s_max=settings.pace.round_s_max)
    opened = service.zone
    service.parts = [*ways_in(service), teller]
    with Signals(reload=teller.ask_to_reload) as asked:
        try:
            service.start()
            asked.wait(service.stopped.is_set)
        finally:
            teller.stopping()
            service.stop()
    if service.failure is not None:
        opened.observer.event("zone_failed", reason=_why(service.failure))
        return 1
    opened.observer.event("zone_stopped")
    return 0
