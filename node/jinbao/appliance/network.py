"""A whole network on one machine: directories, settings, certificates and the signed topology of several nodes.

For the demonstration and for tests. Every zone gets its own private directory and
certificate from authorities beside it; a real network is deployed node by node instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Any

from jinbao.appliance.loopback import free_port
from jinbao.appliance.settings import Settings
from jinbao.authority.copy_keys import PURPOSES, CopyKey, create_copy_key, load_copy_key
from jinbao.authority.demo import DemoAuthorities
from jinbao.authority.identity_files import load_identity
from jinbao.authority.person_keys import create_person_key, load_person_key
from jinbao.authority.private_files import make_private, read_secret, write_private
from jinbao.model.topology import NodeRow, Topology
from jinbao.model.zone import Border, Endpoint, Tier, Zone
from jinbao.trust.documents import seal_topology
from jinbao.trust.encoding import envelope_message

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

TRUST_DOMAIN = "jinbao.demo"
AUTHORITIES = "authorities"
"""Folder of a network that holds its authorities, one each: `jinbao ca list DIR/authorities/140000`."""

COPY_KEYS = "copy-keys"
"""Folder of a network that holds the keys which open its backup site's copies, `drill.pem` and `escrow.pem`."""

PERSONS = "persons"
"""Folder of a network that holds the keys of two persons who may declare a node lost, each with its passphrase."""

DECLARANTS = ("li", "wang")

ALL_ZONES = (Zone.PRODUCTION, Zone.EXCHANGE, Zone.DECISION)


@dataclass(frozen=True, slots=True)
class PlannedNode:
    """One node of a network to be made; `sources` as in settings, a backup site names whom it `protects`."""

    node: str
    name_zh: str
    name_en: str
    tier: Tier
    parent: str
    sources: tuple[Mapping[str, Any], ...] = ()
    databases: Mapping[Zone, str] = field(default_factory=dict)
    """URL by zone; a zone without one keeps its own file."""
    protects: tuple[str, ...] = ()
    epoch: int = 1

    @property
    def zones(self) -> tuple[Zone, ...]:
        """Cities have all three zones, the tiers above exchange and decision, a backup site exchange alone."""
        if self.protects:
            return (Zone.EXCHANGE,)
        return ALL_ZONES if self.tier is Tier.CITY else ALL_ZONES[1:]


DEMO_NODES = (
    PlannedNode("100000", "部级数据中心", "Ministry", Tier.MINISTRY, ""),
    PlannedNode("140000", "山西省数据中心", "Shanxi", Tier.PROVINCE, "100000"),
    PlannedNode("140100", "太原市数据中心", "Taiyuan", Tier.CITY, "140000"),
    PlannedNode("140200", "大同市数据中心", "Datong", Tier.CITY, "140000"),
)

BACKUP = PlannedNode(
    "140000-backup",
    "山西省灾备中心",
    "Shanxi backup",
    Tier.PROVINCE,
    "100000",
    protects=("140000", "140100", "140200"),
)
"""The province's backup site, a child of the ministry: it shares nothing with whom it protects."""


def plan_topology(nodes: Sequence[PlannedNode]) -> Topology:
    """The topology of planned nodes, exchange zones on free loopback ports."""
    rows = [
        NodeRow(
            node=node.node,
            name_zh=node.name_zh,
            name_en=node.name_en,
            tier=node.tier,
            region=node.node[:6],
            parent=node.parent,
            zones=node.zones,
            carrier=(Zone.DECISION,),
            addresses=tuple((z, f"127.0.0.1:{free_port()}") for z in node.zones if z is not Zone.DECISION),
            protects=node.protects,
            epoch=node.epoch,
        )
        for node in nodes
    ]
    return Topology(TRUST_DOMAIN, 1, tuple(rows))


def make_network(
    directory: Path,
    nodes: Sequence[PlannedNode],
    *,
    overrides: Mapping[str, Any] | None = None,
    authorities: DemoAuthorities | None = None,
    made_at: datetime | None = None,
) -> tuple[Topology, dict[str, Settings]]:
    """Write authorities, identities and the signed topology under `directory`; returns settings by node."""
    moment = made_at or datetime.now(UTC)
    topology = replace(plan_topology(nodes), made_at=f"{moment:%Y-%m-%dT%H:%M:%SZ}")
    authorities = authorities or DemoAuthorities(directory=directory / AUTHORITIES)
    settings = {}
    for node in nodes:
        home = directory / node.node
        for zone in node.zones:
            (home / zone).mkdir(mode=0o700, parents=True, exist_ok=True)
            authorities.issue(Endpoint(node.node, zone), topology, home / zone / "identity")
        mine = {"copies": _copies(directory, node, nodes)} | _promotion(directory, node, nodes)
        mine |= dict(overrides or {})
        settings[node.node] = _settings(node, home, directory / "topology.sealed", mine)
    root = next(node.node for node in nodes if not node.parent)
    signer = load_identity(directory / root / Zone.EXCHANGE / "identity")
    sealed = seal_topology(topology, signer)
    (directory / "topology.sealed").write_bytes(envelope_message(sealed).SerializeToString())
    for node in nodes:
        write_settings(directory / node.node, settings[node.node])
    return topology, settings


def write_settings(home: Path, settings: Settings) -> None:
    """Write a node's settings into its directory."""
    text = to_toml(settings.model_dump(mode="json", exclude_defaults=True))
    (home / "node.toml").write_text(text, encoding="utf-8")


def _promotion(directory: Path, node: PlannedNode, nodes: Sequence[PlannedNode]) -> dict[str, Any]:
    """Who may declare a node below lost, where anything below is protected; their keys are made where there are none."""
    below = {other.node for other in nodes if other.parent == node.node}
    if not any(below & set(other.protects) for other in nodes):
        return {}
    return {"promotion": {"persons": {name: _person(directory, name) for name in DECLARANTS}}}


def _person(directory: Path, name: str) -> str:
    path = directory / PERSONS / f"{name}.pem"
    passphrase = path.with_suffix(".pass")
    if not path.exists():
        make_private(path.parent)
        write_private(passphrase, f"{token_hex(16)}\n".encode())
        create_person_key(path, read_secret(passphrase))
    return load_person_key(path, read_secret(passphrase)).public_text


def _copies(directory: Path, node: PlannedNode, nodes: Sequence[PlannedNode]) -> dict[str, Any]:
    """Whose keys open copies of a node, or the key by which a backup site drills; they are made where there are none."""
    if node.protects:
        return {"drill_key_file": directory / COPY_KEYS / "drill.pem"}
    if not any(node.node in other.protects for other in nodes):
        return {}
    return {f"{purpose}_key": _copy_key(directory, purpose).public_text for purpose in PURPOSES}


def _copy_key(directory: Path, purpose: str) -> CopyKey:
    path = directory / COPY_KEYS / f"{purpose}.pem"
    if path.exists():
        return load_copy_key(path, (), (purpose,))
    make_private(path.parent)
    return create_copy_key(path, (), purpose)


def _settings(node: PlannedNode, home: Path, topology: Path, overrides: Mapping[str, Any]) -> Settings:
    zones = {
        zone: {
            "border": Border.CARRIER if zone is Zone.DECISION else Border.LINE,
            "http": f"127.0.0.1:{free_port()}",
            "database": node.databases.get(zone, ""),
        }
        for zone in node.zones
    }
    body: dict[str, Any] = {
        "node": node.node,
        "tier": node.tier,
        "role": "backup" if node.protects else "node",
        "data_directory": home,
        "topology_file": topology,
        "zones": zones,
        "sources": list(node.sources),
    }
    return Settings(**(body | dict(overrides)))


def to_toml(body: Mapping[str, Any]) -> str:
    """A settings dictionary as TOML: plain keys first, then tables. What is None is left out: TOML has none."""
    return "\n".join(_tables(body, ())).strip("\n") + "\n"


def _tables(body: Mapping[str, Any], at: tuple[str, ...]) -> Iterator[str]:
    """Plain keys first: what stands below a table's head belongs to that table."""
    for key, value in body.items():
        if value is not None and not isinstance(value, Mapping) and not _is_tables(value):
            yield f"{_key(key)} = {_value(value)}"
    for key, value in body.items():
        name = (*at, _key(key))
        if isinstance(value, Mapping):
            yield from ("", f"[{'.'.join(name)}]", *_tables(value, name))
        elif _is_tables(value):
            for one in value:
                yield from ("", f"[[{'.'.join(name)}]]", *_tables(one, name))


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, Mapping) for one in value)


def _key(key: str) -> str:
    """As it is where TOML reads it bare, else quoted: `line.peers` names neighbours such as `140200/exchange`."""
    return key if _BARE_KEY.fullmatch(key) else _text(key)


def _text(text: str) -> str:
    """JSON's escapes are TOML's; only DEL is open there and must be closed here."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if isinstance(value, (bool, int, float)):
        return json.dumps(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(v) for v in value) + "]"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + " }"
    return _text(str(value))
