"""Trust that changes while a demonstration runs: the root follows another, a city is taken back.

Does what operators of authorities and zones do, in their order, and measures what they would
ask for: whether a fetch failed, and how long a revoked city was still let in.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from jinbao.appliance.demo.business import authorities_of, raise_wages
from jinbao.appliance.demo.processes import DemoNetwork
from jinbao.authority.trust_files import write_trust
from jinbao.model.errors import JinbaoError, LocalError
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust.identity import ROOT

_WITHIN_S, _POLL_S = 120.0, 0.5
_FAILURES = frozenset({"step_failed", "peer_refused", "stream_held", "header_refused"})


def rotate_root(network: DemoNetwork) -> dict[str, Any]:
    """Let a new root follow the old one, every certificate with it, while records travel.

    Returns `ok`, the steps with their seconds, batches accepted meanwhile, and failures logged.
    """
    changing = _Changing(network)
    old, steps = changing.roots(), []
    for name, act in changing.rotation(old):
        began = time.monotonic()
        act()
        network.talk("trust", {"step": name})
        steps.append({"step": name, "seconds": round(time.monotonic() - began, 1)})
    changing.settle()
    failures = changing.failures()
    new = changing.roots()
    ok = not failures and len(new) == 1 and not new & old
    return {"ok": ok, "steps": steps, "accepted": changing.accepted(), "failures": failures}


def revoke(network: DemoNetwork, node: str) -> dict[str, Any]:
    """Take back all certificates of a city and measure how long its parent still lets it in.

    Returns `ok`, `refused_after_s`, and for every other node whether its parent noticed nothing.
    """
    changing = _Changing(network)
    return changing.revoke(node)


class _Changing:
    """One change of trust in a running network; remembers where the logs were when it began."""

    def __init__(self, network: DemoNetwork) -> None:
        self._network = network
        self._authorities, self._topology = authorities_of(network.directory)
        self._logs = {e: self._log(e).stat().st_size for e in network.endpoints()}
        self._raises = 0

    def _log(self, endpoint: Endpoint) -> Any:
        return self._network.directory / endpoint.node / endpoint.zone / "log.jsonl"

    def _events(self) -> Iterator[dict[str, Any]]:
        """Log lines since the change began."""
        for endpoint, size in self._logs.items():
            with self._log(endpoint).open("rb") as log:
                log.seek(size)
                for line in log:
                    if line.startswith(b"{") and line.endswith(b"\n"):
                        yield json.loads(line)

    def failures(self) -> list[str]:
        """Rounds, callers and streams that failed since the change began."""
        return [
            f"{e['zone']}: {e.get('reason', e['event'])}" for e in self._events() if e["event"] in _FAILURES
        ]

    def accepted(self) -> int:
        """Batches accepted since the change began."""
        return sum(e["event"] == "batch_accepted" for e in self._events())

    def _trust(self, endpoint: Endpoint) -> dict[str, Any]:
        try:
            return self._network.ask(endpoint, "trust.list")
        except JinbaoError:
            return {"roots": [], "authorities": [], "certificate": {}, "lists": []}  # starting again

    def roots(self) -> set[str]:
        """Keys of the roots some zone trusts."""
        return {c["key"] for e in self._network.endpoints() for c in self._trust(e)["roots"]}

    def _await(self, holds: Callable[[dict[str, Any]], bool], what: str) -> None:
        """Wait until it holds of what every zone trusts."""
        left = set(self._network.endpoints())
        deadline = time.monotonic() + _WITHIN_S
        while left := {e for e in left if not holds(self._trust(e))}:
            if time.monotonic() > deadline:
                raise LocalError(
                    what, expected=f"in every zone within {_WITHIN_S:.0f} s", got=f"not in {min(left)}"
                )
            time.sleep(_POLL_S)

    def _publish(self, node: str) -> None:
        """Import everything the authorities say at one exchange zone; the line carries it on."""
        content = base64.b64encode(write_trust(self._authorities.documents())).decode("ascii")
        self._network.ask(
            Endpoint(node, Zone.EXCHANGE),
            "trust.import",
            name="authorities.pem",
            content=content,
            reason="demonstration",
        )

    def rotation(self, old: set[str]) -> Iterator[tuple[str, Callable[[], None]]]:
        """The steps of a root's succession; records are on their way during each."""
        top, authorities = self._topology.root, self._authorities

        def prepare() -> None:
            authorities.prepare(ROOT)
            self._publish(top)
            self._await(lambda held: len(held["roots"]) == len(old) + 1, "the new root")
            self._move_records()

        def activate() -> None:
            authorities.activate(ROOT)
            self._publish(top)
            wanted = {
                f"{c.serial_number:x}" for c in map(x509.load_der_x509_certificate, self._certificates())
            }
            self._await(
                lambda held: wanted <= {c["serial"] for c in held["roots"] + held["authorities"]},
                "authorities",
            )
            self._move_records()

        def renew() -> None:
            before = {e: self._trust(e)["certificate"].get("serial") for e in self._network.endpoints()}
            for endpoint in before:
                home = self._network.settings[endpoint.node].directory(endpoint.zone) / "identity"
                authorities.issue(endpoint, self._topology, home)
            serials = set(before.values())
            self._await(lambda held: held["certificate"].get("serial") not in serials, "renewed certificates")
            self._move_records()

        def retire() -> None:
            authorities.retire(ROOT)
            self._publish(top)
            self._await(lambda held: len(held["roots"]) == 1, "one root")
            self._move_records()

        yield from [("prepare", prepare), ("activate", activate), ("renew", renew), ("retire", retire)]

    def _certificates(self) -> list[bytes]:
        found = []
        for document in self._authorities.documents():
            try:
                found.append(x509.load_der_x509_certificate(document).public_bytes(Encoding.DER))
            except ValueError:
                continue  # a list
        return found

    def _move_records(self) -> None:
        """Raise some wages in every city and capture, so that batches travel."""
        self._raises += 1
        for city in self._network.cities():
            raise_wages(self._network, city)

    def settle(self) -> None:
        """Wait until every city has the receipts of all tiers for its newest submission."""
        self._network.run()

    def revoke(self, node: str) -> dict[str, Any]:
        """See `revoke`."""
        parent = self._topology.by_node[node].parent
        reporter = Endpoint(parent, Zone.EXCHANGE)
        for zone in self._topology.by_node[node].zones:
            self._authorities.revoke(Endpoint(node, zone), self._topology, "key-compromise")
        began = time.monotonic()
        self._publish(parent)
        deadline = began + _WITHIN_S
        while not self._is_refused(reporter, node):
            if time.monotonic() > deadline:
                raise LocalError(
                    f"node {node}", expected=f"to be refused within {_WITHIN_S:.0f} s", got="still let in"
                )
            time.sleep(_POLL_S)
        refused_after_s = round(time.monotonic() - began, 1)
        others = [e for e in self._network.cities() if e != node]
        time.sleep(self._network.settings[parent].pace.follow_wait_s + _POLL_S)
        noticed = [
            f for f in self.failures() if any(f"{other}/" in f and f"{node}/" not in f for other in others)
        ]
        return {
            "ok": not noticed,
            "node": node,
            "refused_after_s": refused_after_s,
            "others_noticed": noticed,
        }

    def _is_refused(self, reporter: Endpoint, node: str) -> bool:
        peers = self._network.ask(reporter, "line.status")["peers"]
        return any(p["peer"].startswith(f"{node}/") and "revoked by" in p["error"] for p in peers)
