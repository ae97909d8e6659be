"""The lock of a zone: real processes that want one directory at the same time."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.link.zones import SETTINGS, serving

from jinbao.appliance import admin_client
from jinbao.appliance.admin_client import ask
from jinbao.appliance.assembly import open_zone
from jinbao.appliance.network import DEMO_NODES, make_network
from jinbao.appliance.settings import Settings
from jinbao.appliance.zone_lock import FILE, LockedError, Purpose, lock
from jinbao.model.errors import LinkError
from jinbao.model.zone import Zone

HOLD = """
import sys, time
from pathlib import Path
from jinbao.appliance.zone_lock import Purpose, lock
lock(Path(sys.argv[1]), Purpose(sys.argv[2]))
print("held", flush=True)
sys.stdin.readline()
"""


@contextmanager
def held(directory: Path, purpose: Purpose) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until it is told a line, or killed."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory), purpose],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        try:
            assert holder.stdout.readline() == "held\n"
            yield holder
        finally:
            holder.kill()


def let_go(holder: subprocess.Popen[str]) -> None:
    """Tell the other process to end."""
    assert holder.stdin is not None
    holder.stdin.write("\n")
    holder.stdin.flush()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A zone's directory that is not there yet."""
    return tmp_path / "exchange"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A ministry that was never started."""
    return make_network(tmp_path / "network", DEMO_NODES[:1], overrides=SETTINGS)[1]["100000"]


def test_two_servers_refuse_each_other(directory: Path) -> None:
    """A server that finds another one does not wait for it, and names its process."""
    with held(directory, Purpose.SERVE) as holder:
        began = time.monotonic()

        with pytest.raises(LockedError, match=f"expected no other process, got process {holder.pid} serve"):
            lock(directory, Purpose.SERVE, 30.0)

    assert time.monotonic() - began < 5


@pytest.mark.processes
def test_a_second_serve_of_a_zone_ends_and_names_the_first(settings: Settings) -> None:
    """`jinbao serve` of a zone that runs ends with an error that names the running process."""
    config = settings.data_directory / "node.toml"
    command = [sys.executable, "-m", "jinbao.cli.main", "--lang", "en", "serve", "--config", str(config)]
    first = open_zone(settings, Zone.EXCHANGE)
    try:
        second = subprocess.run(
            [*command, "--zone", "exchange"], capture_output=True, text=True, timeout=60, check=False
        )
    finally:
        first.close()

    assert second.returncode == 1
    assert f"{os.getpid()} serve" in second.stderr


def test_a_server_waits_for_a_question(directory: Path) -> None:
    """A server starts as soon as a question that is being answered is done."""
    with held(directory, Purpose.QUESTION) as holder:
        done = threading.Timer(1.5, let_go, [holder])  # longer than a server would wait for a server
        done.start()
        began = time.monotonic()
        unlock = lock(directory, Purpose.SERVE, 20.0)
        waited_s = time.monotonic() - began
        unlock()
        done.join()

    assert 1.2 < waited_s < 10


def test_a_server_waits_for_a_question_no_longer_than_it_may(directory: Path) -> None:
    """A question that takes longer than the limit keeps the server from starting, and is named."""
    with held(directory, Purpose.QUESTION) as holder:
        began = time.monotonic()

        with pytest.raises(LockedError, match=f"got process {holder.pid} question"):
            lock(directory, Purpose.SERVE, 0.3)

    assert 0.3 <= time.monotonic() - began < 5


def test_a_question_is_answered_once_a_starting_zone_listens(settings: Settings) -> None:
    """A question asked while the zone opens its database waits, and the running zone answers it."""
    found: list[dict[str, Any]] = []
    zone = open_zone(settings, Zone.EXCHANGE)
    asking = threading.Thread(target=lambda: found.append(ask(settings, Zone.EXCHANGE, "status")))
    asking.start()
    time.sleep(1.2)  # the question has met the lock by now, and tries again
    assert asking.is_alive()

    with serving(zone):
        asking.join(10)

    assert [(answer["zone"], answer["running"]) for answer in found] == [("100000/exchange", True)]


def test_a_question_gives_up_on_a_zone_that_never_listens(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A zone that is open and never listens costs a question its limit, and is named by its process."""
    monkeypatch.setattr(admin_client, "STARTING_S", 0.5)
    zone = open_zone(settings, Zone.EXCHANGE)
    try:
        with pytest.raises(LinkError, match=f"process {os.getpid()} serve has it open, and is not listening"):
            ask(settings, Zone.EXCHANGE, "status")
    finally:
        zone.close()


@pytest.mark.parametrize("purpose", list(Purpose), ids=[str(purpose) for purpose in Purpose])
def test_the_lock_of_a_dead_process_is_no_obstacle(directory: Path, purpose: Purpose) -> None:
    """A process killed while it held the lock leaves its name and no lock."""
    with held(directory, purpose) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)
    assert (directory / FILE).read_text("ascii") == f"{holder.pid} {purpose}\n"

    unlock = lock(directory, Purpose.SERVE)

    assert (directory / FILE).read_text("ascii") == f"{os.getpid()} serve\n"
    unlock()


def test_a_lock_that_was_let_go_is_free(directory: Path) -> None:
    """Whoever let go of the lock may be followed by another at once, in the same process too."""
    for purpose in (Purpose.SERVE, Purpose.QUESTION, Purpose.SERVE):
        unlock = lock(directory, purpose)
        with pytest.raises(LockedError):
            lock(directory, Purpose.QUESTION)
        unlock()

    modes = [stat.S_IMODE(path.stat().st_mode) for path in (directory, directory / FILE)]
    assert modes == [0o700, 0o600]
