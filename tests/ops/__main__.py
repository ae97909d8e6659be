"""`make test-ops`: roles of the collection converge an authority and a city from a bundle, without a network.

Builds the bundle of this checkout, boots one container, and holds: check mode tells of changes and makes none, a
run makes the node, the same run again changes nothing, and its zones answer. Root on Debian 12.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import yaml
from tests.bundles import KEY, public_key
from tests.house.tree import ROOT
from tests.ops.container import Container, booted, missing, run

from jinbao.appliance.bundle.building import build
from jinbao.appliance.network import DEMO_NODES, plan_topology
from jinbao.authority.identity_files import load_identity
from jinbao.trust.documents import seal_topology
from jinbao.trust.encoding import envelope_message

DOMAIN = "jinbao.example"
JINBAO = str(ROOT / ".venv" / "bin" / "jinbao")
MINISTRY = """node = "100000"
tier = "ministry"
data_directory = "{place}/node"
topology_file = "{place}/topology.sealed"
[zones.exchange]
"""
ADDRESS = "127.0.0.1:7443"
CARRIED = "/srv/carried"


def found_ministry(place: Path) -> None:
    """Root, the ministry's authority and its exchange zone, which signs a topology; all by files, as on paper."""
    (place / "node" / "exchange").mkdir(mode=0o700, parents=True)
    (place / "node.toml").write_text(MINISTRY.format(place=place), encoding="utf-8")
    for words in (
        f"ca init root --domain {DOMAIN}",
        f"ca init ministry --domain {DOMAIN} --issuing 100000 --root root",
        "ca token ministry --node 100000 --zone exchange --out token",
        "enrol --token token --request request --zone exchange --config node.toml",
        "ca issue ministry --request request --out answer",
        "enrol --install answer --zone exchange --config node.toml",
        "ca export ministry --out trust.pem",
    ):
        _jinbao(place, words)
    signer = load_identity(place / "node" / "exchange" / "identity")
    made_at = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    topology = replace(plan_topology(DEMO_NODES), trust_domain=DOMAIN, made_at=made_at)
    sealed = envelope_message(seal_topology(topology, signer)).SerializeToString()
    (place / "topology.sealed").write_bytes(sealed)


def _jinbao(place: Path, words: str) -> None:
    run(["sh", "-c", f"cd '{place}' && {JINBAO} {words}"])


def inventory(bundle: str) -> dict[str, object]:
    """An authority and a city in one container, which is also the controller."""
    zones = {"production": 9101, "exchange": 9102, "decision": 9103}
    borders = {"production": "line", "exchange": "line", "decision": "carrier"}
    every = {
        "ansible_connection": "local",
        "ansible_python_interpreter": "/usr/bin/python3",
        "node_bundle": f"{CARRIED}/{bundle}",
        "node_release_key": f"{CARRIED}/release.pub.pem",
        "node_python": "/usr/bin/python3",
        "node_topology": f"{CARRIED}/topology.sealed",
        "node_trust_documents": [f"{CARRIED}/trust.pem"],
    }
    authority = {
        "ca_issuing": "140000",
        "ca_domain": DOMAIN,
        "ca_passphrase": "a passphrase of words",
        "ca_listen": ADDRESS,
        "ca_topology": f"{CARRIED}/topology.sealed",
        "ca_trust_documents": [f"{CARRIED}/trust.pem"],
        "ca_requests": CARRIED,
    }
    city = {
        "node_authority": {"host": "ca-140000", "address": ADDRESS},
        "node_settings": {
            "node": "140100",
            "tier": "city",
            "zones": {z: {"border": borders[z], "http": f"127.0.0.1:{port}"} for z, port in zones.items()},
        },
    }
    groups = {
        "authority": {"hosts": {"ca-140000": authority}},
        "city": {"hosts": {"140100": city}},
    }
    return {"all": {"vars": every, "children": groups}}


def play(there: Container, *options: str) -> int:
    """How many tasks of `site` changed something, or in check mode would; RuntimeError where one failed."""
    environment = {
        "ANSIBLE_COLLECTIONS_PATH": "/srv/collections",
        "ANSIBLE_HOME": "/run/ansible",
        "ANSIBLE_NOCOLOR": "1",
    }
    said = there.run(
        "ansible-playbook", "-i", f"{CARRIED}/hosts.yml", "jinbao.node.site", *options, **environment
    )
    return sum(map(int, re.findall(r"changed=(\d+)", said)))


def converge(there: Container, carried: Path, ministry: Path) -> None:
    """The authority, which waits for its root, then the city; each looked at before, and run again."""
    told("the authority", play(there, "-l", "authority") > 0)
    _jinbao(ministry, f"ca issue root --request '{carried}/140000.csr' --out '{carried}/140000.pem'")
    certified = f"ca_certificate={CARRIED}/140000.pem"
    told("its certificate", play(there, "-l", "authority", "-e", certified) > 0)
    told("check mode tells of the city", play(there, "-l", "city", "--check") > 0)
    told(
        "and made nothing",
        "none" in there.run("sh", "-c", "ls /etc/jinbao/node.toml 2>/dev/null || echo none"),
    )
    told("the city", play(there, "-l", "city") > 0)
    told("the second run changes nothing", play(there, "-e", certified) == 0)
    told("nor would a third", play(there, "-e", certified, "--check") == 0)
    for zone in ("production", "exchange", "decision"):
        asked = there.run("sh", "-c", f"/usr/local/bin/jinbao status --zone {zone} --json || [ $? = 3 ]")
        told(f"zone {zone} answers", json.loads(asked)["running"] is True)


BEGAN = time.monotonic()


def told(what: str, holds: bool) -> None:
    """Say what holds, or end by what does not."""
    sys.stdout.write(f"{time.monotonic() - BEGAN:6.0f} s  {'ok  ' if holds else 'NOT '}  {what}\n")
    sys.stdout.flush()
    if not holds:
        sys.exit(1)


def main() -> None:
    """Build, boot, converge."""
    if os.geteuid() or (lacking := missing()):
        wanted = "root" if os.geteuid() else f"apt-get install --no-install-recommends {' '.join(lacking)}"
        sys.exit(f"test-ops: expected root and its Debian packages, got neither or one; as root: {wanted}")
    with tempfile.TemporaryDirectory(prefix="jb-carried-") as scratch:
        carried, ministry, collections = (
            Path(scratch) / name for name in ("carried", "ministry", "collections")
        )
        (collections / "ansible_collections" / "jinbao").mkdir(parents=True)
        (collections / "ansible_collections" / "jinbao" / "node").symlink_to(ROOT / "ansible")
        carried.mkdir()
        ministry.mkdir(mode=0o700)
        bundle = build(ROOT, platform.machine(), carried, KEY)
        told("the bundle of this checkout", bundle.is_file())
        public_key(carried)
        found_ministry(ministry)
        for name in ("topology.sealed", "trust.pem"):
            (carried / name).write_bytes((ministry / name).read_bytes())
        (carried / "hosts.yml").write_text(yaml.safe_dump(inventory(bundle.name)), encoding="utf-8")
        with booted(carried, collections) as there:
            told("the container runs", True)
            converge(there, carried, ministry)


if __name__ == "__main__":
    main()
