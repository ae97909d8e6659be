"""The assembly: every room of a zone built once, in order, a sentence before each part.

`open_zone` builds a zone that reads and records but calls nobody; `serve.ZoneService` gives
it its listener, its workers and its web port. Nothing else constructs a room.
"""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

from jinbao.appliance.adapters import LibraryAdapter, SourceCapture, StateAdapter
from jinbao.appliance.callers import RoleBook
from jinbao.appliance.database.copies import MIGRATED, make_before
from jinbao.appliance.database.urls import database_url, setting_of
from jinbao.appliance.database.usable import require_usable
from jinbao.appliance.ending import Ending
from jinbao.appliance.judging import ConvertAndJudge
from jinbao.appliance.metrics import Metrics, count_entry
from jinbao.appliance.observers import ZoneObserver
from jinbao.appliance.outdated import Outdated
from jinbao.appliance.restored import Restored
from jinbao.appliance.settings import Limits, Settings
from jinbao.appliance.succession import Succession
from jinbao.appliance.trust_keeper import TrustKeeper
from jinbao.appliance.zone_lock import Purpose, lock
from jinbao.audit.persons import PersonKey
from jinbao.audit.projection import AuditProjection
from jinbao.audit.trail import Trail, TrailLimits
from jinbao.authority.copy_keys import DIRECTORY as COPY_KEYS
from jinbao.authority.copy_keys import PURPOSES, ZoneKeys, recipient_of
from jinbao.authority.identity_files import ZoneIdentity, lock_keys
from jinbao.decision.room import Decision, DecisionProjection
from jinbao.flow.apply import Applier, Handler, SubmissionHandler
from jinbao.flow.auditing import HeadSealer
from jinbao.flow.deadlines import Deadlines, Within
from jinbao.flow.disk import DiskForecast, WriteWatch
from jinbao.flow.following import JournalSealer
from jinbao.flow.inbound import Inbound, InboundLimits
from jinbao.flow.onward import PackageHandler, Publisher
from jinbao.flow.outbound import Outbound
from jinbao.flow.ports import Ahead, Beside
from jinbao.flow.receipts import ReceiptHandler, ReceiptSealer
from jinbao.flow.trusting import TrustHandler, TrustSealer
from jinbao.journal.attempts import AttemptsFile
from jinbao.journal.decoding import InspectLimits
from jinbao.journal.index import Counter, JournalIndex
from jinbao.journal.inspector import DecoderProcess, Died, Examiner, Inspector
from jinbao.journal.ledger import Ledger
from jinbao.journal.projection import JournalProjection
from jinbao.journal.scrub import Scrub
from jinbao.journal.segments import SegmentShelf, require_space
from jinbao.library.attesting import Attesting
from jinbao.library.room import Library, LibraryProjection
from jinbao.model import acts
from jinbao.model.batch import Header, SealedBatch, VerifiedBatch
from jinbao.model.errors import CorruptionError, JinbaoError, LocalError, SettingsError
from jinbao.model.failpoint import hit
from jinbao.model.mapping import LibraryMapping
from jinbao.model.places import tiers_directory
from jinbao.model.standard import Standard
from jinbao.model.stream import TRUST, TRUST_UP, StreamId
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint, Zone
from jinbao.quarantine.room import Quarantine, QuarantineProjection
from jinbao.registry.documents import DocumentProjection, Documents
from jinbao.registry.mappings import load_mappings
from jinbao.registry.standards import load_standards
from jinbao.source.state import SourceState, StateProjection
from jinbao.standby.cuts import CutProjection, Cuts
from jinbao.standby.following import JournalHandler
from jinbao.standby.objects import RINGS, BackupShelf, ObjectGiver
from jinbao.standby.witnessing import CutSealer, CutsHandler
from jinbao.store.ahead import SideBySide, ahead
from jinbao.store.engine import Store
from jinbao.store.files import Files
from jinbao.store.latch import Latch
from jinbao.store.log import LogLimits
from jinbao.store.migrations import Revisions, upgrade
from jinbao.store.projection import Projection
from jinbao.trust.encoding import decode_header
from jinbao.trust.envelope import check_bounds, head_of, seal
from jinbao.trust.objects import ClaimVerifier, Recipient
from jinbao.trust.parquet import ParquetLimits
from jinbao.trust.verify import Verifier

ROOMS = ("journal", "library", "quarantine", "source", "decision", "registry", "audit", "standby")
"""Rooms with tables; each brings its migrations."""

MIGRATIONS = [Path(__file__).parent.parent / room / "migrations" for room in ROOMS]
"""Folders of revisions, one a room."""

LOCK_WAIT_S = 30.0
"""A question about a stopped zone is answered within this; longer ones keep the zone from starting."""


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


CHINA = ZoneInfo("Asia/Shanghai")
"""The one time of the whole country: captures are planned and days are counted by it."""


def rfc3339(moment: datetime) -> str:
    """UTC to the millisecond."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


@dataclass(frozen=True)
class Ports:
    """What a simulator replaces: clock, files, randomness, threads, and the process that decodes first."""

    now: Callable[[], datetime] = utc_now
    files: Files = field(default_factory=Files)
    rng: random.Random = field(default_factory=random.Random)
    beside: Callable[[], Beside] = SideBySide
    ahead: Ahead = ahead
    examiner: Callable[[InspectLimits, Died], Examiner] = DecoderProcess
    incarnation: Callable[[], str] = lambda: uuid.uuid4().hex

    def today(self) -> date:
        """The day in China, by which captures are planned."""
        return self.now().astimezone(CHINA).date()

    def now_text(self) -> str:
        """UTC now as headers carry it."""
        return rfc3339(self.now())


@dataclass
class OpenZone:
    """One zone, whole: its rooms and the steps of its flow. Close it when done."""

    settings: Settings
    me: Endpoint
    ports: Ports
    trust: TrustKeeper
    documents: Documents
    standards: dict[str, Standard]
    mappings: dict[str, LibraryMapping]
    store: Store
    shelf: BackupShelf
    index: JournalIndex
    counter: Counter
    ledger: Ledger
    projections: tuple[Projection, ...]
    library: Library
    quarantine: Quarantine
    state: SourceState
    decision: Decision
    verifier: Verifier
    metrics: Metrics
    observer: ZoneObserver
    inbound: Inbound
    applier: Applier
    submissions: SubmissionHandler
    receipts: ReceiptSealer
    trust_sealer: TrustSealer | None
    deadlines: Deadlines
    outbound: Outbound | None
    trail: Trail
    heads: HeadSealer
    roles: RoleBook
    inspector: Inspector
    writes: dict[str, WriteWatch]
    forecast: DiskForecast
    unlock: Callable[[], None]
    latch: Latch
    ending: Ending
    outdated: Outdated
    restored: Restored
    succession: Succession
    cuts: Cuts
    following: JournalSealer
    cut_sealer: CutSealer
    scrub: Scrub
    giver: ObjectGiver
    brought: Brought
    writing: threading.Lock = field(default_factory=threading.Lock)
    """Held while a capture has files on the shelf that no act names yet."""
    shelving: threading.Lock = field(default_factory=threading.Lock)
    """Held while files are chosen that a batch of acts will name, and while those that may go are removed."""

    @property
    def topology(self) -> Topology:
        """The newest topology proved."""
        return self.trust.topology()

    @property
    def identity(self) -> ZoneIdentity:
        """Our keys and certificates as they are now."""
        return self.trust.identity()

    @property
    def superseded(self) -> bool:
        """Whether the parent granted our identity to another holder."""
        return self.succession.is_superseded

    def close(self) -> None:
        """End the decoder, close the database and let go of the lock; after a disk that failed that was no good end."""
        self.inspector.close()
        self.store.close()
        if self.latch.cause is None:
            self.ending.well()
        self.unlock()

    def seal(self, header: Header) -> SealedBatch:
        """Seal a header with this zone's key."""
        return seal(header, self.identity)


def open_zone(
    settings: Settings, zone: Zone, ports: Ports | None = None, purpose: Purpose = Purpose.SERVE
) -> OpenZone:
    """Build one zone of a node. Raises SettingsError, LocalError or IdentityError and leaves nothing open."""
    me, directory = settings.endpoint(zone), settings.directory(zone)
    unlock = lock(directory, purpose, LOCK_WAIT_S)
    opened: list[Store] = []
    try:
        built = _build(settings, me, directory, ports or Ports(), unlock, opened)
        built.succession.require_able(purpose)
    except BaseException:
        for store in opened:
            store.close()
        unlock()
        raise
    return built


def _build(
    settings: Settings,
    me: Endpoint,
    directory: Path,
    ports: Ports,
    unlock: Callable[[], None],
    opened: list[Store],
) -> OpenZone:
    # Who we are: keys, and the anchors that were installed with them.
    lock_keys(directory / "identity")
    trust = TrustKeeper(
        me,
        directory / "identity",
        settings.topology_file,
        now=ports.now,
        grace=timedelta(seconds=settings.limits.revocation_grace_s),
    )
    roles = _roles(settings)
    # What is exchanged: standards and mappings, the same files on every tier.
    tiers = settings.standards_directory or tiers_directory()
    standards = load_standards(tiers / "standards")
    mappings = load_mappings(tiers / "mappings", standards)
    # Where it is kept: segments by content, one database, whole and its schema at the newest revision.
    limits = settings.limits
    kept = _kept(settings, me, trust, ports, standards, opened)
    shelf, store, projections = kept.shelf, kept.store, kept.projections
    # The journal and what every room reads from it.
    ledger, index = Ledger(store, projections, ports.now_text), JournalIndex(me, store, shelf)
    # What is told: one observer for log and metrics.
    observer = kept.brought.told(ZoneObserver(me, metrics := Metrics()))
    # Who everybody is: the signed topology, by all that was learned since the anchors were installed.
    documents = Documents(store)
    topology = _topology(trust, documents, ledger, observer, me)
    # Whether this is the newest database of ours, as far as others said.
    outdated, restored = _newest(me, directory, trust, index, observer)
    if not index.incarnation():
        ledger.record(acts.created(me, ports.incarnation(), trust.identity().epoch))
    trust.announce()
    # What is kept of it: who asked for what, chained and sealed; what peers are refused is counted.
    trail = _trail(store, ledger, directory, settings, ports, metrics)
    observer.refusals = trail.count
    # Who decodes what peers sent before this process does.
    examiner = ports.examiner(
        _inspect_limits(limits),
        lambda segment, cause: observer.event("decoder_ended", segment=segment, cause=cause),
    )
    inspector = Inspector(shelf.open_path, examiner)
    # The flow, room by room as it needs them.
    library, state = Library(store, standards), SourceState(store)
    verifier = Verifier(trust.book, trust.topology, ports.now)
    judge = ConvertAndJudge(mappings, shelf)

    def epoch() -> int:
        """Of the certificate that seals: a renewed one may be of another."""
        return trust.identity().epoch

    # Whether we are its holder still, and already.
    succession = Succession(me, topology=trust.topology, epoch=epoch, begun=index.epoch)

    def seal_header(header: Header) -> SealedBatch:
        outdated.require_newest()
        restored.require_told()
        succession.require_sealer()
        mine = trust.identity()
        if header.epoch != mine.epoch:  # renewed between the two: the step is made again
            raise LocalError(f"seal of {header.stream}", expected=f"epoch {mine.epoch}", got=header.epoch)
        return seal(header, mine)

    publisher = Publisher(index=index, seal=seal_header, epoch=epoch, now=ports.now_text)
    attesting = Attesting(
        library, directory / "attested", ports.now, timedelta(days=settings.evidence.reread_days)
    )
    submissions = SubmissionHandler(
        me=index,
        ledger=ledger,
        room=LibraryAdapter(library, attesting, index),
        judge=judge,
        inspector=inspector,
        standards=standards,
        onward=publisher.package if _has_decision(topology, me) else lambda _closing, _uses, _kind: (),
        observer=observer,
        now=ports.now_text,
        rows_max=limits.submission_rows_max,
        ahead=ports.ahead,
    )
    handlers: list[Handler] = [
        ReceiptHandler(
            index=index,
            ledger=ledger,
            shelf=shelf,
            inspector=inspector,
            observer=observer,
            above=lambda endpoint: trust.topology().above(endpoint),
        ),
        TrustHandler(ledger=ledger, shelf=shelf, inspector=inspector, trust=trust),
    ]
    cuts = Cuts(store)
    scrub = Scrub(
        me,
        store,
        shelf,
        directory / "scrub.json",
        files=ports.files,
        now=ports.now,
        within=timedelta(days=limits.scrub_days),
        told=observer.event,
    )
    of_zone: dict[Zone, list[Handler]] = {
        Zone.EXCHANGE: [
            JournalHandler(me=me.node, ledger=ledger, shelf=shelf, cut_of=cuts.of, absent=scrub.note_absent),
            CutsHandler(ledger=ledger, witnessed=cuts.witnessed, topology=trust.topology, observer=observer),
            submissions,
        ],
        Zone.DECISION: [PackageHandler(ledger, standards, inspector)],
    }
    handlers += of_zone.get(me.zone, [])
    trust_sealer = None
    if me.zone is Zone.EXCHANGE:
        trust_sealer = TrustSealer(
            index=index,
            ledger=ledger,
            shelf=shelf,
            read=stored_batch,
            local=documents.local,
            topics=lambda: (TRUST, TRUST_UP) if trust.topology().parent(me) else (TRUST,),
            seal=seal_header,
            epoch=epoch,
            now=ports.now_text,
        )
    outbound = None
    if me.zone is Zone.PRODUCTION and settings.sources:
        outbound = Outbound(
            capture=SourceCapture(
                settings.sources,
                needed_tables(mappings),
                state,
                shelf,
                limits.disk_reserve_bytes,
                ports.today,
            ),
            judge=judge,
            index=index,
            state=StateAdapter(state),
            ledger=ledger,
            shelf=shelf,
            standards=[standards[name] for name in sorted(mappings)],
            seal=seal_header,
            epoch=epoch,
            backup=_backup(topology, me),
            observer=observer,
            now=ports.now_text,
            segment_rows_max=limits.segment_rows_max,
            beside=ports.beside,
        )
    # What goes to the site that protects us, which may keep it and not read it.
    giver = _giver(settings, me, shelf, trust, ports)
    # What is left of the disk below the reserve is for the acts that make room on it.
    room = partial(require_space, shelf.root, limits.disk_reserve_bytes)
    return OpenZone(
        settings=settings,
        me=me,
        ports=ports,
        trust=trust,
        documents=documents,
        standards=standards,
        mappings=mappings,
        store=store,
        shelf=shelf,
        index=index,
        counter=Counter(
            index,
            store,
            trust.topology,
            lambda sha256: _given(giver, sha256, observer),
            outdated.hear,
            restored.hear,
        ),
        ledger=ledger,
        projections=projections,
        brought=kept.brought,
        library=library,
        quarantine=Quarantine(store),
        state=state,
        decision=Decision(store),
        verifier=verifier,
        metrics=metrics,
        observer=observer,
        inbound=Inbound(
            index=index,
            ledger=ledger,
            shelf=shelf,
            verify=lambda sealed, mark: verifier.verify(sealed, mark, index.place),
            stream_of=stream_of,
            observer=observer,
            now=ports.now_text,
            limits=InboundLimits(
                limits.headers_max,
                limits.held_streams_max,
                limits.streams_per_origin_max,
                limits.segment_bytes_max,
            ),
            beside=ports.beside,
            brings=lambda peer: trust.topology().below(me, peer),
            sees=lambda peer, stream: trust.topology().may_see(holder=peer, caller=me, stream=stream),
            epoch_of=lambda peer: trust.topology().epoch(peer.node),
            room=room,
            further=lambda peer: restored.told_beside(peer, outdated.further(peer)),
        ),
        applier=Applier(
            index=index,
            ledger=ledger,
            read=stored_batch,
            handlers=handlers,
            observer=observer,
            batches_max=limits.apply_batches_max,
            attempts=AttemptsFile(directory / "applying.json"),
            ends_max=limits.apply_ends_max,
            room=room,
        ),
        submissions=submissions,
        receipts=ReceiptSealer(
            index=index,
            ledger=ledger,
            shelf=shelf,
            seal=seal_header,
            epoch=epoch,
            now=ports.now_text,
            receipts_max=limits.receipts_max,
        ),
        trust_sealer=trust_sealer,
        deadlines=Deadlines(
            index=index,
            ledger=ledger,
            libraries=standards,
            above=lambda endpoint: trust.topology().above(endpoint),
            within=Within(settings.evidence.accept_within_s, settings.evidence.apply_within_s),
            observer=observer,
            now=ports.now_text,
        ),
        outbound=outbound,
        trail=trail,
        heads=HeadSealer(
            index=index,
            ledger=ledger,
            trail=trail,
            seal=seal_header,
            epoch=epoch,
            backup=_backup(topology, me),
            now=ports.now_text,
        ),
        roles=roles,
        inspector=inspector,
        writes=_watched(observer, ports.files, store, limits),
        forecast=DiskForecast(limits.disk_reserve_bytes),
        cuts=cuts,
        following=JournalSealer(
            index=index,
            ledger=ledger,
            recorded=ledger,
            shelf=shelf,
            seal=seal_header,
            epoch=epoch,
            backup=lambda: trust.topology().backup(me.node),
            now=ports.now_text,
        ),
        cut_sealer=CutSealer(
            index=index,
            ledger=ledger,
            cuts=cuts.all,
            above=lambda: trust.topology().above(me),
            seal=seal_header,
            epoch=epoch,
            now=ports.now_text,
        ),
        scrub=scrub,
        giver=giver,
        unlock=unlock,
        latch=store.latch,
        ending=kept.ending,
        outdated=outdated,
        restored=restored,
        succession=succession,
    )


def _newest(
    me: Endpoint, directory: Path, trust: TrustKeeper, index: JournalIndex, observer: ZoneObserver
) -> tuple[Outdated, Restored]:
    """What others said of our newer past, and whether we must be told of it; raises as `require_settled` does."""

    def epoch() -> int:
        return trust.identity().epoch

    outdated = Outdated(me, directory, topology=trust.topology, epoch=epoch, observer=observer)
    outdated.require_settled(index)
    restored = Restored(
        me,
        directory,
        topology=trust.topology,
        epoch=epoch,
        incarnation=index.incarnation,
        observer=observer,
    )
    return outdated, restored


@dataclass(frozen=True)
class _Kept:
    """Where a zone keeps what it has: the shelf of its segments and its database."""

    shelf: BackupShelf
    store: Store
    projections: tuple[Projection, ...]
    ending: Ending
    brought: Brought


def _kept(
    settings: Settings,
    me: Endpoint,
    trust: TrustKeeper,
    ports: Ports,
    standards: dict[str, Standard],
    opened: list[Store],
) -> _Kept:
    """Open it, as it was written and with one latch; raises LocalError where it is not."""
    directory, limits, files = settings.directory(me.zone), settings.limits, ports.files
    files.latch = Latch()
    ending = Ending(directory, files)
    shelf = _shelf(me, directory, trust, ports)
    store = Store(
        _database(settings, me.zone),
        directory / "stage",
        latch=files.latch,
        log_limits=LogLimits(limits.database_log_bytes_max, limits.view_s_max),
    )
    opened.append(store)
    libraries, projections = projections_of(standards, shelf)
    brought = _bring_up(settings, me.zone, store, libraries, ending, ports.now())
    return _Kept(shelf, store, projections, ending, brought)


def projections_of(
    standards: dict[str, Standard], shelf: SegmentShelf
) -> tuple[LibraryProjection, tuple[Projection, ...]]:
    """How every room's tables follow from the journal; the library's is named, for it makes tables of its own."""
    libraries = LibraryProjection(standards, shelf)
    return libraries, (
        JournalProjection(shelf),
        libraries,
        QuarantineProjection(shelf),
        StateProjection(),
        DecisionProjection(),
        DocumentProjection(),
        AuditProjection(),
        CutProjection(),
    )


def _roles(settings: Settings) -> RoleBook:
    """Who may do what; raises SettingsError for roles that are not apart as they say."""
    roles = RoleBook(settings.roles)
    roles.check()
    return roles


def _trail(
    store: Store, ledger: Ledger, directory: Path, settings: Settings, ports: Ports, metrics: Metrics
) -> Trail:
    return Trail(
        store,
        ledger,
        PersonKey(directory),
        ports.now_text,
        limits=TrailLimits(settings.audit.refusals_per_minute_max, settings.audit.persons_max),
        moved=lambda entry: count_entry(metrics, entry),
    )


def _database(settings: Settings, zone: Zone) -> str:
    """The URL of a zone's database, password and all; raises SettingsError for one no zone can use."""
    url = database_url(settings.database(zone), setting_of(zone))
    return url.render_as_string(hide_password=False)


@dataclass(frozen=True)
class Brought:
    """How a database came to its schema: revisions that ran after a copy of that name, and steps of a newer release."""

    ran: tuple[str, ...]
    copy: str
    ahead: tuple[str, ...]

    def told(self, observer: ZoneObserver) -> ZoneObserver:
        """The same observer, told what happened before there was one."""
        if self.ran:
            observer.event(
                "schema_upgraded", steps=len(self.ran), newest=self.ran[-1], copy=self.copy or "none"
            )
        if self.ahead:
            observer.event("schema_ahead", steps=len(self.ahead), newest=self.ahead[0])
        return observer


def _bring_up(
    settings: Settings, zone: Zone, store: Store, libraries: LibraryProjection, ending: Ending, now: datetime
) -> Brought:
    """The newest schema, in a database that is as it was written, whole, and of no later release that we cannot run on."""
    with store.telling():
        found = require_usable(store, MIGRATIONS)
        if found.present:
            ending.check(store)
        copy = upgrade_copied(settings, zone, store, found, now)
        libraries.ensure(store)
    return Brought(found.pending if found.present else (), copy, tuple(found.ahead))


def upgrade_copied(settings: Settings, zone: Zone, store: Store, found: Revisions, now: datetime) -> str:
    """Copy a database where revisions are due, then run them in one transaction; the copy's name, if there is one."""
    copy = make_before(settings, zone, store, found, now)
    upgrade(store.writer, MIGRATIONS, copy)
    if found.present and found.pending:
        hit(MIGRATED)
    return copy


def _topology(
    trust: TrustKeeper, documents: Documents, ledger: Ledger, observer: ZoneObserver, me: Endpoint
) -> Topology:
    """The topology in force, which has this zone."""
    trust.attach(documents, ledger, observer)
    topology = trust.topology()
    if not topology.knows(me):
        raise SettingsError(f"topology version {topology.version}", expected=f"a row with {me}", got="none")
    return topology


def _shelf(me: Endpoint, directory: Path, trust: TrustKeeper, ports: Ports) -> BackupShelf:
    """The shelf, without what a killed process left on its way; of a site that protects others it holds ciphertext."""
    claims = ClaimVerifier(me.node, trust.book, trust.topology, ports.now)
    shelf = BackupShelf(directory / "segments", ports.files, claims.verify, directory / RINGS)
    shelf.sweep()
    return shelf


def _giver(
    settings: Settings, me: Endpoint, shelf: SegmentShelf, trust: TrustKeeper, ports: Ports
) -> ObjectGiver:
    directory = settings.directory(me.zone)
    return ObjectGiver(
        me,
        shelf,
        directory / "objects",
        keys=ZoneKeys(me, directory / COPY_KEYS),
        recipients=_recipients(settings, trust.topology()),
        signer=trust.identity,
        files=ports.files,
        now=ports.now_text,
        reserve_bytes=settings.limits.disk_reserve_bytes,
    )


def _given(giver: ObjectGiver, sha256: str, observer: ZoneObserver) -> Path:
    """The ciphertext of a segment. What keeps it back is told here, not to the peer; LocalError or CorruptionError."""
    try:
        return giver.path(sha256)
    except JinbaoError as exc:
        observer.event("copy_not_given", segment=sha256, code=exc.code, reason=str(exc))
        if isinstance(exc, LocalError | CorruptionError):
            raise
        raise LocalError(f"copy of segment {sha256[:12]}", expected="a ciphertext", got=exc.code) from exc


def _recipients(settings: Settings, topology: Topology) -> tuple[Recipient, ...]:
    """Who may open copies of this node; raises SettingsError where it is protected and nobody could ever open them."""
    copies, backup = settings.copies, topology.backup(settings.node)
    if backup and not copies.escrow_key:
        raise SettingsError(
            "copies.escrow_key",
            expected=f"a public key: {backup} protects this node, and keeps what it cannot read",
            got="none",
            next_step="jinbao standby key create escrow --help",
        )
    texts = {"drill": copies.drill_key, "escrow": copies.escrow_key}
    if copies.drill_key and copies.drill_key == copies.escrow_key:
        raise SettingsError(
            "copies.drill_key",
            expected="another key than the escrow's: it lies where nobody attends",
            got="the same",
        )
    return tuple(recipient_of(purpose, texts[purpose]) for purpose in PURPOSES if texts[purpose])


def stream_of(sealed: SealedBatch) -> StreamId:
    """The stream a sealed batch says it belongs to; believed only after verification. Bounded before it is read."""
    check_bounds(sealed)
    return decode_header(sealed.payload).stream


def stored_batch(sealed: SealedBatch) -> VerifiedBatch:
    """A batch as this zone verified it before it was recorded."""
    return Verifier.stored(sealed, decode_header(sealed.payload), head_of(sealed))


def _inspect_limits(limits: Limits) -> InspectLimits:
    names = (field.name for field in fields(ParquetLimits))
    return InspectLimits(
        ParquetLimits(**{name: getattr(limits, name) for name in names}),
        memory_bytes=limits.decoder_memory_bytes,
        job_s=limits.decoder_job_s,
        deaths_max=limits.decoder_deaths_max,
    )


def _watched(observer: ZoneObserver, files: Files, store: Store, limits: Limits) -> dict[str, WriteWatch]:
    """Watches over the durable writes of shelf and database; each tells once when they become slow."""

    def watch(place: str) -> tuple[WriteWatch, Callable[[float], None]]:
        found = WriteWatch(limits.durable_write_s)

        def see(took_s: float) -> None:
            if found.see(took_s):
                observer.event("disk_slow", place=place, median_s=round(found.median_s, 3))

        return found, see

    segments, files.written = watch("segments")
    database, store.committed = watch("database")
    store.log.kept = lambda size, ended: observer.event("database_log_kept", bytes=size, views_ended=ended)
    return {"segments": segments, "database": database}


def _has_decision(topology: Topology, me: Endpoint) -> bool:
    return me.zone is Zone.EXCHANGE and topology.knows(Endpoint(me.node, Zone.DECISION))


def needed_tables(mappings: dict[str, LibraryMapping]) -> dict[str, set[str]]:
    """Business tables and columns all mappings together need."""
    needed: dict[str, set[str]] = {}
    for mapping in mappings.values():
        for table, columns in mapping.source_tables().items():
            needed.setdefault(table, set()).update(columns)
    return needed


def _backup(topology: Topology, me: Endpoint) -> str:
    """The node that protects ours; without one, the name its backup site will have."""
    parent = topology.by_node[me.node].parent
    return topology.backup(me.node) or f"{parent or me.node}-backup"
