"""The machine the province is deployed from: Ansible, a bundle, what persons carried to it, and SSH to every host."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from tests.house.tree import ROOT
from tests.ops import province
from tests.ops.machines import Network, run
from tests.ops.releases import Release

JINBAO = str(ROOT / ".venv" / "bin" / "jinbao")


@dataclass(frozen=True, slots=True)
class Played:
    """All that a playbook said."""

    said: str

    @property
    def changed(self) -> int:
        """How many tasks changed something, or in check mode would."""
        return sum(self._by_host)

    @property
    def is_everywhere(self) -> bool:
        """Whether something changed at each host."""
        return all(self._by_host)

    @property
    def _by_host(self) -> list[int]:
        return list(map(int, re.findall(r"changed=(\d+)", self.said)))


@dataclass
class Controller:
    """A directory `place` of its own, and the state of the inventory.

    `release` is the one whose bundle and collection are played where no other is named.
    """

    network: Network
    place: Path
    release: Release
    cities: tuple[str, ...] = province.CITIES
    copies: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def nodes(self) -> tuple[str, ...]:
        """Every node that is deployed."""
        return (province.MINISTRY, province.PROVINCE, *self.cities, province.BACKUP)

    @property
    def carried(self) -> Path:
        """What persons brought."""
        return self.place / "carried"

    def install(self, *releases: Release) -> None:
        """Install the collections of releases, each in a place of its own."""
        for release in releases:
            link = self._collections(release) / "ansible_collections" / "jinbao" / "node"
            link.parent.mkdir(parents=True)
            link.symlink_to(release.collection)

    def _collections(self, release: Release) -> Path:
        return self.place / f"collections-{release.version}"

    def play(
        self, name: str, *words: str, release: Release | None = None, cities: tuple[str, ...] = ()
    ) -> Played:
        """Run a playbook of a release, by an inventory of other `cities` where some are named.

        RuntimeError where a task failed.
        """
        of = release or self.release
        text = province.inventory(self.carried, of.bundle, self.copies, cities or self.cities, self.options)
        with NamedTemporaryFile("w", dir=self.place, prefix="hosts-", suffix=".yml", delete=False) as hosts:
            hosts.write(text)
        program = str(ROOT / ".venv" / "bin" / "ansible-playbook")
        command = [program, "-i", hosts.name, f"jinbao.node.{name}", *words]
        return Played(self.network.at_controller(*command, **self._environment(of)))

    def _environment(self, release: Release) -> Mapping[str, str]:
        known = self.place / "known_hosts"
        ssh = f"-o UserKnownHostsFile={known} -o ControlMaster=auto -o ControlPersist=60s"
        return {
            "ANSIBLE_CACHE_PLUGIN": "jsonfile",
            "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(self.place / "facts"),
            "ANSIBLE_COLLECTIONS_PATH": str(self._collections(release)),
            "ANSIBLE_FORKS": "6",
            "ANSIBLE_GATHERING": "smart",
            "ANSIBLE_HOME": str(self.place / "home"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_PRIVATE_KEY_FILE": str(self.place / "id"),
            "ANSIBLE_SSH_ARGS": ssh,
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.place / "ssh"),
            "PATH": f"{ROOT / '.venv' / 'bin'}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        }

    def know(self) -> None:
        """Write down every host's key, read from its own disk: none is believed at first sight."""
        lines = []
        for machine in self.network.machines.values():
            for file in sorted((machine.root / "etc" / "ssh").glob("ssh_host_*_key.pub")):
                kind, key = file.read_text(encoding="utf-8").split()[:2]
                lines.append(f"{machine.address} {kind} {key}\n")
        (self.place / "known_hosts").write_text("".join(lines), encoding="utf-8")

    def jinbao(self, words: str) -> str:
        """What a command says that persons give on a machine that is in no inventory, such as the root's."""
        return run(["sh", "-c", f"cd '{self.place}' && {JINBAO} {words}"])


def key_pair(place: Path) -> str:
    """Make the controller's key for SSH; returns the public line."""
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "controller", "-f", str(place / "id")])
    return (place / "id.pub").read_text(encoding="utf-8")
