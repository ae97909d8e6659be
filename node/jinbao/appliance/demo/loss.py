"""The loss of a city in a demonstration: its directory is destroyed, and it goes on from the backup site.

First the backup stops hearing from it, so that there is something that only its neighbours have. Then two persons
declare it, the province grants it, the backup site builds it anew, and its neighbours give back what it had sent.
Its business database is its vendor's to restore, which a copy stands in for.
"""

from __future__ import annotations

import base64
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinbao.appliance.demo.business import authorities_of, raise_wages
from jinbao.appliance.demo.processes import DemoNetwork
from jinbao.appliance.network import COPY_KEYS, PERSONS, write_settings
from jinbao.appliance.observers import log_nothing
from jinbao.appliance.promoting import Promoted, declared_copies, promote, read_grant
from jinbao.appliance.restoring import opens_of
from jinbao.authority.person_keys import load_person_key
from jinbao.authority.private_files import make_private, read_secret
from jinbao.model.errors import LocalError
from jinbao.model.zone import Endpoint, Zone
from jinbao.standby.declaring import Signed, read, sign
from jinbao.trust.encoding import decode_envelope

REASON = "demonstration: the city's data centre is lost"


def lose(network: DemoNetwork, node: str) -> dict[str, Any]:
    """Destroy a city and promote it; both points as they were, what came back, and the seconds until it served again.

    Raises LocalError for a network without a backup site, and what the steps raise.
    """
    log_nothing()
    if not network.backups():
        raise LocalError("demo", expected="a backup site", got="none")
    losing = _Losing(network, node)
    points = losing.go_on_unheard()
    losing.destroy()
    began = time.monotonic()
    sealed = losing.granted()
    found = losing.promote(sealed)
    network.come_back(node)
    seconds = round(time.monotonic() - began, 1)
    losing.settle()
    return {"node": node, "seconds": seconds} | points | {"promotion": found.body()}


class _Losing:
    """One loss, from the last capture to the first after it."""

    def __init__(self, network: DemoNetwork, node: str) -> None:
        self._network, self._node = network, node
        self._authorities, self._topology = authorities_of(network.directory)
        self._settings = network.settings[node]
        self._backup = Endpoint(network.backups()[0], Zone.EXCHANGE)
        self._parent = Endpoint(self._topology.by_node[node].parent, Zone.EXCHANGE)
        self._production = Endpoint(node, Zone.PRODUCTION)

    def go_on_unheard(self) -> dict[str, Any]:
        """The backup hears nothing more; rows change and reach the ministry. What of them it has not, and both points."""
        for peer in self._followed():
            self._network.ask(self._backup, "line.pause", peer=peer, reason=REASON)
        # A call that waits for news when it is paused still brings some.
        time.sleep(self._network.settings[self._backup.node].pace.follow_wait_s + 1)
        self._change()
        own = self._network.ask(self._production, "standby.status")["own"]
        self._network.talk("ahead", {"node": self._node, "rows": own["rpo_rows"]})
        return {name: own[name] for name in ("rpo_s", "rpo_rows", "capture_age_s")}

    def _change(self) -> None:
        """Rows change, are captured, judged and sealed, and every tier has applied them."""
        before = raise_wages(self._network, self._node)
        self._network.captured(self._production, before)
        self._network.arrive()

    def destroy(self) -> None:
        """Kill every zone and remove the city's directory, keys and all."""
        home = self._network.directory / self._node
        self._network.take_away(self._node)
        self._aside.mkdir(mode=0o700)
        for file in home.glob("business.db*"):
            shutil.copy2(file, self._aside)
        shutil.rmtree(home)
        self._network.talk("destroyed", {"node": self._node})

    @property
    def _aside(self) -> Path:
        return self._network.directory / f"{self._node}-vendor"

    def granted(self) -> bytes:
        """Two persons declare the city lost, its parent grants it, and its authority knows."""
        declared = self._network.ask(self._backup, "standby.declare", node=self._node, reason=REASON)
        text = declared["declaration"]
        signed = Signed(text, read(text))
        for key in sorted((self._network.directory / PERSONS).glob("*.pem")):
            signed = sign(signed, key.stem, load_person_key(key, read_secret(key.with_suffix(".pass"))))
        content = base64.b64encode(signed.content().encode()).decode()
        granted = self._network.ask(self._parent, "standby.grant", content=content, reason=REASON)
        sealed = base64.b64decode(granted["content"])
        arguments = {"name": f"{self._node}.grant", "content": granted["content"], "reason": REASON}
        self._network.ask(self._backup, "trust.import", **arguments)
        self._authorities.grant(decode_envelope(sealed), self._topology)
        self._network.talk("granted", {"node": self._node, "epoch": granted["epoch"]})
        return sealed

    def promote(self, sealed: bytes) -> Promoted:
        """Build, enrol and take back, in an empty directory."""
        network, home = self._network, self._network.directory / self._node
        make_private(home)
        for file in self._aside.iterdir():
            shutil.move(file, home)
        self._aside.rmdir()
        write_settings(home, self._settings)
        backup = network.settings[self._backup.node]
        opens = opens_of([network.directory / COPY_KEYS / "escrow.pem"], [], ["escrow"])
        with declared_copies(read_grant(sealed), self._fetch, opens) as copies:
            found = promote(sealed, copies, backup, self._settings, self._enrol, lambda _done, _total: None)
        network.talk("promoted", {"node": self._node, "seconds": found.seconds})
        return found

    def _fetch(self, lines: Path, endpoint: Endpoint) -> dict[str, Any]:
        return self._network.ask_for_file(lines, self._backup, "standby.copy", protected=str(endpoint))

    def _enrol(self, zones: Sequence[Zone]) -> None:
        for zone in zones:
            directory = self._settings.directory(zone) / "identity"
            self._authorities.issue(Endpoint(self._node, zone), self._topology, directory)

    def _followed(self) -> list[str]:
        """Zones of the city that the backup follows itself: acts of decision come by its exchange zone."""
        return [str(Endpoint(self._node, zone)) for zone in self._settings.zones if zone is not Zone.DECISION]

    def settle(self) -> None:
        """The backup follows again, the city captures from its restored business, and everything arrives."""
        for peer in self._followed():  # paused before the loss, and not by the declaration
            self._network.ask(self._backup, "line.resume", peer=peer, reason=REASON)
        self._change()
        self._network.run()
