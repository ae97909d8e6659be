"""The processes of a demonstration: real zones on this machine, started, asked, restarted and ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from jinbao.appliance.admin_client import ask, is_running
from jinbao.appliance.demo.databases import Databases, SqliteDatabases, with_all_rights
from jinbao.appliance.drill_process import RED, drill_command
from jinbao.appliance.network import BACKUP, DEMO_NODES, PlannedNode, make_network
from jinbao.appliance.settings import Settings, load
from jinbao.model.errors import JinbaoError, LocalError
from jinbao.model.zone import Endpoint, Tier, Zone
from jinbao.sample.generate import generate

PERIOD = 202410
_READY_S, _RUN_S, _STOP_S, _SETTLE_S, _POLL_S = 120.0, 900.0, 30.0, 30.0, 0.2
STATE = "demo.json"

Talk = Callable[[str, dict[str, Any]], None]
"""Told each step: a message id and its values; the CLI words it."""


@dataclass
class DemoNetwork:
    """The processes of one demonstration in one directory."""

    directory: Path
    persons: int
    seed: int
    talk: Talk
    nodes: tuple[PlannedNode, ...] = (*DEMO_NODES, BACKUP)
    environment: dict[Endpoint, dict[str, str]] = field(default_factory=dict)
    settings: dict[str, Settings] = field(default_factory=dict)
    planted: dict[str, set[tuple[str, str, str, str, str]]] = field(default_factory=dict)
    processes: dict[Endpoint, subprocess.Popen[bytes]] = field(default_factory=dict)
    databases: Databases | None = None

    def make(self) -> None:
        """Write sample cities, identities, topology and settings; start what their databases need."""
        self.databases = self.databases or SqliteDatabases(self.directory)
        self.databases.start(sum(len(node.zones) for node in self.nodes))
        nodes = [self._plan(node, self.seed + at, self.databases) for at, node in enumerate(self.nodes)]
        overrides = {
            "period": str(PERIOD),
            "pace": {"capture_cron": "", "interval_s": 0.5, "backoff_max_s": 5.0},
            # whoever watches wants to see an alert while they look: docs/how-to/watch-with-prometheus.md
            "watch": {"silent_s": 20.0, "waiting_s": 30.0, "unapplied_s": 30.0, "rpo_s": 10.0},
        }
        _, self.settings = make_network(self.directory, nodes, overrides=overrides)
        self._write_state()

    def _plan(self, node: PlannedNode, seed: int, databases: Databases) -> PlannedNode:
        """A node with its databases; a city with its business."""
        urls = {zone: databases.zone(Endpoint(node.node, zone)) for zone in node.zones}
        planned = replace(node, databases=urls)
        if node.tier is not Tier.CITY:
            return planned
        self.talk("sample", {"node": node.node, "persons": self.persons})
        url = databases.business(node.node)
        ledger = generate([url], region=node.node, persons=self.persons, seed=seed, period=PERIOD)
        self.planted[node.node] = {(p.library, p.table, p.key, p.item, p.rule) for p in ledger.planted}
        return replace(planned, sources=({"name": "city", "url": databases.source(node.node)},))

    def business(self, city: str) -> sa.URL:
        """A city's business database, to be changed as its clerks do."""
        return with_all_rights(self.settings[city].sources[0].url)

    def _write_state(self) -> None:
        state = {
            "pid": os.getpid(),
            "pids": {str(e): p.pid for e, p in self.processes.items()},
            "planted": {node: sorted(planted) for node, planted in self.planted.items()},
        }
        temporary = self.directory / f"{STATE}.tmp"
        temporary.write_text(json.dumps(state), encoding="utf-8")
        temporary.replace(self.directory / STATE)

    def endpoints(self, *nodes: str) -> list[Endpoint]:
        """Every zone of the named nodes, of all nodes when none is named."""
        chosen = nodes or tuple(self.settings)
        return [Endpoint(node, zone) for node in chosen for zone in self.settings[node].zones]

    def start(self, *nodes: str) -> None:
        """Start zones and wait until each answers."""
        for endpoint in self.endpoints(*nodes):
            self.processes[endpoint] = self._spawn(endpoint)
        self._write_state()
        for endpoint in self.endpoints(*nodes):
            self._await(lambda e=endpoint: self._is_up(e), _READY_S, f"zone {endpoint}")  # type: ignore[misc]
        self.talk("started", {"zones": len(self.endpoints(*nodes))})

    def _spawn(self, endpoint: Endpoint) -> subprocess.Popen[bytes]:
        home = self.directory / endpoint.node
        command = [sys.executable, "-m", "jinbao.cli.main", "serve", "--config", str(home / "node.toml")]
        with (home / endpoint.zone / "log.jsonl").open("ab") as log:
            return subprocess.Popen(  # noqa: S603  # our own interpreter and module
                [*command, "--zone", str(endpoint.zone)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | self.environment.get(endpoint, {}),
            )

    def _is_up(self, endpoint: Endpoint) -> bool:
        process = self.processes[endpoint]
        if process.poll() is not None:
            log = self.directory / endpoint.node / endpoint.zone / "log.jsonl"
            raise LocalError(
                f"zone {endpoint}",
                expected="a running process",
                got=f"exit code {process.returncode}",
                next_step=f"see {log}",
            )
        return is_running(self.settings[endpoint.node], endpoint.zone)

    @staticmethod
    def _await(done: Callable[[], bool], within_s: float, thing: str) -> None:
        deadline = time.monotonic() + within_s
        while not done():
            if time.monotonic() > deadline:
                raise LocalError(thing, expected=f"an answer within {within_s:.0f} s", got="none")
            time.sleep(_POLL_S)

    def ask(self, endpoint: Endpoint, question: str, **arguments: Any) -> dict[str, Any]:
        """One question of one zone, running or stopped."""
        return ask(self.settings[endpoint.node], endpoint.zone, question, arguments)

    def ask_for_file(
        self, output: Path, endpoint: Endpoint, question: str, **arguments: Any
    ) -> dict[str, Any]:
        """One question of one zone that is answered by a file."""
        with output.open("wb") as file:
            return ask(self.settings[endpoint.node], endpoint.zone, question, arguments, attachment=file)

    def run(self) -> None:
        """Wait until everything captured is everywhere it belongs."""
        self.arrive()
        self._await(self._is_decided, _RUN_S, "decision zones")
        self.guard()

    def arrive(self) -> None:
        """Wait until every city shows that the ministry applied each of its libraries; tell each hop once."""
        told: set[tuple[str, str, str]] = set()

        def done() -> bool:
            finished = [self._hops(city, told) for city in self.cities()]
            return all(finished)

        self._await(done, _RUN_S, "demonstration")

    def captured(self, production: Endpoint, after_run: int) -> None:
        """Wait until a later run than this one was captured and judged."""

        def done() -> bool:
            found = self.ask(production, "capture.show")
            newest = f"run-{found['run']:06d}"
            return found["run"] > after_run and all(v["run"] == newest for v in found["verdicts"])

        self._await(done, _RUN_S, f"capture of {production}")

    def guard(self) -> None:
        """Wait until the backup site, if there is one, has everything each protected zone recorded."""
        self._await(lambda: all(map(self._is_guarded, self.protected())), _RUN_S, "backup site")

    def drill(self) -> None:
        """Have every backup site drill every node it protects, as its calendar does; a red drill is in its own words."""
        for node in self.backups():
            ended = subprocess.run(  # noqa: S603  # our own interpreter and module
                drill_command(self.directory / node / "node.toml"),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            if ended.returncode not in {0, RED}:
                raise LocalError(
                    f"drill of {node}",
                    expected="a report",
                    got=f"exit code {ended.returncode}: {ended.stderr.strip()[-300:]}",
                )

    def backups(self) -> list[str]:
        """Backup nodes, in order."""
        return [node for node, settings in self.settings.items() if settings.role == "backup"]

    def protected(self) -> list[Endpoint]:
        """Every zone that a backup site of this network has a copy of, or is to have."""
        lines = [
            line["zone"]
            for node in self.backups()
            for line in self.ask(Endpoint(node, Zone.EXCHANGE), "standby.status")["protected"]
        ]
        return list(map(Endpoint.parse, lines))

    def _is_guarded(self, endpoint: Endpoint) -> bool:
        try:
            return bool(self.ask(endpoint, "standby.status")["own"]["rpo_s"] == 0)
        except JinbaoError:
            return False  # starting again

    def cities(self) -> list[str]:
        """City nodes, in order."""
        return [node for node, settings in self.settings.items() if settings.tier is Tier.CITY]

    def _hops(self, city: str, told: set[tuple[str, str, str]]) -> bool:
        self.revive()
        try:
            answer = self.ask(Endpoint(city, Zone.PRODUCTION), "report.progress")
        except JinbaoError:
            return False  # starting again
        whole = True
        for library, found in answer["libraries"].items():
            if found["refused"]:
                raise LocalError(
                    f"{library} of {city}", expected="to be applied", got="; ".join(found["refused"])
                )
            for receiver in found["applied"]:
                if (city, library, receiver) not in told:
                    told.add((city, library, receiver))
                    self.talk("hop", {"city": city, "library": library, "receiver": receiver})
            whole &= len(found["applied"]) == len(Tier)
        return whole

    def take_away(self, node: str) -> None:
        """Kill every zone of a node, which nobody starts again before it comes back."""
        self._lost(node).touch()
        for endpoint in self.endpoints(node):
            process = self.processes.pop(endpoint)
            process.kill()
            process.wait()

    def come_back(self, node: str) -> None:
        """Start the zones of a node that was taken away, where it lies now."""
        self._lost(node).unlink()
        self.start(node)

    def _lost(self, node: str) -> Path:
        return self.directory / f"{node}.lost"

    def revive(self) -> None:
        """Start zones again that were killed from outside, as a service manager would."""
        for endpoint, process in list(self.processes.items()):
            if process.poll() is not None and not self._lost(endpoint.node).exists():
                self.processes[endpoint] = self._spawn(endpoint)
                self._write_state()
                self.talk("restarted", {"zone": str(endpoint)})

    def watch(self) -> None:
        """Keep every zone running until KeyboardInterrupt."""
        while True:
            self.revive()
            time.sleep(1.0)

    def _is_decided(self) -> bool:
        """Whether every decision zone has taken in what its exchange zone published."""
        return all(
            self._packages(node) for node in self.settings if Zone.DECISION in self.settings[node].zones
        )

    def _packages(self, node: str) -> bool:
        cities = [node] if node in self.cities() else self.cities()
        try:
            found = self.ask(Endpoint(node, Zone.DECISION), "report.packages")["origins"]
        except JinbaoError:
            return False
        return all(set(cities) <= set(origins) for origins in found.values()) and bool(found)

    def restart(self) -> None:
        """End every zone and start it again: what is asked afterwards is read from disk."""
        self.stop()
        self.start()

    def settle(self) -> None:
        """Wait half a minute at most until every zone is ready: one that was started first missed its neighbours.

        One that is not by then says so itself: what was proved is proved all the same.
        """
        deadline = time.monotonic() + _SETTLE_S
        while not all(map(self._is_ready, self.endpoints())) and time.monotonic() < deadline:
            self.revive()
            time.sleep(_POLL_S)

    def _is_ready(self, endpoint: Endpoint) -> bool:
        try:
            return is_running(self.settings[endpoint.node], endpoint.zone) and bool(
                self.ask(endpoint, "status")["ready"]
            )
        except JinbaoError:
            return False  # starting again

    def stop(self, *nodes: str) -> None:
        """End zones by SIGTERM, by SIGKILL what does not end."""
        chosen = [e for e in self.endpoints(*nodes) if e in self.processes]
        for endpoint in chosen:
            self.processes[endpoint].send_signal(signal.SIGTERM)
        for endpoint in chosen:
            process = self.processes.pop(endpoint)
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._write_state()

    def end(self) -> str:
        """End every zone, and then their databases; the line that starts those again by hand, if there is one."""
        self.stop()
        return self.databases.stop() if self.databases is not None else ""

    def of_tier(self, tier: Tier) -> list[str]:
        """Nodes of a tier on the line, in order."""
        return [
            n for n, settings in self.settings.items() if settings.tier is tier and settings.role == "node"
        ]


class AttachedNetwork(DemoNetwork):
    """A demonstration another process runs; that process starts again what ends."""

    def restart(self) -> None:
        """End every zone and wait until its owner has started it again."""
        before = read_state(self.directory)["pids"]
        for pid in before.values():
            os.kill(pid, signal.SIGTERM)

        def is_back() -> bool:
            now = read_state(self.directory)["pids"]
            return now.keys() == before.keys() and not set(now.values()) & set(before.values())

        self._await(is_back, _READY_S, "zones to be started again")
        for endpoint in self.endpoints():
            self._await(
                lambda e=endpoint: is_running(self.settings[e.node], e.zone),  # type: ignore[misc]
                _READY_S,
                f"zone {endpoint}",
            )
        self.talk("started", {"zones": len(before)})

    def take_away(self, node: str) -> None:
        """Kill every zone of a node; its owner does not start them before it comes back."""
        self._lost(node).touch()
        kill(self.directory, node)

    def come_back(self, node: str) -> None:
        """Let its owner start the zones again, and wait for them."""
        self._lost(node).unlink()
        for endpoint in self.endpoints(node):
            self._await(
                lambda e=endpoint: is_running(self.settings[e.node], e.zone),  # type: ignore[misc]
                _READY_S,
                f"zone {endpoint}",
            )


def read_state(directory: Path) -> dict[str, Any]:
    """What a demonstration wrote of itself: its pid, its zones' pids, what is planted."""
    state: dict[str, Any] = json.loads((directory / STATE).read_text(encoding="utf-8"))
    return state


def attach(directory: Path, talk: Talk) -> DemoNetwork:
    """The network of a demonstration another process runs; raises LocalError if there is none."""
    if not (directory / STATE).is_file():
        raise LocalError(
            f"demo directory {directory}",
            expected=STATE,
            got="none",
            next_step="make demo, in another terminal",
        )
    network = AttachedNetwork(directory, 0, 0, talk)
    for node, planted in read_state(directory)["planted"].items():
        network.planted[node] = {(p[0], p[1], p[2], p[3], p[4]) for p in planted}
    for node in dict.fromkeys(name.partition("/")[0] for name in read_state(directory)["pids"]):
        network.settings[node] = load(directory / node / "node.toml")
    return network


def kill(directory: Path, node: str) -> list[str]:
    """SIGKILL every zone of a node of a running demonstration; returns their names."""
    pids = read_state(directory)["pids"]
    chosen = {name: pid for name, pid in pids.items() if name.startswith(f"{node}/")}
    if not chosen:
        known = sorted({name.partition("/")[0] for name in pids})
        raise LocalError("demo: node", expected=" or ".join(known), got=node)
    for pid in chosen.values():
        os.kill(pid, signal.SIGKILL)
    return sorted(chosen)
