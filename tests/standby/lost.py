"""A city that is lost: its zones are stopped, the province has more of it than the backup, and the province granted it."""

from __future__ import annotations

import base64
import json
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.cli.conftest import Say
from tests.cli.harness import Net, Said, command, environment
from tests.cli.test_authorities import until_it_listens
from tests.link.zones import serving
from tests.servers import await_
from tests.sim.world import Plan, World
from tests.standby.following import BACKUP, CITY, PROVINCE
from tests.standby.network import standby_net
from tests.standby.test_promotion import submit, travel

from jinbao.appliance.admin_client import ask, is_running
from jinbao.appliance.assembly import open_zone
from jinbao.appliance.loopback import free_port
from jinbao.appliance.network import AUTHORITIES, COPY_KEYS, PERSONS, write_settings
from jinbao.appliance.serve import ZoneService
from jinbao.appliance.settings import Settings, load
from jinbao.authority.person_keys import load_person_key
from jinbao.authority.private_files import read_secret
from jinbao.model.zone import Endpoint, Zone
from jinbao.standby.declaring import Signed, read, sign

WHY = {"reason": "fire in the data centre"}
REASON = ("--reason", WHY["reason"])
ABOVE = Endpoint(PROVINCE, Zone.EXCHANGE)

PACE: dict[str, Any] = {"follow_wait_s": 0.2, "interval_s": 0.05, "backoff_max_s": 0.5, "capture_cron": ""}
"""Quick rounds, and no capture nobody asked for."""


def ahead(plan: Plan, directory: Path) -> Plan:
    """A plan whose city sealed and sent more than its backup heard of."""
    made = World(plan, directory, seed=11)
    try:
        submit(made)
        travel(made)
    finally:
        made.close()
    return replace(plan, directory=directory)


@dataclass(frozen=True)
class Lost:
    """The network after the loss; everything lies in directories of the test's own."""

    net: Net
    say: Say

    @property
    def directory(self) -> Path:
        """Where it lies."""
        return self.net.directory

    def settings(self, node: str) -> Settings:
        """A node's settings."""
        return load(Path(self.net.config(node)))

    def ask(self, endpoint: Endpoint, question: str, **arguments: Any) -> dict[str, Any]:
        """One question of a zone, running or stopped."""
        return ask(self.settings(endpoint.node), endpoint.zone, question, arguments)

    def granted(self, node: str = CITY, **more: Any) -> Path:
        """Declared at the backup, signed by two, granted by the parent: the grant's file."""
        text = self.ask(BACKUP, "standby.declare", node=node, **WHY, **more)["declaration"]
        signed = Signed(text, read(text))
        for key in sorted((self.directory / PERSONS).glob("*.pem")):
            person = load_person_key(key, read_secret(key.with_suffix(".pass")))
            signed = sign(signed, key.stem, person)
        content = base64.b64encode(signed.content().encode()).decode()
        parent = ABOVE if node == CITY else Endpoint("100000", Zone.EXCHANGE)
        found = self.ask(parent, "standby.grant", content=content, **WHY)
        path = self.directory / f"{node}.grant"
        path.write_bytes(base64.b64decode(found["content"]))
        return path

    @property
    def authority(self) -> str:
        """The directory of who certifies the city."""
        return str(self.directory / AUTHORITIES / PROVINCE)

    @property
    def topology(self) -> tuple[str, str]:
        """The option that names the signed topology."""
        return "--topology", str(self.directory / "topology.sealed")

    def introduce(self) -> None:
        """The authority has the lists of who certified the parent."""
        trust, above = self.directory / "trust.pem", str(self.directory / AUTHORITIES / "100000")
        for line in (("export", above, "--out", str(trust)), ("import", self.authority, str(trust))):
            said = self.say("ca", *line)
            assert said.code == 0, said.err

    def know(self, grant: Path) -> Said:
        """The authority takes in the grant."""
        self.introduce()
        said = self.say("ca", "grant", self.authority, str(grant), *self.topology)
        assert said.code == 0, said.err
        return said

    @contextmanager
    def enrolling(self, name: str = "token") -> Iterator[Path]:
        """A token for the city, of an authority that listens meanwhile."""
        address, token = f"127.0.0.1:{free_port()}", self.directory / name
        served = subprocess.Popen(
            command("ca", "serve", self.authority, "--listen", address, *self.topology),
            env=environment(LC_ALL="C.UTF-8"),
            stderr=subprocess.PIPE,
        )
        try:
            until_it_listens(address)
            made = self.say(
                *("ca", "token", self.authority, "--node", CITY, "--address", address),
                *(*self.topology, "--out", str(token)),
            )
            assert made.code == 0, made.err
            yield token
        finally:
            served.send_signal(signal.SIGTERM)
            served.communicate(timeout=20)

    def place(self, name: str = "new", node: str = CITY, **changed: Any) -> Path:
        """Settings of an empty new place beside the old one, with the vendor's database restored in it."""
        home = self.directory / name
        old = self.settings(node)
        home.mkdir(mode=0o700)
        body = old.model_dump(exclude_unset=True) | {"data_directory": home} | changed
        body["zones"] = {z: one | {"http": f"127.0.0.1:{free_port()}"} for z, one in body["zones"].items()}
        if body.get("sources"):
            shutil.copy2(self.directory / node / "business.db", home)
            body["sources"] = [{"name": "city", "url": f"sqlite:///{home / 'business.db'}"}]
        write_settings(home, Settings(**body))
        return home / "node.toml"

    def arguments(self, grant: Path, place: Path, *more: str) -> tuple[str, ...]:
        """The command line of a promotion."""
        key = str(self.directory / COPY_KEYS / "escrow.pem")
        named = ("--place", str(place), "--key", key, "--config", self.net.config(BACKUP.node))
        return ("standby", "promote", str(grant), *named, *REASON, *more)

    @contextmanager
    def serving(self, endpoint: Endpoint = ABOVE) -> Iterator[ZoneService]:
        """A zone that serves meanwhile."""
        settings = self.settings(endpoint.node)
        with serving(open_zone(settings, endpoint.zone)) as service:
            yield service


def quick(net: Net, nodes: Mapping[str, Mapping[str, Any]]) -> None:
    """Let every node go by quick rounds, and by what else is given for it."""
    for config in net.directory.glob("*/node.toml"):
        found = load(config)
        body = found.model_dump(exclude_unset=True) | {"pace": PACE} | nodes.get(found.node, {})
        write_settings(config.parent, Settings(**body))


def lost(plan: Plan, directory: Path, say: Say) -> Lost:
    """A copy of a plan, to be lost."""
    net = standby_net(plan, directory)
    quick(net, {})
    return Lost(net, say)


@dataclass(frozen=True)
class Process:
    """A zone in a process of its own."""

    settings: Settings
    zone: Zone
    served: subprocess.Popen[bytes]
    log: Path

    def ask(self, question: str, **arguments: Any) -> dict[str, Any]:
        """One question over its socket."""
        assert self.served.poll() is None, self.log.read_text(encoding="utf-8")[-2000:]
        return ask(self.settings, self.zone, question, arguments)

    def page(self, path: str) -> tuple[int, str]:
        """A page of its web port."""
        address = self.settings.zones[self.zone].http
        try:
            with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code, exc.read().decode()

    def heads(self) -> dict[str, int]:
        """How far it sealed each of its own streams that have segments."""
        me = f"{self.settings.node}/{self.zone}/"
        found: dict[str, int] = {}
        for line in self.ask("report.segments")["segments"]:
            if line["stream"].startswith(me):
                found[line["stream"]] = max(line["seq"], found.get(line["stream"], 0))
        return found

    def acts(self) -> int:
        """How many acts it recorded."""
        return int(self.ask("status")["journal"]["acts"])

    def events(self, name: str) -> list[dict[str, Any]]:
        """What its log says of an event."""
        lines = [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines() if line]
        return [line for line in lines if line.get("event") == name]

    def capture(self) -> None:
        """Run a capture, and wait until it is judged."""
        before = self.ask("capture.run")["after_run"]

        def done() -> bool:
            found = self.ask("capture.show")
            judged = {verdict["run"] for verdict in found["verdicts"]}
            return found["run"] > before and judged == {f"run-{found['run']:06d}"}

        await_(done)


@contextmanager
def process(settings: Settings, zone: Zone, log: Path) -> Iterator[Process]:
    """A zone that serves, once it answers; asked to end afterwards, it ends well."""
    config = settings.data_directory / "node.toml"
    with log.open("ab") as told:
        served = subprocess.Popen(
            command("serve", "--config", str(config), "--zone", str(zone)),
            env=environment(LC_ALL="C.UTF-8"),
            stdout=told,
            stderr=told,
        )
    made = Process(settings, zone, served, log)
    try:
        await_(lambda: is_running(settings, zone) or served.poll() is not None)
        assert served.poll() is None, log.read_text(encoding="utf-8")[-2000:]
        yield made
    finally:
        served.terminate()
        assert served.wait(30) == 0, log.read_text(encoding="utf-8")[-2000:]
