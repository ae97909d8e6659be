"""The demonstration: a real three-tier network on this machine, and the proof of what arrived.

Ministry, province and two cities; every zone its own process, certificate, private
directory and SQLite. At the end every zone is restarted and asked for digests of the rows
it stored: what arrived is what left, or the run fails naming tier, table and keys.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jinbao.appliance.admin_client import ask, is_running
from jinbao.appliance.network import DEMO_NODES, PlannedNode, make_network
from jinbao.appliance.settings import Settings
from jinbao.model.errors import JinbaoError, LocalError
from jinbao.model.zone import Endpoint, Tier, Zone
from jinbao.sample.generate import generate

PERIOD = 202410
_READY_S, _RUN_S, _STOP_S, _POLL_S = 120.0, 900.0, 30.0, 0.2
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
    nodes: tuple[PlannedNode, ...] = DEMO_NODES
    environment: dict[Endpoint, dict[str, str]] = field(default_factory=dict)
    settings: dict[str, Settings] = field(default_factory=dict)
    planted: dict[str, set[tuple[str, str, str, str, str]]] = field(default_factory=dict)
    processes: dict[Endpoint, subprocess.Popen[bytes]] = field(default_factory=dict)

    def make(self) -> None:
        """Write sample cities, identities, topology and settings."""
        nodes: list[PlannedNode] = []
        for at, node in enumerate(self.nodes):
            if node.tier is not Tier.CITY:
                nodes.append(node)
                continue
            self.talk("sample", {"node": node.node, "persons": self.persons})
            url = f"sqlite:///{self.directory / node.node / 'business.db'}"
            ledger = generate(
                [url], region=node.node, persons=self.persons, seed=self.seed + at, period=PERIOD
            )
            self.planted[node.node] = {(p.library, p.table, p.key, p.item, p.rule) for p in ledger.planted}
            nodes.append(replace(node, sources=({"name": "city", "url": url},)))
        overrides = {
            "period": str(PERIOD),
            "pace": {"capture_cron": "", "interval_s": 0.5, "backoff_max_s": 5.0},
        }
        _, self.settings = make_network(self.directory, nodes, overrides=overrides)
        self._write_state()

    def _write_state(self) -> None:
        state = {"directory": str(self.directory), "pids": {str(e): p.pid for e, p in self.processes.items()}}
        (self.directory / STATE).write_text(json.dumps(state), encoding="utf-8")

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

    def run(self) -> None:
        """Wait until every city shows that the ministry applied each of its libraries; tell each hop once."""
        told: set[tuple[str, str, str]] = set()

        def done() -> bool:
            finished = [self._hops(city, told) for city in self.cities()]
            return all(finished)

        self._await(done, _RUN_S, "demonstration")
        self._await(self._is_decided, _RUN_S, "decision zones")

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

    def revive(self) -> None:
        """Start zones again that were killed from outside, as a service manager would."""
        for endpoint, process in list(self.processes.items()):
            if process.poll() is not None:
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
        return all(self._packages(node) for node in self.settings)

    def _packages(self, node: str) -> bool:
        cities = [node] if node in self.cities() else self.cities()
        try:
            found = self.ask(Endpoint(node, Zone.DECISION), "report.packages")["origins"]
        except JinbaoError:
            return False
        return all(set(cities) <= set(origins) for origins in found.values()) and bool(found)

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

    def verify(self) -> dict[str, Any]:
        """Restart every zone, ask each for what it stored, and hold the answers against each other."""
        self.stop()
        self.start()
        reports = {
            tier: {
                node: self.ask(Endpoint(node, Zone.EXCHANGE), "report.library") for node in self._nodes(tier)
            }
            for tier in (Tier.CITY, Tier.PROVINCE, Tier.MINISTRY)
        }
        tables, differences = [], []
        for city in self.cities():
            sealed = self.ask(Endpoint(city, Zone.PRODUCTION), "report.sealed")
            for library, lines in sealed["tables"].items():
                for line in lines:
                    row = self._table(city, library, line, sealed["findings"], reports)
                    tables.append(row)
                    if not row["digest_equal"]:
                        differences += self._differences(city, library, line["table"], reports)
        damage = self._damage()
        return {"tables": tables, "differences": differences, "damage": damage}

    def _nodes(self, tier: Tier) -> list[str]:
        return [node for node, settings in self.settings.items() if settings.tier is tier]

    def _holders(self, city: str) -> dict[Tier, str]:
        """The node of each tier that holds a city's library."""
        return {Tier.CITY: city} | {t: self._nodes(t)[0] for t in (Tier.PROVINCE, Tier.MINISTRY)}

    def _stored(
        self, reports: dict[Tier, dict[str, dict[str, Any]]], city: str, library: str, table: str
    ) -> dict[Tier, dict[str, Any]]:
        """What each tier stored of one table of one city."""
        found = {}
        place = (library, table, city)
        for tier, node in self._holders(city).items():
            lines = reports[tier][node]["tables"]
            mine = [x for x in lines if (x["library"], x["table"], x["origin"]) == place]
            found[tier] = mine[0] if mine else {"rows": 0, "root": "", "buckets": {}}
        return found

    def _table(
        self,
        city: str,
        library: str,
        line: dict[str, Any],
        findings: Sequence[Sequence[str]],
        reports: dict[Tier, dict[str, dict[str, Any]]],
    ) -> dict[str, Any]:
        stored = self._stored(reports, city, library, line["table"])
        mine = (library, line["table"])
        planted = {p for p in self.planted[city] if p[:2] == mine}
        caught = {(f[0], f[1], f[2], f[3], f[4]) for f in findings if (f[0], f[1]) == mine}
        return {
            "library": library,
            "table": line["table"],
            "city": city,
            "source_rows": line["source_rows"],
            "passed": line["rows"],
            "quarantined": line["quarantined"],
            "rows": {str(tier): found["rows"] for tier, found in stored.items()},
            "digest": line["digest"],
            "digest_equal": all(found["root"] == line["digest"] for found in stored.values()),
            "planted_defects": len(planted),
            "caught_defects": len(planted & caught),
            "missed": sorted("/".join(p[1:]) for p in planted - caught),
            "false_alarms": sorted("/".join(c[1:]) for c in caught - planted),
        }

    def _differences(
        self, city: str, library: str, table: str, reports: dict[Tier, dict[str, dict[str, Any]]]
    ) -> list[dict[str, Any]]:
        """Which tier differs from the city, in which keys."""
        stored = self._stored(reports, city, library, table)
        right, found = stored[Tier.CITY]["buckets"], []
        for tier in (Tier.PROVINCE, Tier.MINISTRY):
            other = stored[tier]["buckets"]
            buckets = sorted(b for b in right.keys() | other.keys() if right.get(b) != other.get(b))
            if buckets:
                keys = self._keys(city, library, table, buckets, self._holders(city)[tier])
                place = {"tier": str(tier), "city": city, "library": library, "table": table}
                found.append(place | {"keys": len(keys), "key_min": min(keys), "key_max": max(keys)})
        return found

    def _keys(self, city: str, library: str, table: str, buckets: list[str], node: str) -> list[str]:
        """Keys whose rows are not the same at the city and at another node."""
        sets = []
        for holder in (city, node):
            arguments = {"library": library, "table": table, "origin": city, "buckets": buckets}
            answer = self.ask(Endpoint(holder, Zone.EXCHANGE), "report.leaves", **arguments)
            sets.append({(key, leaf) for key, leaf in answer["leaves"]})
        return sorted({key for key, _ in sets[0] ^ sets[1]})

    def _damage(self) -> list[dict[str, Any]]:
        """Damage in any zone's journal."""
        return [
            {"zone": str(endpoint)} | damage
            for endpoint in self.endpoints()
            for damage in self.ask(endpoint, "report.line")["damage"]
        ]

    def line(self) -> dict[str, int]:
        """Segments and bytes the parents took over the line: what province and ministry hold in their journals."""
        answers = [
            self.ask(Endpoint(node, Zone.EXCHANGE), "report.line")
            for tier in (Tier.PROVINCE, Tier.MINISTRY)
            for node in self._nodes(tier)
        ]
        return {"bytes": sum(a["bytes"] for a in answers), "segments": sum(a["segments"] for a in answers)}


def run_demo(
    *,
    persons: int,
    seed: int,
    keep: Path | None,
    talk: Talk,
    then: Callable[[DemoNetwork, dict[str, Any]], None],
) -> dict[str, Any]:
    """The whole demonstration: make, start, run, restart, verify; `then` sees the network before it ends.

    Returns what `jinbao demo --once --json` prints. Cleans up unless `keep` names a directory.
    """
    directory = keep or Path(tempfile.mkdtemp(prefix="jinbao-demo-"))
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (directory / STATE).exists():
        raise LocalError(
            f"demo directory {directory}", expected="an empty directory", got="an earlier demonstration"
        )
    began = time.monotonic()
    network = DemoNetwork(directory, persons, seed, talk)
    try:
        network.make()
        network.start()
        network.run()
        moved = time.monotonic() - began
        talk("moved", {"seconds": round(moved, 1)})
        result = conclude(network, moved)
        then(network, result)
    finally:
        network.stop()
        if keep is None:
            shutil.rmtree(directory, ignore_errors=True)
    return result


def conclude(network: DemoNetwork, seconds: float) -> dict[str, Any]:
    """Verify a network and give the object of the demonstration."""
    proof = network.verify()
    nodes = [
        {"node": node, "tier": str(settings.tier), "zones": [str(z) for z in settings.zones]}
        for node, settings in network.settings.items()
    ]
    root = next(node for node, settings in network.settings.items() if settings.tier is Tier.MINISTRY)
    indicators = network.ask(Endpoint(root, Zone.DECISION), "report.indicators")
    ok = not proof["damage"] and all(
        t["digest_equal"] and not t["missed"] and not t["false_alarms"] for t in proof["tables"]
    )
    return {
        "ok": ok,
        "seconds": round(seconds, 2),
        "nodes": nodes,
        "tables": proof["tables"],
        "line": network.line(),
        "indicators": indicators["count"],
        "differences": proof["differences"],
        "damage": proof["damage"],
        "directory": str(network.directory),
    }


def tamper(network: DemoNetwork, kind: str) -> str:
    """Change something behind the product's back, as an intruder with disk access would; returns what."""
    acts = {"row": _tamper_row, "segment": _tamper_segment, "receipt": _tamper_receipt}
    return acts[kind](network)


def _tamper_row(network: DemoNetwork) -> str:
    """Raise one pension at the province by a hundred yuan, in its stopped database."""
    import sqlite3  # noqa: PLC0415  # only an intruder opens a zone's database

    province = network._nodes(Tier.PROVINCE)[0]  # noqa: SLF001  # the same module
    network.stop(province)
    path = network.settings[province].directory(Zone.EXCHANGE) / "zone.db"
    database = sqlite3.connect(path)
    with database:
        key = database.execute('SELECT min("AAC001") FROM pension_macro__retiree').fetchone()[0]
        database.execute(
            'UPDATE pension_macro__retiree SET "AIC263" = "AIC263" + 10000 WHERE "AAC001" = ?', (key,)
        )
    database.close()
    network.start(province)
    return f"pension_macro/retiree {key} at {province}/exchange"


def _tamper_segment(network: DemoNetwork) -> str:
    """Flip one bit in the largest segment of the province."""
    province = network._nodes(Tier.PROVINCE)[0]  # noqa: SLF001  # the same module
    return _flip(network, province, Zone.EXCHANGE, largest=True)


def _tamper_receipt(network: DemoNetwork) -> str:
    """Flip one bit in a batch of receipts a city filed."""
    return _flip(network, network.cities()[0], Zone.PRODUCTION, largest=False)


def _flip(network: DemoNetwork, node: str, zone: Zone, *, largest: bool) -> str:
    root = network.settings[node].directory(zone) / "segments"
    named = {d["sha256"] for d in network.ask(Endpoint(node, zone), "report.segments")["segments"]}
    files = [path for path in root.glob("[0-9a-f][0-9a-f]/*.parquet") if path.stem in named]
    chosen = sorted(files, key=lambda path: path.stat().st_size)[-1 if largest else 0]
    content = bytearray(chosen.read_bytes())
    content[len(content) // 2] ^= 1
    chosen.write_bytes(content)
    os.sync()
    return f"segment {chosen.stem[:12]} at {node}/{zone}"


def attach(directory: Path, talk: Talk) -> DemoNetwork:
    """The network of a demonstration that is still running; raises LocalError if there is none."""
    from jinbao.appliance.settings import load  # noqa: PLC0415

    path = directory / STATE
    if not path.is_file():
        raise LocalError(
            f"demo directory {directory}",
            expected=STATE,
            got="none",
            next_step="make demo, in another terminal",
        )
    network = DemoNetwork(directory, 0, 0, talk)
    for node in DEMO_NODES:
        network.settings[node.node] = load(directory / node.node / "node.toml")
    return network


def kill(directory: Path, node: str) -> list[str]:
    """SIGKILL every zone of a node of a running demonstration; returns their names."""
    state = json.loads((directory / STATE).read_text(encoding="utf-8"))
    chosen = {name: pid for name, pid in state["pids"].items() if name.startswith(f"{node}/")}
    if not chosen:
        known = sorted({name.partition("/")[0] for name in state["pids"]})
        raise LocalError("demo: node", expected=" or ".join(known), got=node)
    for pid in chosen.values():
        os.kill(pid, signal.SIGKILL)
    return sorted(chosen)
