"""Real processes are killed at every failpoint they pass, and the network ends where it would have ended."""

from __future__ import annotations

import signal
import sqlite3
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import psutil
import pytest
from tests.sim.world import steps_failpoints

import jinbao.appliance.serve  # noqa: F401  # declares every failpoint of a zone
from jinbao.appliance.admin_client import is_running
from jinbao.appliance.demo import DemoNetwork
from jinbao.appliance.network import BACKUP, DEMO_NODES
from jinbao.authority.identity_files import load_identity
from jinbao.model.errors import JinbaoError
from jinbao.model.failpoint import ENVIRONMENT
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust.documents import seal_topology
from jinbao.trust.encoding import decode_envelope, decode_topology, envelope_message

PERSONS = 5_000
WITHIN_S = 90.0

PRODUCTION, EXCHANGE = Endpoint("140100", Zone.PRODUCTION), Endpoint("140100", Zone.EXCHANGE)
DECISION, MINISTRY = Endpoint("140100", Zone.DECISION), Endpoint("100000", Zone.EXCHANGE)
BACKUP_SITE = Endpoint(BACKUP.node, Zone.EXCHANGE)

QUEUES: dict[Endpoint, list[str]] = {
    PRODUCTION: [
        "outbound.before_capture",
        "outbound.after_capture",
        "outbound.after_write",
        "outbound.after_seal",
        "segments.after_write",
        "receipts.before_keep",
        "receipts.after_keep",
        "deadlines.before_missing",
        "deadlines.after_missing",
        "store.before_commit",
        "store.after_commit:3",
        "following.before_seal",
        "following.after_seal",
    ],
    BACKUP_SITE: [
        "standby.before_cut",
        "standby.after_cut",
    ],
    EXCHANGE: [
        "segments.after_fetch",
        "inbound.after_fetch",
        "inbound.after_accept",
        "apply.before_record",
        "apply.after_record",
        "apply.before_attest",
        "apply.after_attest",
        "receipts.before_seal",
        "receipts.after_seal",
    ],
    MINISTRY: [
        "trusting.before_seal",
        "trusting.after_seal",
        "deadlines.before_overdue",
        "deadlines.after_overdue",
        "files.before_sync",
        "files.after_sync",
        "files.after_rename",
        "files.after_directory_sync",
        "store.before_commit",
        "store.after_commit",
        "ledger.before_record",
        "ledger.after_record",
    ],
    DECISION: [
        "trusting.before_learn",
        "trusting.after_learn",
        "onward.before_package",
        "onward.after_package",
        "carrier.before_publish",
        "carrier.after_publish",
        "carrier.before_clear",
        "carrier.after_clear",
        "carrier.after_marks",
        "files.before_remove",
        "files.after_remove",
    ],
}
"""Where each zone is killed, one failpoint after the other."""

IMPATIENT = {"JINBAO_EVIDENCE__ACCEPT_WITHIN_S": "0.01", "JINBAO_EVIDENCE__APPLY_WITHIN_S": "0.01"}
"""Every submission is late for a zone that is armed, so that its deadlines are failpoints like others."""

BRISK = {
    "JINBAO_PACE__INTERVAL_S": "0.2",
    "JINBAO_PACE__BACKOFF_MAX_S": "1",
    "JINBAO_LIMITS__APPLY_ENDS_MAX": "100",
}
"""How soon a zone tries again where a neighbour was killed: the campaign waits for nothing else as long. And no batch is
poison here, however often its zone is killed while it applies it."""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoNetwork]:
    """Ministry and one city under it, as a municipality is, and a backup site."""
    directory = tmp_path_factory.mktemp("kill")
    city = replace(DEMO_NODES[2], parent="100000")
    nodes = (DEMO_NODES[0], city, replace(BACKUP, protects=(city.node,)))
    made = DemoNetwork(directory, PERSONS, 7, lambda _message, _values: None, nodes)
    made.make()
    made.start()
    yield made
    made.stop()


def test_every_failpoint_of_a_zone_is_struck() -> None:
    """A failpoint in no queue is a durable act at which no process was ever killed."""
    armed = {name.partition(":")[0] for names in QUEUES.values() for name in names}

    assert set(steps_failpoints()) - armed == set()


@pytest.mark.processes
def test_a_decision_zone_opens_no_socket_to_exchange(network: DemoNetwork) -> None:
    """A decision process listens on its web port alone; nothing of it is connected to anybody."""
    process = network.processes[DECISION]

    found = [(c.status, c.raddr) for c in psutil.Process(process.pid).net_connections("inet")]

    assert found == [(psutil.CONN_LISTEN, ())]


@pytest.mark.processes
@pytest.mark.fault_row(1)
@pytest.mark.fault_row(2)
@pytest.mark.fault_row(3)
def test_zones_killed_at_every_failpoint_go_on_where_they_were(network: DemoNetwork) -> None:
    """Four zones killed by SIGKILL again and again lose no row: both tiers end with what was sealed last."""
    campaign = Campaign(network)
    campaign.run()
    campaign.settle()

    assert campaign.exits == {zone: [-signal.SIGKILL] * len(names) for zone, names in QUEUES.items()}
    city, ministry = (digests(network, Endpoint(node, Zone.EXCHANGE)) for node in ("140100", "100000"))
    sealed = network.ask(PRODUCTION, "report.sealed", reason="a test")["tables"]
    assert city == ministry
    assert city == {(name, t["table"]): (t["rows"], t["digest"]) for name in sealed for t in sealed[name]}
    damage = [network.ask(endpoint, "report.line")["damage"] for endpoint in network.endpoints()]
    assert all(found == [] for found in damage)


class Campaign:
    """Changes, captures and kills until every queue is empty; a killed zone starts armed for the next."""

    def __init__(self, network: DemoNetwork) -> None:
        self._network = network
        self._queues = {zone: list(names) for zone, names in QUEUES.items()}
        self._armed: dict[Endpoint, str] = {}
        self._changes = 0
        self._deadline = time.monotonic() + WITHIN_S
        self.exits: dict[Endpoint, list[int]] = {zone: [] for zone in QUEUES}

    def run(self) -> None:
        """Until every failpoint was struck."""
        for zone in QUEUES:
            self._network.processes[zone].kill()
            self._network.processes[zone].wait(30)
            self._start(zone)
        while self._armed:
            self._change()
            self.settle()
            assert time.monotonic() < self._deadline, f"not reached: {self._armed}"

    def settle(self) -> None:
        """Wait until city and ministry applied what the city sealed last."""
        while not self._is_settled():
            assert time.monotonic() < self._deadline, f"no rest; not reached: {self._armed}"
            time.sleep(0.1)

    def _start(self, zone: Endpoint) -> None:
        """Start a zone that ended, armed with the next failpoint of its queue."""
        queue = self._queues[zone]
        self._armed.pop(zone, None)
        self._network.environment[zone] = BRISK
        if queue:
            self._armed[zone] = queue.pop(0)
            self._network.environment[zone] = {ENVIRONMENT: self._armed[zone]} | IMPATIENT | BRISK
            leave_unfinished(self._network, zone)
        self._network.processes[zone] = self._network._spawn(zone)

    def _revive(self) -> None:
        for zone in QUEUES:
            exit_code = self._network.processes[zone].poll()
            if exit_code is not None:
                self.exits[zone].append(exit_code)
                self._deadline = time.monotonic() + WITHIN_S
                self._start(zone)

    def _change(self) -> None:
        """Change the business, then ask for a capture until the production zone said yes; it may die of it."""
        self._changes += 1
        change_business(self._network, self._changes)
        self._announce()
        while self._ask("capture.run") is None:
            assert time.monotonic() < self._deadline, "nobody took the request for a capture"

    def _announce(self) -> None:
        """Import a newer topology at the ministry, if it is there to take it; it may die of it."""
        self._revive()
        settings = self._network.settings[MINISTRY.node]
        if not is_running(settings, MINISTRY.zone):
            return
        identity = load_identity(settings.directory(MINISTRY.zone) / "identity")
        before = decode_topology(decode_envelope(settings.topology_file.read_bytes()).payload)
        sealed = seal_topology(replace(before, version=before.version + self._changes), identity)
        content = b64encode(envelope_message(sealed).SerializeToString()).decode("ascii")
        with suppress(JinbaoError):
            self._network.ask(MINISTRY, "trust.import", name="topology", content=content, reason="a test")

    def _is_settled(self) -> bool:
        """Whether every library of the newest run is applied at both tiers."""
        shown = self._ask("capture.show")
        answer = self._ask("report.progress")
        if shown is None or answer is None:
            return False
        judged = {line["run"] for line in shown["verdicts"]}
        whole = all(len(found["applied"]) == 2 for found in answer["libraries"].values())
        done = shown["run"] >= shown["asked_run"] and judged == {f"run-{shown['run']:06d}"}
        return whole and done

    def _ask(self, question: str) -> dict[str, Any] | None:
        """The production zone's answer, or none while it is dead or starting."""
        self._revive()
        if not is_running(self._network.settings[PRODUCTION.node], PRODUCTION.zone):
            time.sleep(0.1)
            return None
        try:
            return self._network.ask(PRODUCTION, question)
        except JinbaoError:
            return None


def change_business(network: DemoNetwork, number: int) -> None:
    """Change one person's wage and one name in the city's business database."""
    path = network.directory / "140100" / "business.db"
    with sqlite3.connect(path) as database:
        database.execute(
            'UPDATE "AC02" SET "AAC040" = 4000 + ? WHERE "AAC001" = ?', (number, "1401P000000900")
        )
        database.execute('UPDATE "JC01" SET "AJC093" = ? WHERE rowid = 5', (str(1 + number % 2 * 3),))
    database.close()


def leave_unfinished(network: DemoNetwork, endpoint: Endpoint) -> None:
    """What a process killed while it wrote a segment leaves; the next start removes it."""
    directory = network.settings[endpoint.node].directory(endpoint.zone) / "segments" / "incoming"
    (directory / "write-1-1.tmp").write_bytes(b"PAR1")


def digests(network: DemoNetwork, endpoint: Endpoint) -> dict[tuple[str, str], tuple[int, str]]:
    """Rows and root by library and table, recomputed from stored rows."""
    lines = network.ask(endpoint, "report.library")["tables"]
    return {(line["library"], line["table"]): (line["rows"], line["root"]) for line in lines}
