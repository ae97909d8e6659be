"""A city to be examined: real zones, stopped after they exchanged something, with the node above served in this process."""

from __future__ import annotations

import os
import re
import select
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import polars as pl
from tests.cli.harness import command, environment
from tests.cli.test_authorities import until_it_listens
from tests.link.zones import SETTINGS, TOPICS, accepted, seal, serving
from tests.servers import await_

from jinbao.appliance.admin_client import ask
from jinbao.appliance.assembly import OpenZone, Ports, open_zone, utc_now
from jinbao.appliance.doctor.context import Room, Surroundings
from jinbao.appliance.doctor.examine import Line, examine
from jinbao.appliance.doctor.findings import State
from jinbao.appliance.loopback import free_port
from jinbao.appliance.network import AUTHORITIES, DEMO_NODES, make_network
from jinbao.appliance.settings import Settings, load
from jinbao.authority.demo import DemoAuthorities
from jinbao.cli.main import main
from jinbao.journal.segments import SegmentShelf
from jinbao.model.places import tiers_directory
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint, Zone
from jinbao.sample.generate import generate
from jinbao.store.files import Files

CITY, PROVINCE = DEMO_NODES[2].node, DEMO_NODES[1].node
CHINA = timedelta(hours=8)
BATCHES = 2
TOPOLOGY = "topology.sealed"
HOUR_S = 3600

OPENS = """
import sqlite3, sys
base = sqlite3.connect(sys.argv[1])
base.execute("SELECT count(*) FROM sqlite_master").fetchone()
print("ready", flush=True)
sys.stdin.readline()
"""

HOLDS = """
import sys
from pathlib import Path
from jinbao.appliance.zone_lock import Purpose, lock
lock(Path(sys.argv[1]), Purpose(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
"""

LISTENS = """
import socket, sys
host, _, port = sys.argv[1].rpartition(":")
server = socket.create_server((host, int(port)))
print("ready", flush=True)
sys.stdin.readline()
"""


@dataclass
class City:
    """A city's node, and what stands around it."""

    directory: Path
    topology: Topology
    province: ExitStack = field(default_factory=ExitStack)
    above_s: float = 0.0
    """How far the clock of the node above is from ours."""

    @property
    def config(self) -> Path:
        """The city's settings file."""
        return self.directory / CITY / "node.toml"

    @property
    def settings(self) -> Settings:
        """The city's settings as they are now."""
        return load(self.config)

    def zone(self, zone: Zone) -> Path:
        """A zone's directory."""
        return self.directory / CITY / zone

    def shelf(self, zone: Zone) -> SegmentShelf:
        """A zone's segments."""
        return SegmentShelf(self.zone(zone) / "segments", Files())

    def opened(self, zone: Zone, node: str = CITY) -> OpenZone:
        """A zone of this network, to be closed again."""
        ports = Ports(now=lambda: utc_now() + timedelta(seconds=self.above_s)) if node == PROVINCE else None
        return open_zone(load(self.directory / node / "node.toml"), zone, ports)

    def serve_above(self) -> None:
        """Let the node above answer."""
        self.province.enter_context(serving(self.opened(Zone.EXCHANGE, PROVINCE)))

    def rest_above(self) -> None:
        """Let the node above answer no more."""
        self.province.close()

    def keep(self) -> None:
        """Remember the city as it is."""
        shutil.copytree(self.directory / CITY, self.directory / "kept", symlinks=True)
        shutil.copy(self.directory / TOPOLOGY, self.directory / "kept")

    def bring_back(self) -> None:
        """Make the city what it was, so that one test that fails is one."""
        self.rest_above()
        self.above_s = 0.0
        shutil.rmtree(self.directory / CITY)
        shutil.copytree(self.directory / "kept", self.directory / CITY, symlinks=True)
        (self.directory / CITY / TOPOLOGY).replace(self.directory / TOPOLOGY)
        self.serve_above()

    def look(self, around: Surroundings | None = None, *only: str) -> list[Line]:
        """Every finding, on a machine whose zone is China's unless it is another."""
        return examine(self.settings, self.config, only=only, around=around or well())

    def run(self, line: str) -> int:
        """A command as it was printed; ours in this process, the machine's by a shell. Its exit code."""
        if not line.startswith("jinbao "):
            with _ends(line):
                return subprocess.run(["/bin/sh", "-c", line], check=False, timeout=60).returncode
        try:
            main(shlex.split(line)[1:])
        except SystemExit as ended:
            return int(ended.code or 0)
        raise AssertionError(line)


@contextmanager
def _ends(line: str) -> Iterator[None]:
    """Where the command kills a process, wait for its end, as a person does before looking again."""
    killed = re.fullmatch(r"kill (\d+)", line)
    if killed is None:
        yield
        return
    process = os.pidfd_open(int(killed[1]))
    try:
        yield
        assert select.select([process], [], [], 20)[0], line
    finally:
        os.close(process)


def well(
    shift: timedelta = timedelta(),
    offset: timedelta = CHINA,
    room: Callable[[Path], Room] | None = None,
    file_system: str = "",
) -> Surroundings:
    """A machine that is well but for what is given."""
    here = Surroundings()
    return Surroundings(
        now=lambda: utc_now() + shift,
        local_offset=lambda: offset,
        room=room or here.room,
        file_system=(lambda _: file_system) if file_system else here.file_system,
    )


def bad(lines: Sequence[Line]) -> set[str]:
    """Checks that found something; those that could not be made are none of them."""
    return {line.check for line in lines if line.finding.state in {State.RED, State.WARNING}}


@contextmanager
def city(directory: Path) -> Iterator[City]:
    """A city that sealed, sent on and backed up something; its zones are stopped, the node above answers."""
    business, tiers = directory / CITY / "business.db", directory / CITY / "tiers"
    url = f"sqlite:///{business}"
    generate([url], region=CITY, persons=5000, seed=1, period=202410, defects_per_kind=1)
    sources = ({"name": "city", "url": url},)
    nodes = [*DEMO_NODES[:2], replace(DEMO_NODES[2], sources=sources)]
    for name in ("standards", "mappings"):
        shutil.copytree(tiers_directory() / name, tiers / name)
    topology, _ = make_network(directory, nodes, overrides=SETTINGS)
    made = City(directory, topology)
    made.config.write_text(f'standards_directory = "{tiers}"\n{made.config.read_text()}')
    with made.province:
        made.serve_above()
        _exchange(made)
        made.opened(Zone.DECISION).close()
        for zone in Zone:
            backed_up = f"jinbao backup create {directory / 'backups'} --zone {zone} --config {made.config}"
            assert made.run(backed_up) == 0
        made.keep()
        yield made


def _exchange(made: City) -> None:
    """Let what production sealed come to the city's exchange zone, and nothing be under way."""
    with serving(made.opened(Zone.PRODUCTION)) as production:
        seal(production.zone, BATCHES)
        with serving(made.opened(Zone.EXCHANGE)) as exchange:
            await_(lambda: sum(map(len, accepted(exchange.zone).values())) >= BATCHES * len(TOPICS))


@contextmanager
def process(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process of somebody else's, once it has done what it is for; killed in the end."""
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as started:
        assert started.stdout is not None
        try:
            assert started.stdout.readline() == "ready\n"
            yield started
        finally:
            started.kill()


@contextmanager
def enrolling(place: City, token: Path) -> Iterator[None]:
    """The province's authority answers meanwhile; a token of it lies at `token`."""
    address, authority = f"127.0.0.1:{free_port()}", place.directory / AUTHORITIES / PROVINCE
    above, lists = place.directory / AUTHORITIES / "100000", place.directory / "lists.pem"
    assert place.run(f"jinbao ca export {above} --out {lists}") == 0
    assert place.run(f"jinbao ca import {authority} {lists}") == 0
    topology = ("--topology", str(place.directory / "topology.sealed"))
    served = subprocess.Popen(
        command("ca", "serve", str(authority), "--listen", address, *topology),
        env=environment(LC_ALL="C.UTF-8"),
        stderr=subprocess.DEVNULL,
    )
    try:
        until_it_listens(address)
        named = f"--node {CITY} --address {address} {' '.join(topology)} --out {token}"
        assert place.run(f"jinbao ca token {authority} {named}") == 0
        yield
    finally:
        served.send_signal(signal.SIGTERM)
        served.wait(20)


def issue_ended(place: City, zone: Zone) -> None:
    """Give a zone certificates that ended a day ago, of its own authority."""
    authorities = DemoAuthorities(directory=place.directory / AUTHORITIES, life=timedelta(days=14))
    authorities.issue(
        Endpoint(CITY, zone), place.topology, place.zone(zone) / "identity", utc_now() - timedelta(days=15)
    )


def lay_file(place: City, zone: Zone, rows: int = 10) -> str:
    """Put a segment that no act names on a zone's shelf, written two hours ago; its hash."""
    shelf = place.shelf(zone)
    noise = [os.urandom(24).hex() for _ in range(rows)]
    sha256, _ = shelf.write(pl.DataFrame({"AAC001": noise}))
    old = time.time() - 2 * HOUR_S
    os.utime(shelf.path(sha256), (old, old))
    return sha256


def name_in_an_act(place: City, zone: Zone, sha256: str) -> None:
    """Let an act name a file, so that it is one that was of use once."""
    settings = place.settings
    ask(settings, zone, "line.pause", {"peer": PROVINCE, "reason": f"looked at {sha256}"})
    ask(settings, zone, "line.resume", {"peer": PROVINCE})


def empty(place: City, zone: Zone) -> None:
    """Let a zone begin anew, with the keys it has."""
    for path in place.zone(zone).iterdir():
        if path.is_dir() and path.name != "identity":
            shutil.rmtree(path)
        elif path.is_file():
            path.unlink()
    place.opened(zone).close()


def brought_by(database: Path, topic: str) -> str:
    """The hash of a segment that came by the production zone's stream of a topic."""
    base = sqlite3.connect(database)
    query = "SELECT sha256 FROM journal_segment WHERE stream = ?"
    (sha256,) = base.execute(query, (f"{CITY}/{Zone.PRODUCTION}/{topic}/line",)).fetchone()
    base.close()
    return str(sha256)


def make_older(database: Path) -> None:
    """Take a zone's database one revision of its journal back."""
    base = sqlite3.connect(database)
    base.execute("ALTER TABLE journal_zone DROP COLUMN epoch")
    base.execute("UPDATE alembic_version SET version_num = 'journal_0002' WHERE version_num = 'journal_0003'")
    base.commit()
    base.close()


def held_bytes(directory: Path) -> int:
    """Bytes of all files below a directory."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
