"""Zones under accounts of their own, made by the shipped sysusers and tmpfiles: what the kernel lets each of them do."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.house.tree import ROOT
from tests.link.zones import SETTINGS

from jinbao.appliance.admin_client import ask, is_running
from jinbao.appliance.enrolment import identity_directories
from jinbao.appliance.network import DEMO_NODES, PlannedNode, make_network, write_settings
from jinbao.appliance.settings import Settings
from jinbao.model.errors import LocalError
from jinbao.model.zone import Zone
from jinbao.sample.generate import generate

pytestmark = [pytest.mark.parts, pytest.mark.processes]

CITY = DEMO_NODES[2]
PERIOD, WITHIN_S = 202410, 60.0

OPENED = """
import json, os, sys
found = []
for path, flags in json.load(sys.stdin):
    try:
        os.close(os.open(path, flags))
    except OSError:
        continue
    found.append(path)
json.dump(found, sys.stdout)
"""


@dataclass
class Host:
    """A root directory with the accounts and directories of a node, and a Python every account can run."""

    root: Path
    python: Path
    accounts: Mapping[str, Sequence[str]]
    groups: Mapping[str, tuple[int, Sequence[str]]]

    def ids(self, zone: Zone) -> tuple[int, int, list[int]]:
        """Uid, gid and further groups of a zone's account."""
        name = f"jinbao-{zone}"
        account = self.accounts[name]
        more = [gid for gid, members in self.groups.values() if name in members]
        return int(account[2]), int(account[3]), more

    def command(self, zone: Zone, *arguments: str) -> list[str]:
        """A command of our Python under a zone's account, with a mask as its unit sets it."""
        uid, gid, more = self.ids(zone)
        places = f"{ROOT / 'node'}:{sysconfig.get_path('purelib')}"
        become = f"setpriv --reuid {uid} --regid {gid} --groups {','.join(map(str, more))} --no-new-privs"
        script = (
            f"mount --bind {sys.base_prefix} {self.python} && umask 0077 && cd / && "
            f"exec env HOME=/ PYTHONPATH={places} LD_LIBRARY_PATH={self.python}/lib "
            f'{become} {self.python}/bin/python3 "$@"'
        )
        return ["unshare", "--mount", "sh", "-c", script, "sh", *arguments]

    def opened(self, zone: Zone, wanted: Sequence[tuple[Path, int]]) -> set[Path]:
        """Which of these files and directories the account can open so."""
        said = json.dumps([(str(path), flags) for path, flags in wanted])
        ran = subprocess.run(
            self.command(zone, "-c", OPENED),
            input=said,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return {Path(path) for path in json.loads(ran.stdout)}


def _table(path: Path) -> dict[str, list[str]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return {fields[0]: fields for fields in (line.split(":") for line in lines)}


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """Such a host; needs root, to make accounts and to become them."""
    if os.geteuid() != 0:
        pytest.skip("accounts of their own: run as root")
    root = Path(tempfile.mkdtemp(prefix="jb-host-"))
    try:
        root.chmod(0o755)
        (root / "etc").mkdir()
        for tool, what in (("sysusers", "sysusers.d"), ("tmpfiles", "tmpfiles.d")):
            more = ["--create"] if tool == "tmpfiles" else []
            conf = str(ROOT / "units" / what / "jinbao.conf")
            subprocess.run([f"systemd-{tool}", f"--root={root}", *more, conf], check=True, timeout=60)
        (root / "python").mkdir()
        groups = _table(root / "etc" / "group")
        yield Host(
            root,
            root / "python",
            _table(root / "etc" / "passwd"),
            {name: (int(line[2]), line[3].split(",")) for name, line in groups.items()},
        )
    finally:
        shutil.rmtree(root)


@pytest.fixture(scope="module")
def city(host: Host) -> Settings:
    """A city with a business database, its three zones each in a directory of its account."""
    made, data = host.root / "made", host.root / "var" / "lib" / "jinbao"
    business = data / "production" / "business.db"
    planned = PlannedNode(
        CITY.node,
        CITY.name_zh,
        CITY.name_en,
        CITY.tier,
        CITY.parent,
        sources=({"name": "city", "url": f"sqlite:///{business}"},),
    )
    generate([f"sqlite:///{business}"], region=CITY.node, persons=5000, seed=7, period=PERIOD)
    overrides: dict[str, Any] = {**SETTINGS, "period": str(PERIOD), "data_directory": data}
    _, settings = make_network(made, [*DEMO_NODES[:2], planned], overrides=overrides)
    for zone in Zone:
        uid, gid, _ = host.ids(zone)
        (made / CITY.node / zone / "identity").rename(data / zone / "identity")
        for path in [data / zone, *(data / zone).rglob("*")]:
            os.chown(path, uid, gid, follow_symlinks=False)
    (host.root / "etc" / "jinbao").chmod(0o755)
    shutil.copy(made / "topology.sealed", host.root / "etc" / "jinbao")
    mine = settings[CITY.node].model_copy(
        update={"topology_file": host.root / "etc" / "jinbao" / "topology.sealed"}
    )
    write_settings(host.root / "etc" / "jinbao", mine)
    for path in (host.root / "etc" / "jinbao").iterdir():
        path.chmod(0o644)
    return mine


@pytest.fixture(scope="module")
def laid(host: Host, city: Settings) -> Iterator[Settings]:
    """The city, its decision zone not started yet, with packages that wait for it."""
    outbox = city.carrier_directory(Zone.EXCHANGE, Zone.DECISION)
    with serving(host, Zone.PRODUCTION), serving(host, Zone.EXCHANGE):
        await_(host, lambda: is_running(city, Zone.PRODUCTION) and is_running(city, Zone.EXCHANGE))
        ask(city, Zone.PRODUCTION, "capture.run")
        await_(host, lambda: any(outbox.glob("p-*/*.parquet")))
        yield city


@pytest.fixture(scope="module")
def served(host: Host, laid: Settings) -> Iterator[Settings]:
    """The city with all its zones, what was captured having come to the decision zone."""
    with serving(host, Zone.DECISION):
        await_(host, lambda: is_running(laid, Zone.DECISION))
        await_(host, lambda: bool(ask(laid, Zone.DECISION, "report.packages")["origins"]))
        yield laid


class serving:  # noqa: N801  # reads as what it does
    """A zone's process under its account, until the block ends."""

    def __init__(self, host: Host, zone: Zone) -> None:
        config = host.root / "etc" / "jinbao" / "node.toml"
        serve = ["-m", "jinbao.cli.main", "serve", "--config", str(config), "--zone", zone]
        self._log = (host.root / f"{zone}.log").open("wb")
        self._process = subprocess.Popen(host.command(zone, *serve), stdout=self._log, stderr=self._log)

    def __enter__(self) -> None:
        """It was started."""

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(60)
        self._log.close()


def await_(host: Host, done: Callable[[], bool]) -> None:
    """Until it is so; the logs are shown if it never is."""
    until = time.monotonic() + WITHIN_S
    while not done():
        logs = {path.name: path.read_text(encoding="utf-8")[-1500:] for path in host.root.glob("*.log")}
        assert time.monotonic() < until, logs
        time.sleep(0.3)


def files(directory: Path) -> list[tuple[Path, int]]:
    """Everything in a directory and itself, to be read."""
    return [(path, os.O_RDONLY) for path in (directory, *directory.rglob("*"))]


def test_what_crosses_the_border_is_read_there_and_changed_by_nobody(host: Host, laid: Settings) -> None:
    """Decision reads every package and mark exchange laid down and can change none; production sees nothing of it."""
    outbox = laid.carrier_directory(Zone.EXCHANGE, Zone.DECISION)
    there = [path for path in outbox.rglob("*") if "tmp-" not in str(path)]
    plain = [path for path in there if path.is_file()]

    assert {path.suffix for path in plain} == {".bin", ".parquet"}
    assert host.opened(Zone.DECISION, [(path, os.O_RDONLY) for path in there]) == set(there)
    assert host.opened(Zone.DECISION, [(path, os.O_WRONLY) for path in plain]) == set()
    assert host.opened(Zone.DECISION, [(outbox / "planted", os.O_WRONLY | os.O_CREAT)]) == set()
    assert host.opened(Zone.PRODUCTION, [(path, os.O_RDONLY) for path in there]) == set()


@pytest.mark.parametrize("zone", list(Zone))
def test_no_zone_opens_a_file_of_another(host: Host, served: Settings, zone: Zone) -> None:
    """Of all the other zones' files an account opens none; the same attempt opens every one of its own."""
    own = [path for path, _ in files(served.directory(zone)) if not path.is_socket()]
    others = [wanted for other in Zone if other is not zone for wanted in files(served.directory(other))]

    assert len(others) > 20
    assert host.opened(zone, others) == set()
    opened = host.opened(zone, [(path, os.O_RDONLY) for path in own])
    assert len(opened) > 10
    assert not [path for path in set(own) - opened if path.exists()], (
        "a zone that runs removes some of its files"
    )


def test_another_account_neither_opens_nor_enrols_a_zone(host: Host, city: Settings) -> None:
    """Root, whose files would keep the zone from starting, is told as whom to ask or enrol."""
    owner = pwd.getpwuid(host.ids(Zone.EXCHANGE)[0]).pw_name if _is_known(host) else "uid "
    aside = city.model_copy(update={"data_directory": host.root / "stopped"})
    directory = aside.directory(Zone.EXCHANGE)
    (directory / "identity").mkdir(parents=True)
    uid, gid, _ = host.ids(Zone.EXCHANGE)
    os.chown(directory, uid, gid)

    with pytest.raises(LocalError, match=f"to be run by its owner, {owner}"):
        ask(aside, Zone.EXCHANGE, "journal.list")
    with pytest.raises(LocalError, match=f"to be run by its owner, {owner}"):
        identity_directories(aside, [Zone.EXCHANGE])

    assert [path.name for path in directory.iterdir()] == ["identity"]


def _is_known(host: Host) -> bool:
    return any(account.pw_uid == host.ids(Zone.EXCHANGE)[0] for account in pwd.getpwall())
