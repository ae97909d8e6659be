"""What checks look at: a node's settings, and of each zone its files, facts, trust and neighbours, each found once.

Everything is found when it is first asked for. What cannot be found raises `UnknownError`, so that the checks
which need it say so and all others are made. Opens a stopped zone's database under its lock and for seconds;
of a running zone the zone is asked. Records nothing: what neighbours tell is believed in memory alone.
"""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from jinbao.appliance import admin_client
from jinbao.appliance.assembly import utc_now
from jinbao.appliance.database.opening import stopped
from jinbao.appliance.database.urls import database_url, setting_of
from jinbao.appliance.doctor.facts import Facts, gather
from jinbao.appliance.doctor.findings import UnknownError, Words
from jinbao.appliance.settings import Settings
from jinbao.appliance.trust_keeper import TrustKeeper
from jinbao.appliance.zone_lock import Holder, LockedError, holder
from jinbao.authority.identity_files import ZoneIdentity, load_identity
from jinbao.link.client import LineClient
from jinbao.link.limits import LinkLimits
from jinbao.model.acts import Act
from jinbao.model.errors import JinbaoError
from jinbao.model.topology import Topology
from jinbao.model.zone import Border, Endpoint, Zone
from jinbao.registry.documents import Documents, HeldDocument

HELLO_S = 5.0
"""Longest a neighbour is waited for: an operator looks at all of them."""

HELLOS_MAX = 8
"""Neighbours asked at once: a province has a dozen."""


def account(uid: int) -> str:
    """The name of an account, or its number as sudo takes it."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


@dataclass(frozen=True)
class Room:
    """A disk: bytes in all and free, and the share of its names that is free."""

    total: int
    free: int
    names_free: float


def _room(path: Path) -> Room:
    usage, names = shutil.disk_usage(path), os.statvfs(path)
    return Room(usage.total, usage.free, names.f_favail / names.f_files if names.f_files else 1.0)


def _local_offset() -> timedelta:
    return datetime.now().astimezone().utcoffset() or timedelta()


def _file_system(path: Path) -> str:
    """The type of the file system a path lies on, as the kernel names it; empty where it does not say."""
    try:
        text = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    found, longest = "", -1
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        point = Path(before.split()[4].replace("\\040", " "))
        if len(point.parts) >= longest and path.is_relative_to(point):
            found, longest = after.split()[0], len(point.parts)
    return found


@dataclass(frozen=True)
class Surroundings:
    """What the machine says of itself; a test says something else."""

    now: Callable[[], datetime] = utc_now
    room: Callable[[Path], Room] = _room
    local_offset: Callable[[], timedelta] = _local_offset
    file_system: Callable[[Path], str] = _file_system


@dataclass(frozen=True)
class NodeContext:
    """A node: its settings, and the file they were read from."""

    settings: Settings
    config: Path
    around: Surroundings = field(default_factory=Surroundings)

    def command(self, words: str, zone: Zone | None = None) -> str:
        """One of our commands, as it is typed here."""
        chosen = f" --zone {zone}" if zone else ""
        return f"jinbao {words}{chosen} --config {shlex.quote(str(self.config))}"


@dataclass(frozen=True)
class Hello:
    """A neighbour that proved who it is: its clock minus ours, and the standards it holds."""

    clock_offset_s: float
    standards: tuple[str, ...]


class _Held(Documents):
    """Documents that were read before."""

    def __init__(self, documents: list[HeldDocument]) -> None:
        self._documents = documents

    def held(self) -> list[HeldDocument]:
        """As they were read."""
        return self._documents


class _Nowhere:
    """A ledger and an observer that keep nothing: what is learned here is forgotten again."""

    def record(self, *acts: Act) -> None:
        """Nothing is recorded."""

    def event(self, name: str, **values: Any) -> None:
        """Nothing is told."""


@dataclass(frozen=True)
class ZoneContext:
    """One zone of a node."""

    node: NodeContext
    zone: Zone

    @property
    def settings(self) -> Settings:
        """The node's settings."""
        return self.node.settings

    @property
    def me(self) -> Endpoint:
        """Which zone of which node."""
        return self.settings.endpoint(self.zone)

    @property
    def directory(self) -> Path:
        """The zone's own."""
        return self.settings.directory(self.zone)

    @property
    def now(self) -> datetime:
        """This machine's clock, right or not."""
        return self.node.around.now()

    def command(self, words: str) -> str:
        """One of our commands about this zone."""
        return self.node.command(words, self.zone)

    @cached_property
    def is_running(self) -> bool:
        """Whether the zone's process answers this account."""
        return admin_client.is_running(self.settings, self.zone)

    @cached_property
    def holder(self) -> Holder | None:
        """Who has the zone open."""
        try:
            return holder(self.directory)
        except OSError as exc:
            raise UnknownError(
                Words(f"the lock cannot be looked at: {exc.strerror}", f"无法查看锁：{exc.strerror}")
            ) from exc

    @cached_property
    def database(self) -> Path | None:
        """The zone's SQLite file; None on a server."""
        url = database_url(self.settings.database(self.zone), setting_of(self.zone))
        return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None

    @cached_property
    def _facts(self) -> Facts | UnknownError:
        try:
            return self._found()
        except LockedError as exc:
            return UnknownError(Words(f"{exc.got} has the zone open", f"{exc.got} 正占用分区"), code="locked")
        except JinbaoError as exc:
            return UnknownError(
                Words(f"the database cannot be read: {exc.got}", f"无法读取数据库：{exc.got}"),
                self.node.command("database check", self.zone),
                code="database",
            )

    def _found(self) -> Facts:
        if self.is_running:
            return Facts.from_json(admin_client.ask(self.settings, self.zone, "doctor.look"))
        if self.database is not None and not self.database.exists():
            return Facts((), (), ())  # the first start makes it
        self._require_own()
        with stopped(self.settings, self.zone, as_is=True) as store:
            return gather(store, self.me, self.directory, self.now)

    @property
    def owner(self) -> int:
        """The account of the zone, by number: whose its directory is."""
        return self.directory.stat().st_uid

    def _require_own(self) -> None:
        """Raise UnknownError for another account: files that it makes while it looks, root too, are not the zone's."""
        if self.directory.is_dir() and self.owner != os.geteuid():
            name = account(self.owner)
            raise UnknownError(
                Words(
                    f"it is opened by {name} alone, or the zone could not open it again",
                    f"仅 {name} 可打开，否则分区将无法再打开",
                ),
                f"sudo -u {shlex.quote(name)} {self.command('doctor')}",
                code="account",
            )

    @property
    def facts(self) -> Facts:
        """What the database says; raises UnknownError."""
        if isinstance(self._facts, UnknownError):
            raise self._facts
        return self._facts

    @cached_property
    def _documents(self) -> list[HeldDocument]:
        return [] if isinstance(self._facts, UnknownError) else self._facts.held_documents()

    @cached_property
    def keeper(self) -> TrustKeeper:
        """The zone's identity and trust as it would start with; raises SettingsError for an identity that is not whole."""
        return TrustKeeper(
            self.me,
            self.directory / "identity",
            self.settings.topology_file,
            now=lambda: self.now,
            grace=timedelta(seconds=self.settings.limits.revocation_grace_s),
            load=partial(load_identity, any_mode=True),  # modes are another check's
        )

    @property
    def identity(self) -> ZoneIdentity:
        """Keys and certificates; raises as `keeper` does."""
        return self.keeper.identity()

    @cached_property
    def trouble(self) -> JinbaoError | None:
        """Why there is no topology, with the trust that was recorded taken up; None where there is one."""
        try:
            self.keeper.attach(_Held(self._documents), _Nowhere(), _Nowhere())
        except JinbaoError as exc:
            return exc
        return None

    @property
    def topology(self) -> Topology:
        """The newest topology proved here, which has this zone; raises UnknownError."""
        try:
            trouble = self.trouble
        except JinbaoError as exc:
            trouble = exc
        if trouble is not None or not self.keeper.topology().knows(self.me):
            raise UnknownError(
                Words("no topology that has this zone", "没有含本分区的网络拓扑"), code="topology"
            )
        return self.keeper.topology()

    @cached_property
    def line_peers(self) -> tuple[Endpoint, ...]:
        """Neighbours this zone dials; raises UnknownError without a topology."""
        topology = self.topology
        return tuple(
            other
            for other in topology.followed(self.me)
            if topology.border(self.me, other) is Border.LINE and topology.address(other)
        )

    @cached_property
    def hellos(self) -> Mapping[Endpoint, Hello | JinbaoError]:
        """What came of a hello to each neighbour, those of this node that are stopped left out."""
        asked = [other for other in self.line_peers if not self._is_stopped_here(other)]
        with ThreadPoolExecutor(HELLOS_MAX, "hello") as threads:
            return dict(zip(asked, threads.map(self._hello, asked), strict=True))

    def _is_stopped_here(self, other: Endpoint) -> bool:
        mine = other.node == self.settings.node and other.zone in self.settings.zones
        return mine and not admin_client.is_running(self.settings, other.zone)

    def _hello(self, other: Endpoint) -> Hello | JinbaoError:
        limits = LinkLimits(call_s=HELLO_S)
        client = LineClient(self.keeper.standing(), other, self.topology.address(other), limits=limits)
        try:
            standards = client.hello()
            return Hello(client.clock_offset_s, standards)
        except JinbaoError as exc:
            return exc
        finally:
            client.close()
