"""What a service manager is told by a real zone process over a notify socket, and when it is told nothing more."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from tests.link.zones import SETTINGS

from jinbao.appliance import telling
from jinbao.appliance.network import DEMO_NODES, make_network
from jinbao.appliance.notify import ServiceManager
from jinbao.appliance.settings import Settings
from jinbao.flow.pace import Pace, PaceLimits, Worker
from jinbao.model.errors import LinkError
from jinbao.model.zone import Zone

PR_SET_MDWE = 65
"""prctl(2): no memory that is written and run, for this program and all it starts: MemoryDenyWriteExecute=."""

HARDEN = f"""
import ctypes, os, sys
if ctypes.CDLL(None).prctl({PR_SET_MDWE}, 1, 0, 0, 0):
    sys.exit(99)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""

EXAMINE = """
import sys
from pathlib import Path
import polars
from jinbao.journal.decoding import InspectLimits
from jinbao.journal.inspector import DecoderProcess
from jinbao.trust.parquet import ParquetLimits, Shape
decoder = DecoderProcess(InspectLimits(ParquetLimits()), lambda *_: None)
print(decoder.examine(Path(sys.argv[1]), Shape(1, {"A": True}), "a" * 64))
decoder.close()
"""

SERVE = """
import sys
from jinbao.appliance import telling
telling.READY_WITHIN_S = float(sys.argv.pop(1))
from jinbao.cli.main import main
main()
"""

NEVER_S = 1e9
WATCHDOG_S = 1.2
WITHIN_S = 60.0
MINISTRY = DEMO_NODES[0]


@dataclass
class Manager:
    """A notify socket as a service manager has one, and what came over it, by time."""

    listener: socket.socket
    heard: list[tuple[float, str]] = field(default_factory=list)

    def await_(self, is_meant: Callable[[str], bool], within_s: float = WITHIN_S) -> str:
        """The first line from now on of which that is true."""
        until = time.monotonic() + within_s
        while (left := until - time.monotonic()) > 0:
            found = [line for line in self.hear(left) if is_meant(line)]
            if found:
                return found[0]
        raise AssertionError(f"not told within {within_s} s; heard {[line for _, line in self.heard][-20:]}")

    def hear(self, wait_s: float) -> list[str]:
        """Lines of the next message; none if none comes in time."""
        self.listener.settimeout(max(wait_s, 0.01))
        with suppress(TimeoutError):
            lines = self.listener.recv(1 << 16).decode().split("\n")
            self.heard += [(time.monotonic(), line) for line in lines]
            return lines
        return []

    def signs(self, for_s: float) -> int:
        """How many signs of life come in so many seconds."""
        until, count = time.monotonic() + for_s, 0
        while (left := until - time.monotonic()) > 0:
            count += self.hear(left).count("WATCHDOG=1")
        return count


class Failing:
    """A zone as it is told of, whose one worker fails; it says so in other words at each look."""

    def __init__(self) -> None:
        pace = Pace(PaceLimits(backoff_s=0.01, backoff_max_s=0.02), random.Random(1))
        self.worker = Worker("capture", self._fail, pace=pace, observer=self, on_bug=pytest.fail)
        self.workers = {"capture": self.worker}

    def _fail(self) -> bool:
        raise LinkError("source city", expected="an answer", got="none")

    def event(self, name: str, **values: Any) -> None:
        """Nothing but its failures can be told."""
        assert name == "step_failed", values

    def readiness(self) -> list[str]:
        """Why the worker fails, and how often it did."""
        return [f"capture: {self.worker.last_error} ({self.worker.rounds})"]

    def unable(self) -> list[str]:
        """Nothing: it can be asked."""
        return []

    def reload(self) -> None:
        """Take up nothing."""


@contextmanager
def managed(
    settings: Settings,
    address: str,
    log: Path,
    environment: Mapping[str, str] | None = None,
    ready_within_s: float = NEVER_S,
) -> Iterator[tuple[Manager, subprocess.Popen[bytes]]]:
    """An exchange zone started as a service manager would, which listens at `address`.

    Where something of its own is amiss it is told ready after so long.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind("\0" + address[1:] if address.startswith("@") else address)
    config = settings.data_directory / "node.toml"
    serve = ["-c", SERVE, str(ready_within_s), "serve", "--config", str(config), "--zone", "exchange"]
    told = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6))}
    with listener, log.open("wb") as written:
        served = subprocess.Popen(
            [sys.executable, *serve],
            env=os.environ | told | dict(environment or {}),
            stdout=written,
            stderr=written,
        )
        try:
            yield Manager(listener), served
        finally:
            served.kill()
            served.wait(30)


def ministry(directory: Path) -> Settings:
    """A ministry that is alone."""
    return make_network(directory, [MINISTRY], overrides=SETTINGS)[1][MINISTRY.node]


@pytest.mark.processes
@pytest.mark.parametrize("kind", ["in the file system", "abstract"])
def test_a_zone_says_when_it_is_ready_alive_reloading_and_stopping(tmp_path: Path, kind: str) -> None:
    """READY comes once `/-/ready` says so, signs of life keep coming, SIGHUP is a reload, SIGTERM says STOPPING first."""
    settings = ministry(tmp_path / "network")
    address = str(tmp_path / "notify") if kind == "in the file system" else f"@jinbao-test-{os.getpid()}"

    with managed(settings, address, tmp_path / "log") as (manager, served):
        manager.await_("READY=1".__eq__)
        assert manager.heard[-1][1] == "STATUS=ready 就绪"
        assert manager.signs(2 * WATCHDOG_S) >= 4
        served.send_signal(signal.SIGHUP)
        manager.await_("RELOADING=1".__eq__)
        manager.await_("READY=1".__eq__)
        served.send_signal(signal.SIGTERM)
        manager.await_("STOPPING=1".__eq__)
        assert served.wait(30) == 0
    opening = next(line for _, line in manager.heard if line.startswith("STATUS="))
    assert opening.startswith("STATUS=opening"), "what takes long before READY has a line of its own"


def test_a_decoder_starts_without_memory_that_is_written_and_run(tmp_path: Path) -> None:
    """Forbidden what the units forbid, a zone's process still loads what it needs and has segments examined."""
    (tmp_path / "none.parquet").write_bytes(b"no segment")

    ran = subprocess.run(
        [sys.executable, "-c", HARDEN, "-c", EXAMINE, str(tmp_path / "none.parquet")],
        env=os.environ | {"POLARS_SKIP_CPU_CHECK": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    if ran.returncode == 99:
        pytest.skip("this kernel has no PR_SET_MDWE (6.3 has)")
    assert ran.returncode == 0, ran.stderr[-1500:]
    assert ran.stdout.startswith("segment")


@pytest.mark.processes
def test_a_worker_that_hangs_ends_the_signs_of_life(tmp_path: Path) -> None:
    """One worker stuck in a file nobody reads: the others go on, the line names it, and no sign of life is given."""
    settings = ministry(tmp_path / "network")
    outbox = settings.carrier_directory(Zone.EXCHANGE, Zone.DECISION)
    outbox.mkdir(parents=True)
    os.mkfifo(outbox / "tmp-marks")

    with managed(settings, str(tmp_path / "notify"), tmp_path / "log", {"JINBAO_PACE__ROUND_S_MAX": "2"}) as (
        manager,
        served,
    ):
        manager.await_(lambda line: line.startswith("STATUS=hung"))
        assert manager.heard[-1][1] == f"STATUS=hung 停滞: carry {MINISTRY.node}/decision"
        assert "WATCHDOG=1" in [line for _, line in manager.heard]
        assert manager.signs(3 * WATCHDOG_S) == 0
        assert served.poll() is None

        served.send_signal(signal.SIGABRT)
        served.wait(30)
    assert "write_marks" in (tmp_path / "log").read_text(encoding="utf-8"), "the log shows where it hung"


@pytest.mark.processes
def test_a_neighbour_that_is_down_does_not_keep_a_zone_from_being_started(tmp_path: Path) -> None:
    """A zone whose child is away is told ready as soon as its own work is, and its line says who is away."""
    nodes = [MINISTRY, DEMO_NODES[1]]
    settings = make_network(tmp_path / "network", nodes, overrides=SETTINGS)[1][MINISTRY.node]

    with managed(settings, str(tmp_path / "notify"), tmp_path / "log") as (manager, _):
        manager.await_("READY=1".__eq__)
        away = [line for _, line in manager.heard if "follow 140000/exchange" in line]
        assert away or manager.await_(lambda line: "follow 140000/exchange" in line)


def test_a_zone_with_trouble_of_its_own_is_given_time_and_then_told_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a worker of its own fails a zone is told ready only after its time, for by then it can at least be asked."""
    monkeypatch.setattr(telling, "READY_WITHIN_S", NEVER_S)
    monkeypatch.setattr(telling, "LOOK_S", 0.02)
    zone = Failing()
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listener:
        listener.bind(str(tmp_path / "notify"))
        manager = Manager(listener)
        teller = telling.Teller(ServiceManager(str(tmp_path / "notify")), zone, round_s_max=60)
        zone.worker.start()
        teller.start()
        for _ in range(3):
            manager.await_(lambda line: line.startswith("STATUS=not ready") and zone.worker.rounds > 1)
        assert "READY=1" not in [line for _, line in manager.heard]
        monkeypatch.setattr(telling, "READY_WITHIN_S", 0.0)
        manager.await_("READY=1".__eq__)
        teller.stop()
        zone.worker.stop(WITHIN_S)


def test_no_child_speaks_for_the_zone_and_no_other_process_is_watched() -> None:
    """What the manager said is taken out of the environment; a watchdog meant for another process is none."""
    environment = {
        "NOTIFY_SOCKET": "/run/x",
        "WATCHDOG_USEC": "3000000",
        "WATCHDOG_PID": str(os.getpid()),
        "A": "b",
    }
    mine = ServiceManager.of(dict(environment))
    other = ServiceManager.of(environment | {"WATCHDOG_PID": "1"})
    ServiceManager.of(environment)

    assert (mine.address, mine.watchdog_s, other.watchdog_s) == ("/run/x", 3.0, 0.0)
    assert environment == {"A": "b"}


def test_a_manager_that_is_gone_is_no_trouble_of_the_zone(tmp_path: Path) -> None:
    """A message nobody takes is lost, and so is one where no manager ever was."""
    replace(ServiceManager(), address=str(tmp_path / "gone")).tell("READY=1")
    ServiceManager().tell("READY=1")
