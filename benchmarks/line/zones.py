"""A line of real zones: a city, its province and the ministry, each zone a process as it is in production.

Four zone databases and no decision zone, so that what is measured is the line. What happened is
read from the zones' own logs; what is to happen is asked for over their admin sockets.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.line.people import PERIOD, REGION
from benchmarks.line.server import Server
from benchmarks.line.sources import Business

from jinbao.appliance.demo.processes import DemoNetwork
from jinbao.appliance.network import PlannedNode, make_network, to_toml
from jinbao.appliance.settings import load
from jinbao.model.errors import JinbaoError, LocalError
from jinbao.model.zone import Endpoint, Tier, Zone

LIBRARY = "person_register"
MINISTRY, PROVINCE = Endpoint("100000", Zone.EXCHANGE), Endpoint("140000", Zone.EXCHANGE)
PRODUCTION, CITY = Endpoint(REGION, Zone.PRODUCTION), Endpoint(REGION, Zone.EXCHANGE)
STANDARDS = Path(__file__).parents[1] / "tiers"
_POLL_S, _FOLLOW_S = 0.01, 1.0
_PACE = {"capture_cron": "", "interval_s": 0.5, "backoff_max_s": 2.0, "follow_wait_s": _FOLLOW_S}


class LeanNode(PlannedNode):
    """A node without a decision zone."""

    @property
    def zones(self) -> tuple[Zone, ...]:
        """Production in a city, exchange everywhere."""
        return (Zone.PRODUCTION, Zone.EXCHANGE) if self.tier is Tier.CITY else (Zone.EXCHANGE,)


class Line:
    """The zones of one run under `directory`."""

    def __init__(
        self, directory: Path, source: str, server: Server | None, *, wait_s: float, **settings: Any
    ) -> None:
        """Zone databases are in `server`, SQLite if there is none; `settings` are the source's further ones.

        Whatever is waited for longer than `wait_s` does not happen any more.
        """
        shutil.rmtree(directory, ignore_errors=True)
        self.directory, self._server, self._wait_s = directory, server, wait_s
        city = ({"name": "city", "url": source} | settings,)
        nodes = (
            LeanNode(MINISTRY.node, "部级数据中心", "Ministry", Tier.MINISTRY, ""),
            LeanNode(PROVINCE.node, "山西省数据中心", "Shanxi", Tier.PROVINCE, MINISTRY.node),
            LeanNode(REGION, "太原市数据中心", "Taiyuan", Tier.CITY, PROVINCE.node, sources=city),
        )
        overrides = {"period": str(PERIOD), "pace": _PACE, "standards_directory": STANDARDS}
        make_network(directory, nodes, overrides=overrides)
        self.network = DemoNetwork(directory, 0, 0, lambda *_: None, nodes=nodes)
        for node in nodes:
            self._settle(node.node)

    def _settle(self, node: str) -> None:
        """Name the zones' databases and read the node's settings as its zones will."""
        file = self.directory / node / "node.toml"
        settings = load(file)
        if self._server is not None:
            body = settings.model_dump(mode="json", exclude_defaults=True)
            for zone in settings.zones:
                name = self._server.fresh(f"zone_{node}_{zone}")
                body["zones"][zone]["database"] = self._server.url(name, "postgresql+psycopg")
            file.write_text(to_toml(body), encoding="utf-8")
        self.network.settings[node] = load(file)

    def resettle(self, settings: Mapping[str, Any]) -> None:
        """Start the city anew with further settings of its source."""
        city = PRODUCTION.node
        body = self.network.settings[city].model_dump(mode="json", exclude_defaults=True)
        body["sources"] = [dict(source) | dict(settings) for source in body["sources"]]
        file = self.directory / city / "node.toml"
        file.write_text(to_toml(body), encoding="utf-8")
        self.network.settings[city] = load(file)
        self.network.stop(city)
        self.network.start(city)

    def log(self, endpoint: Endpoint) -> Path:
        """Where a zone writes what happened."""
        return self.directory / endpoint.node / endpoint.zone / "log.jsonl"

    def events(self, endpoint: Endpoint, name: str) -> list[dict[str, Any]]:
        """Everything of one name that happened in a zone to this library, oldest first."""
        if not self.log(endpoint).exists():
            return []
        lines = self.log(endpoint).read_text(encoding="utf-8").splitlines()
        found = [json.loads(line) for line in lines if f'"event": "{name}"' in line]
        return [
            e
            for e in found
            if LIBRARY in (e.get("topic"), e.get("library")) or LIBRARY in e.get("stream", "")
        ]

    def await_source(self, business: Business) -> None:
        """Wait until production looked for the hidden table and did not find it; then show it."""
        deadline, log = time.monotonic() + self._wait_s, self.log(PRODUCTION)
        while '"worker": "capture"' not in log.read_text(encoding="utf-8"):
            if time.monotonic() > deadline:
                raise LocalError(f"zone {PRODUCTION}", expected="a first capture", got="none")
            time.sleep(_POLL_S)
        business.show()

    def sealed(self) -> int:
        """The newest seq of the city's own stream."""
        return int(self.network.ask(PRODUCTION, "report.progress")["libraries"][LIBRARY]["sealed"])

    def await_event(self, endpoint: Endpoint, name: str, *, least: int = 1, seq: int = 0) -> dict[str, Any]:
        """Wait until so many are told, or one of `seq` and later; returns the newest. Raises LocalError on trouble."""
        deadline, log, size = time.monotonic() + self._wait_s, self.log(endpoint), -1
        while True:
            now = log.stat().st_size if log.exists() else 0
            if now != size:
                size, found = now, self.events(endpoint, name)
                if found and (found[-1].get("seq", 0) >= seq if seq else len(found) >= least):
                    return found[-1]
                self._check()
            if time.monotonic() > deadline:
                raise LocalError(f"zone {endpoint}", expected=name, got=f"none within {self._wait_s:.0f} s")
            time.sleep(_POLL_S)

    def _check(self) -> None:
        """A zone that refused, holds or ended will not go on: say so now."""
        for endpoint, process in self.network.processes.items():
            for name in ("submission_refused", "stream_held"):
                for event in self.events(endpoint, name):
                    raise LocalError(
                        f"zone {endpoint}", expected="a line without trouble", got=event["reason"]
                    )
            if process.poll() is not None:
                raise LocalError(f"zone {endpoint}", expected="a running process", got=process.returncode)

    def capture(self) -> None:
        """Ask production for a run."""
        self.network.ask(PRODUCTION, "capture.run")

    def pause(self, endpoint: Endpoint, peer: Endpoint) -> None:
        """Let a zone follow a neighbour no more: a call that already waits for news still ends first."""
        self.network.ask(endpoint, "line.pause", peer=str(peer), reason="benchmark")
        time.sleep(_FOLLOW_S + 1.0)

    def resume(self, endpoint: Endpoint, peer: Endpoint) -> None:
        """Let it follow again, at once."""
        self.network.ask(endpoint, "line.resume", peer=str(peer))
        self.network.ask(endpoint, "line.pull", peer=str(peer))

    def line_bytes(self, endpoint: Endpoint, after: int = 0) -> int:
        """Bytes of segments a zone accepted of this library, of batches after `after`."""
        return sum(e["bytes"] for e in self.events(endpoint, "batch_accepted") if e["seq"] > after)


@contextmanager
def running(line: Line, *nodes: str) -> Iterator[Line]:
    """The line's zones, or those of some nodes, up; ended and forgotten at the end."""
    try:
        line.network.start(*nodes)
        yield line
    except JinbaoError:
        for endpoint, process in line.network.processes.items():
            if process.poll() is not None:  # its log goes with its directory
                print(line.log(endpoint).read_text(encoding="utf-8")[-1500:], file=sys.stderr)
        raise
    finally:
        line.network.stop()
        shutil.rmtree(line.directory, ignore_errors=True)
