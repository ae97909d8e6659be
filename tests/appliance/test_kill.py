"""Real processes are killed at every failpoint they pass, and the network ends where it would have ended."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import jinbao.appliance.serve  # noqa: F401  # declares every failpoint of a zone
from jinbao.appliance.demo import DemoNetwork
from jinbao.appliance.network import DEMO_NODES
from jinbao.model.errors import JinbaoError
from jinbao.model.failpoint import ENVIRONMENT, FAILPOINTS
from jinbao.model.zone import Endpoint, Zone

PERSONS = 5_000
WITHIN_S = 90.0

PRODUCTION, EXCHANGE = Endpoint("140100", Zone.PRODUCTION), Endpoint("140100", Zone.EXCHANGE)
DECISION, MINISTRY = Endpoint("140100", Zone.DECISION), Endpoint("100000", Zone.EXCHANGE)

ROUNDS: list[dict[Endpoint, str]] = [
    {
        PRODUCTION: "outbound.before_capture",
        EXCHANGE: "inbound.after_fetch",
        MINISTRY: "files.before_sync",
        DECISION: "onward.before_package",
    },
    {
        PRODUCTION: "outbound.after_capture",
        EXCHANGE: "inbound.after_accept",
        MINISTRY: "files.after_sync",
        DECISION: "onward.after_package",
    },
    {
        PRODUCTION: "outbound.after_write",
        EXCHANGE: "segments.after_fetch",
        MINISTRY: "files.after_rename",
        DECISION: "carrier.before_publish",
    },
    {
        PRODUCTION: "outbound.after_seal",
        EXCHANGE: "apply.before_record",
        MINISTRY: "files.after_directory_sync",
        DECISION: "carrier.after_publish",
    },
    {
        PRODUCTION: "segments.after_write",
        EXCHANGE: "apply.after_record",
        MINISTRY: "store.before_commit",
        DECISION: "carrier.after_marks",
    },
    {
        PRODUCTION: "receipts.before_keep",
        EXCHANGE: "apply.before_attest",
        MINISTRY: "store.after_commit",
        DECISION: "files.before_remove",
    },
    {
        PRODUCTION: "receipts.after_keep",
        EXCHANGE: "apply.after_attest",
        MINISTRY: "ledger.before_record",
        DECISION: "files.after_remove",
    },
    {
        PRODUCTION: "store.before_commit",
        EXCHANGE: "receipts.before_seal",
        MINISTRY: "ledger.after_record",
        DECISION: "carrier.before_clear",
    },
    {
        PRODUCTION: "store.after_commit:3",
        EXCHANGE: "receipts.after_seal",
        MINISTRY: "apply.after_record",
        DECISION: "carrier.after_clear",
    },
]
"""Each round arms one failpoint per zone."""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoNetwork]:
    """Ministry and one city under it, as a municipality is."""
    directory = tmp_path_factory.mktemp("kill")
    nodes = (DEMO_NODES[0], replace(DEMO_NODES[2], parent="100000"))
    made = DemoNetwork(directory, PERSONS, 7, lambda _message, _values: None, nodes)
    made.make()
    made.start()
    settle(made)
    yield made
    made.stop()


def settle(network: DemoNetwork) -> None:
    """Wait until city and ministry applied what the city sealed last; restart what was killed."""
    deadline = time.monotonic() + WITHIN_S
    while not is_settled(network):
        assert time.monotonic() < deadline, "the network did not come to rest"
        time.sleep(0.2)


def is_settled(network: DemoNetwork) -> bool:
    """Whether every library of the newest run is applied at both tiers."""
    revive(network)
    try:
        answer = network.ask(PRODUCTION, "report.progress")
        shown = network.ask(PRODUCTION, "capture.show")
    except JinbaoError:  # the zone may be dying right now: ask again
        return False
    judged = {line["run"] for line in shown["verdicts"]}
    whole = all(len(found["applied"]) == 2 for found in answer["libraries"].values())
    return whole and judged == {f"run-{shown['run']:06d}"}


def revive(network: DemoNetwork) -> None:
    """Start killed zones again, without their failpoint."""
    for endpoint, process in list(network.processes.items()):
        if process.poll() is not None:
            network.environment.pop(endpoint, None)
            network.processes[endpoint] = network._spawn(endpoint)


def change_business(network: DemoNetwork, number: int) -> None:
    """Change one person's wage and one name in the city's business database."""
    path = network.directory / "140100" / "business.db"
    with sqlite3.connect(path) as database:
        database.execute(
            'UPDATE "AC02" SET "AAC040" = 4000 + ? WHERE "AAC001" = ?', (number, "1401P000000900")
        )
        database.execute('UPDATE "JC01" SET "AJC093" = ? WHERE rowid = 5', (str(1 + number % 2 * 3),))
    database.close()


def test_every_failpoint_of_a_zone_is_in_a_round() -> None:
    """A failpoint that no round arms is a durable act at which no process was ever killed."""
    armed = {name.partition(":")[0] for chosen in ROUNDS for name in chosen.values()}

    assert set(FAILPOINTS) - armed == set()


@pytest.mark.processes
@pytest.mark.fault_row(2)
@pytest.mark.fault_row(3)
@pytest.mark.parametrize("number", range(len(ROUNDS)), ids=[" and ".join(r.values()) for r in ROUNDS])
def test_a_killed_zone_goes_on_where_it_was(network: DemoNetwork, number: int) -> None:
    """A zone killed by SIGKILL at a failpoint starts again, and both tiers end with equal digests."""
    chosen = ROUNDS[number]
    for endpoint, failpoint in chosen.items():
        network.environment[endpoint] = {ENVIRONMENT: failpoint}
        network.processes[endpoint].kill()
        network.processes[endpoint].wait(30)
        leave_unfinished(network, endpoint)
        network.processes[endpoint] = network._spawn(endpoint)
    victims = {endpoint: network.processes[endpoint] for endpoint in chosen}
    change_business(network, number)
    ask_for_capture(network)

    killed = await_killed(network, victims)
    settle(network)

    assert killed == dict.fromkeys(chosen, -signal.SIGKILL)
    assert digests(network, Endpoint("140100", Zone.EXCHANGE)) == digests(network, MINISTRY)


def leave_unfinished(network: DemoNetwork, endpoint: Endpoint) -> None:
    """What a process killed while it wrote a segment leaves; the next start removes it."""
    directory = network.settings[endpoint.node].directory(endpoint.zone) / "segments" / "incoming"
    (directory / "write-1-1.tmp").write_bytes(b"PAR1")


def ask_for_capture(network: DemoNetwork) -> None:
    """Ask until the production zone said yes; it may die of the asking."""
    deadline = time.monotonic() + WITHIN_S
    while True:
        revive(network)
        try:
            network.ask(PRODUCTION, "capture.run")
        except JinbaoError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        else:
            return


def await_killed(network: DemoNetwork, victims: dict[Endpoint, Any]) -> dict[Endpoint, int]:
    """Exit codes of the victims once all of them died; those that died are started again meanwhile."""
    deadline = time.monotonic() + WITHIN_S
    while any(process.poll() is None for process in victims.values()):
        revive(network)
        alive = [str(e) for e, p in victims.items() if p.poll() is None]
        assert time.monotonic() < deadline, f"not reached: {alive}"
        time.sleep(0.2)
    return {endpoint: process.returncode for endpoint, process in victims.items()}


def digests(network: DemoNetwork, endpoint: Endpoint) -> dict[tuple[str, str], tuple[int, str]]:
    """Rows and root by library and table, recomputed from stored rows."""
    lines = network.ask(endpoint, "report.library")["tables"]
    return {(line["library"], line["table"]): (line["rows"], line["root"]) for line in lines}


def test_nothing_is_left_behind(network: DemoNetwork, tmp_path: Path) -> None:
    """After all kills every journal verifies and no zone holds a stream."""
    del tmp_path

    damage = [network.ask(endpoint, "report.line")["damage"] for endpoint in network.endpoints()]

    assert all(found == [] for found in damage)
