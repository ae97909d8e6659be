"""A process that is stopped for longer than any deadline, and goes on as if nothing had been."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from tests.link.parts import CITY, MINISTRY, PROVINCE, Network, dialling, listening
from tests.link.zones import TOPICS, Watched, Zones, accepted, seal, zones
from tests.servers import await_

from jinbao.appliance.admin_client import ask, is_running
from jinbao.appliance.assembly import open_zone
from jinbao.link.limits import LinkLimits
from jinbao.model.errors import LinkError, StaleEpochError
from jinbao.model.zone import Endpoint, Zone

pytestmark = pytest.mark.processes

DEADLINE_S = 1.5
LIMITS = LinkLimits(call_s=DEADLINE_S)
BATCHES = 12


@contextmanager
def process(opened: Zones, endpoint: Endpoint, log: Path) -> Iterator[psutil.Popen]:
    """A zone in a process of its own, once it answers."""
    settings = opened.settings[endpoint.node]
    config = settings.data_directory / "node.toml"
    command = [sys.executable, "-m", "jinbao.cli.main", "serve", "--config", str(config)]
    with log.open("wb") as told:
        served = psutil.Popen([*command, "--zone", endpoint.zone], stdout=told, stderr=told)
    try:
        await_(lambda: is_running(settings, endpoint.zone) or _still_runs(served, log))
        yield served
    finally:
        served.send_signal(signal.SIGCONT)
        served.terminate()
        assert served.wait(30) == 0, log.read_text(encoding="utf-8")[-2000:]


def _still_runs(served: subprocess.Popen[bytes], log: Path) -> bool:
    assert served.poll() is None, log.read_text(encoding="utf-8")[-2000:]
    return False


def sealed(opened: Zones, count: int) -> None:
    """Let the city's exchange zone, which does not run, seal so much."""
    city = open_zone(opened.settings[CITY.node], CITY.zone)
    seal(city, count)
    city.close()


@pytest.mark.fault_row(4)
def test_a_server_that_is_stopped_costs_its_caller_a_deadline(tmp_path: Path) -> None:
    """Stopped in the middle of a backlog it is left at the deadline; once it goes on the rest comes, each batch once."""
    with zones(tmp_path / "network", PROVINCE) as opened:
        sealed(opened, BATCHES)
        address = opened.network.topology.address(CITY)
        with (
            process(opened, CITY, tmp_path / "log") as served,
            dialling(opened.network, PROVINCE, CITY, address, limits=LIMITS) as client,
        ):
            first = opened[PROVINCE].inbound.step(client)
            served.suspend()
            began = time.monotonic()
            for _ in range(2):
                with pytest.raises(LinkError):
                    opened[PROVINCE].inbound.step(client)
            waited = time.monotonic() - began
            served.resume()
            await_(lambda: _stepped(opened, client) == {t: list(range(1, BATCHES + 1)) for t in TOPICS})

    assert 0 < first < BATCHES * len(TOPICS)
    assert waited < 2 * (DEADLINE_S + 3)


def _stepped(opened: Zones, client: object) -> dict[str, list[int]]:
    """What the province accepted, after one more round."""
    try:
        opened[PROVINCE].inbound.step(client)  # type: ignore[arg-type]  # a line client
    except LinkError:  # it was only just let go on
        time.sleep(0.1)
    return accepted(opened[PROVINCE])


@pytest.mark.fault_row(4)
def test_a_caller_that_is_stopped_keeps_nobody_waiting(tmp_path: Path) -> None:
    """Stopped while it follows, it costs the city's other callers nothing; once it goes on it has every batch, once."""
    with zones(tmp_path / "network", CITY) as opened:
        seal(opened[CITY], BATCHES)
        watched = Watched(opened[CITY].counter)
        address = opened.network.topology.address(CITY)
        with (
            listening(opened.network, CITY, watched, address=address, limits=LIMITS),
            process(opened, PROVINCE, tmp_path / "log") as served,
        ):
            await_(lambda: "fetch" in watched.arrived)
            served.suspend()
            seal(opened[CITY], 1)
            own = Endpoint(CITY.node, Zone.PRODUCTION)
            with dialling(opened.network, own, CITY, address, limits=LIMITS) as other:
                began = time.monotonic()
                other.headers([], 10, 0.0)
                quick = time.monotonic() - began
            time.sleep(2 * DEADLINE_S)
            served.resume()
            await_(lambda: _has(opened, BATCHES + 1))
        province = open_zone(opened.settings[PROVINCE.node], PROVINCE.zone)
        taken = accepted(province)
        province.close()

    assert quick < DEADLINE_S
    assert taken == {topic: list(range(1, BATCHES + 2)) for topic in TOPICS}


def _has(opened: Zones, count: int) -> bool:
    """Whether the running province has so many batches of each topic."""
    shown = ask(opened.settings[PROVINCE.node], PROVINCE.zone, "report.segments", {})["segments"]
    newest = {line["stream"]: line["seq"] for line in shown}
    return [newest.get(f"{CITY}/{topic}/line") for topic in TOPICS] == [count] * len(TOPICS)


def promoted(network: Network, endpoint: Endpoint) -> Network:
    """The network after another was granted a node's identity."""
    rows = tuple(replace(row, epoch=2) if row.node == endpoint.node else row for row in network.topology.rows)
    return replace(network, topology=replace(network.topology, version=2, rows=rows))


@pytest.mark.fault_row(4)
def test_a_holder_that_slept_through_a_promotion_is_taken_by_nobody(tmp_path: Path) -> None:
    """Let go on, it is refused by whom it calls and left by who calls it, for its epoch; it says so and is not ready."""
    with zones(tmp_path / "network", MINISTRY) as opened:
        sealed(opened, 2)
        after = promoted(opened.network, CITY)
        city, above = (opened.network.topology.address(e) for e in (CITY, PROVINCE))
        with process(opened, CITY, tmp_path / "log") as served:
            served.suspend()
            with listening(after, PROVINCE, address=above) as server:
                served.resume()
                await_(lambda: any(isinstance(exc, StaleEpochError) for _, exc in server.refusals))
                with (
                    dialling(after, PROVINCE, CITY, city) as client,
                    pytest.raises(StaleEpochError, match="expected epoch 2, got epoch 1"),
                ):
                    client.headers([], 10, 0.0)
                await_(lambda: "expected epoch 2, got epoch 1" in ready(opened, CITY)[1])
                status, _ = ready(opened, CITY)

        assert server.window.asked == []  # type: ignore[attr-defined]  # a window of tests
    assert status == 503


def ready(opened: Zones, endpoint: Endpoint) -> tuple[int, str]:
    """What the zone's process says of itself to a load balancer."""
    address = opened.settings[endpoint.node].zones[endpoint.zone].http
    try:
        with urllib.request.urlopen(f"http://{address}/-/ready", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, " ".join(json.loads(exc.read())["reasons"])
