"""Processes of a kept release and of this one exchange, take each other's directories over, and go back.

Where no release kept its sources yet, those of this checkout stand in, so that the way is tried today.
"""

from __future__ import annotations

import json
import re
import sqlite3
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.newer import EXPAND, folder_of, upgraded
from tests.released.sources import ARCHIVE, HERE, ROOT, environment, files_of, kept, pack, run, unpack

from jinbao import __version__
from jinbao.appliance.admin_client import is_running
from jinbao.appliance.demo import DemoNetwork
from jinbao.appliance.network import DEMO_NODES, write_settings
from jinbao.appliance.settings import LineSettings, WindowSettings
from jinbao.model.errors import JinbaoError
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust.encoding import decode_envelope, decode_header
from jinbao.wire.gen.jinbao.wire.v1 import wire_pb2 as wire

PERSONS = 5_000
WITHIN_S = 60.0

PRODUCTION, EXCHANGE = Endpoint("140100", Zone.PRODUCTION), Endpoint("140100", Zone.EXCHANGE)
MINISTRY = Endpoint("100000", Zone.EXCHANGE)
ZONES = (PRODUCTION, EXCHANGE, MINISTRY)
OURS = "checkout"

BRISK = {"JINBAO_PACE__INTERVAL_S": "0.2", "JINBAO_PACE__BACKOFF_MAX_S": "1"}
"""How soon a zone tries again whose neighbour is not up yet: the test waits for nothing else as long."""

REFUSALS = (
    "jinbao_headers_refused_total",
    "jinbao_peers_refused_total",
    "jinbao_streams_held_total",
    "jinbao_submissions_refused_total",
    "jinbao_trust_documents_refused_total",
    "jinbao_equivocations_total",
)
"""What would have been dropped, by the name under which it is told."""


@pytest.fixture(scope="module", params=kept()[-1:] or [OURS])
def old(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources of the newest kept release, laid down where they run."""
    directory = tmp_path_factory.mktemp("old")
    archive = HERE / request.param / ARCHIVE
    if request.param == OURS:
        archive = directory / ARCHIVE
        pack(ROOT, archive, preset=0)
    sources = unpack(archive, directory / "sources")
    if request.param == OURS:
        module = sources / "node" / "jinbao" / "__init__.py"
        text = module.read_text(encoding="utf-8").replace(f'"{__version__}"', f'"{__version__}.1"')
        module.write_text(text, encoding="utf-8")  # told apart from ours
    return sources


class Mixed:
    """A ministry and a city below it, three processes, each of the release it is started with."""

    def __init__(self, directory: Path, old: Path) -> None:
        city = replace(DEMO_NODES[2], parent="100000")
        self.network = DemoNetwork(directory, PERSONS, 7, lambda *_: None, (DEMO_NODES[0], city))
        self.network.make()
        self._old, self._runs = old, 0
        self._version = run(old, "import jinbao; print(jinbao.__version__)").strip()

    def limit(self, mbit_per_s: float) -> None:
        """Give the ministry's line a window, so that it follows the city in two lanes."""
        window = WindowSettings(**{"from": "00:00", "to": "24:00", "mbit_per_s": mbit_per_s})
        settings = self.network.settings["100000"]
        zone = settings.zones[Zone.EXCHANGE].model_copy(update={"line": LineSettings(windows=(window,))})
        changed = settings.model_copy(update={"zones": settings.zones | {Zone.EXCHANGE: zone}})
        self.network.settings["100000"] = changed
        write_settings(self.network.directory / "100000", changed)

    def start(self, *, old: tuple[Endpoint, ...]) -> None:
        """Start every zone, those of `old` by the kept release."""
        for zone in ZONES:
            self.network.environment[zone] = BRISK | (environment(self._old) if zone in old else {})
            self.network.processes[zone] = self.network._spawn(zone)
        self._await(lambda: all(map(self._is_up, ZONES)))
        for zone in ZONES:
            version = self._version if zone in old else __version__
            assert f'jinbao_build_info{{version="{version}"}}' in self.metrics(zone)

    def _is_up(self, zone: Endpoint) -> bool:
        assert self.network.processes[zone].poll() is None, self.said(zone)[-2000:]
        return is_running(self.network.settings[zone.node], zone.zone)

    def said(self, zone: Endpoint) -> str:
        """The log of a zone."""
        path = self.network.directory / zone.node / zone.zone / "log.jsonl"
        return path.read_text(encoding="utf-8")

    def stop(self) -> None:
        """End every process well."""
        for process in self.network.processes.values():
            process.terminate()
        assert [process.wait(30) for process in self.network.processes.values()] == [0] * len(ZONES)
        self.network.processes.clear()

    def kill(self) -> None:
        """End what is left."""
        for process in self.network.processes.values():
            process.kill()
            process.wait(30)

    def exchange(self) -> None:
        """Change the business, capture it, and wait until the ministry's receipts are back."""
        self._runs += 1
        file = self.network.directory / "140100" / "business.db"
        with closing(sqlite3.connect(file)) as business, business:
            business.execute('UPDATE "AC02" SET "AAC040" = "AAC040" + 1 WHERE rowid <= 3')
        self.network.ask(PRODUCTION, "capture.run")
        self._await(self._has_arrived)

    def _has_arrived(self) -> bool:
        try:
            shown = self.network.ask(PRODUCTION, "capture.show")
            libraries = self.network.ask(PRODUCTION, "report.progress")["libraries"].values()
        except JinbaoError:
            return False
        judged = {line["run"] for line in shown["verdicts"]}
        done = shown["run"] >= self._runs and judged == {f"run-{shown['run']:06d}"}
        return bool(libraries) and done and all(len(found["applied"]) == 2 for found in libraries)

    def _await(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WITHIN_S
        while not done():
            assert time.monotonic() < deadline, self.said(MINISTRY)[-1500:] + self.said(EXCHANGE)[-1500:]
            time.sleep(0.1)

    def digests(self, zone: Endpoint) -> dict[tuple[str, str], tuple[int, str]]:
        """Rows and root by library and table, recomputed from stored rows."""
        lines = self.network.ask(zone, "report.library")["tables"]
        return {(line["library"], line["table"]): (line["rows"], line["root"]) for line in lines}

    def sealed(self) -> dict[tuple[str, str], tuple[int, str]]:
        """Rows and digest by library and table as production sealed them last."""
        found = self.network.ask(PRODUCTION, "report.sealed", reason="a test")["tables"]
        return {(name, t["table"]): (t["rows"], t["digest"]) for name in found for t in found[name]}

    def metrics(self, zone: Endpoint) -> str:
        """The metrics page of a zone."""
        return str(self.network.ask(zone, "doctor.metrics")["text"])

    def refused(self) -> dict[str, float]:
        """What any zone refused, by zone and metric; what is 0 is left out."""
        found = {}
        for zone in ZONES:
            for line in self.metrics(zone).splitlines():
                name = re.match(r"[a-z_]+", line)
                if name and name[0] in REFUSALS and float(line.rpartition(" ")[2]):
                    found[f"{zone} {line}"] = float(line.rpartition(" ")[2])
        return found

    def require_equal(self) -> None:
        """City and ministry hold what was sealed, each row once; nothing was refused, and no journal is damaged."""
        sealed = self.sealed()
        assert sum(rows for rows, _ in sealed.values()) > PERSONS
        assert self.digests(EXCHANGE) == self.digests(MINISTRY) == sealed
        assert self.refused() == {}
        assert [self.network.ask(zone, "report.line")["damage"] for zone in ZONES] == [[], [], []]

    def require_lanes(self) -> None:
        """The ministry follows the city by two connections, one of which alone takes what a window limits."""
        page = self.metrics(MINISTRY)
        assert re.search(r'line_limit_bytes_per_second\{direction="in",peer="140100/exchange"\} [1-9]', page)
        assert 'worker="fetch 140100/exchange"' in page
        assert 'worker="follow 140100/exchange"' in page


@pytest.fixture
def mixed(tmp_path: Path, old: Path) -> Iterator[Mixed]:
    """A network that nobody started yet."""
    made = Mixed(tmp_path / "net", old)
    yield made
    made.kill()


def test_an_archive_is_the_same_whenever_it_is_made(tmp_path: Path) -> None:
    """Two archives of one checkout have the same bytes, and hold the program, the installer and its lock."""
    pack(ROOT, tmp_path / "a", preset=0)
    pack(ROOT, tmp_path / "b", preset=0)

    names = {path.relative_to(ROOT).as_posix() for path in files_of(ROOT)}
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert {
        "node/jinbao/cli/main.py",
        "scripts/install.sh",
        "requirements/runtime.txt",
        "pyproject.toml",
    } <= names
    assert not {name for name in names if name.startswith(("tests/", "docs/")) or "__pycache__" in name}


@pytest.mark.processes
@pytest.mark.fault_row(7)
def test_two_releases_exchange_take_over_and_go_back(mixed: Mixed, tmp_path: Path) -> None:
    """An older child with a newer parent, the other way round, and both gone back on an expanded schema lose no row."""
    mixed.limit(50.0)
    mixed.start(old=(PRODUCTION, EXCHANGE))
    mixed.exchange()
    mixed.require_equal()
    mixed.require_lanes()
    mixed.stop()

    mixed.start(old=(MINISTRY,))
    mixed.exchange()
    mixed.require_equal()
    mixed.require_lanes()
    mixed.stop()

    newer = folder_of(tmp_path / "newer", step="expand", body=EXPAND)
    for zone in ZONES:
        expand(mixed, zone, newer)
    mixed.start(old=ZONES)
    mixed.exchange()
    mixed.require_equal()
    mixed.stop()

    assert [added(mixed, zone) for zone in ZONES] == [(True, True)] * len(ZONES)


def database(mixed: Mixed, zone: Endpoint) -> Path:
    """The SQLite file of a zone."""
    return mixed.network.settings[zone.node].directory(zone.zone) / "zone.db"


def expand(mixed: Mixed, zone: Endpoint, folders: list[Path]) -> None:
    """Bring a stopped zone to the schema of a release to come, which wrote something into what it added."""
    engine = sa.create_engine(f"sqlite:///{database(mixed, zone)}")
    upgraded(engine, folders)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE journal_mark SET note = 'kept'")
        connection.exec_driver_sql("INSERT INTO journal_extra (n) VALUES (7)")
    engine.dispose()


def added(mixed: Mixed, zone: Endpoint) -> tuple[bool, bool]:
    """Whether marks that were moved since keep what a newer release wrote beside them, and its own table its row."""
    with closing(sqlite3.connect(database(mixed, zone))) as connection:
        notes: list[Any] = [note for (note,) in connection.execute("SELECT note FROM journal_mark")]
        rows = connection.execute("SELECT n FROM journal_extra").fetchall()
    return bool(notes) and "kept" in notes, rows == [(7,)]


READER = """
import json, sys
from base64 import b64decode
from jinbao.model.errors import JinbaoError
from jinbao.trust.encoding import decode_envelope, decode_header, decode_topology
readers = {"header": decode_header, "topology": decode_topology, "envelope": decode_envelope}
said = []
for kind, content in json.load(sys.stdin):
    try:
        readers[kind](b64decode(content))
        said.append("read")
    except JinbaoError as exc:
        said.append(exc.code)
print(json.dumps(said))
"""


@pytest.mark.fault_row(7)
def test_an_older_reader_reads_or_refuses_what_a_newer_one_wrote(old: Path) -> None:
    """A field it does not know is passed over and stays under the seal; a kind it does not know is refused by a code."""
    release = next(path.parent for path in sorted(HERE.glob("*/topology.sealed"), reverse=True))
    header = decode_envelope((release / "submission" / "1.sealed").read_bytes()).payload
    topology = decode_envelope((release / "topology.sealed").read_bytes()).payload
    unknown_field = b"\xfa\x3e\x03new"  # field 1007, three bytes
    other_kind = wire.Header.FromString(header)
    other_kind.kind = "shrink"
    assert decode_header(header + unknown_field) == decode_header(header)
    lines = [
        ("header", header),
        ("header", header + unknown_field),
        ("topology", topology + unknown_field),
        ("envelope", (release / "topology.sealed").read_bytes() + unknown_field),
        ("header", other_kind.SerializeToString()),
    ]

    told = json.loads(run(old, READER, json.dumps([(k, b64encode(c).decode()) for k, c in lines]).encode()))

    assert told == ["read", "read", "read", "read", "unprovable"]
