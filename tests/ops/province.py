"""The network that is deployed: who is in it, its topology, and the inventory an operator writes of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

DOMAIN = "jinbao.example"
MINISTRY, PROVINCE, BACKUP = "100000", "140000", "140000-backup"
CITIES = ("140100", "140200")
ADDED = "140300"
"""The city that comes later."""

WATCH = "watch-140000"
"""Who watches everybody, on the backup site's machine."""

ON_A_SERVER = ("140200",)
"""Nodes whose zones keep their rows on a PostgreSQL server beside them."""

ADDRESSES = {
    MINISTRY: "192.0.2.10",
    PROVINCE: "192.0.2.14",
    "140100": "192.0.2.21",
    "140200": "192.0.2.22",
    ADDED: "192.0.2.23",
    BACKUP: "192.0.2.30",
}
NAMES = {
    MINISTRY: ("部级数据中心", "Ministry"),
    PROVINCE: ("山西省数据中心", "Shanxi"),
    "140100": ("太原市数据中心", "Taiyuan"),
    "140200": ("大同市数据中心", "Datong"),
    ADDED: ("阳泉市数据中心", "Yangquan"),
    BACKUP: ("山西省灾备中心", "Shanxi backup"),
}
HTTP = {"production": 9101, "exchange": 9102, "decision": 9103}
LINE = {"production": 17101, "exchange": 17102}
AUTHORITY_PORT = 7443
PERIOD = "202410"
BUSINESS = "/srv/business/city.db"
"""A city's business database on its machine, which the zone reads and never writes."""


def tier_of(node: str) -> str:
    """The tier a node is of."""
    return {MINISTRY: "ministry", PROVINCE: "province", BACKUP: "province"}.get(node, "city")


def zones_of(node: str) -> list[str]:
    """Zones of a node, in the order they are started."""
    if node == BACKUP:
        return ["exchange"]
    return (["production"] if tier_of(node) == "city" else []) + ["exchange", "decision"]


def topology(version: int, cities: tuple[str, ...]) -> str:
    """The topology as the persons at the ministry write it."""
    parts = [f'trust_domain = "{DOMAIN}"\nversion = {version}\n']
    for node in (MINISTRY, PROVINCE, *cities, BACKUP):
        zones, address = zones_of(node), ADDRESSES[node]
        listeners = {zone: f"{address}:{LINE[zone]}" for zone in zones if zone in LINE}
        row: dict[str, Any] = {"node": node, "name_zh": NAMES[node][0], "name_en": NAMES[node][1]}
        row |= {"tier": tier_of(node), "zones": zones}
        row |= {} if node == MINISTRY else {"parent": PROVINCE if tier_of(node) == "city" else MINISTRY}
        row |= {"carrier": ["decision"]} if "decision" in zones else {}
        row |= {"protects": [PROVINCE, *cities]} if node == BACKUP else {}
        lines = [f"{key} = {_toml(value)}" for key, value in row.items()]
        lines += [f'addresses.{zone} = "{where}"' for zone, where in listeners.items()]
        parts.append("\n".join(["[[nodes]]", *lines]) + "\n")
    return "\n".join(parts)


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    return f'"{value}"'


def settings(node: str, copies: Mapping[str, str]) -> dict[str, Any]:
    """A node's settings as the inventory holds them; `copies` are the public keys that open its copies."""
    zones = {
        zone: {
            "border": "carrier" if zone == "decision" else "line",
            "http": f"{'127.0.0.1' if zone == 'decision' else ADDRESSES[node]}:{HTTP[zone]}",
        }
        for zone in zones_of(node)
    }
    if node in ON_A_SERVER:
        for zone, one in zones.items():
            one["database"] = f"postgresql+psycopg://jinbao-{zone}@/jinbao-{zone}?host=/var/run/postgresql"
    found: dict[str, Any] = {"node": node, "tier": tier_of(node), "period": PERIOD, "zones": zones}
    found["pace"] = {"interval_s": 3.0, "backoff_max_s": 10.0}
    if node == BACKUP:
        found["role"] = "backup"
    elif node != MINISTRY:
        found["copies"] = dict(copies)
    if node == PROVINCE:
        found["authorities"] = {PROVINCE: f"{ADDRESSES[PROVINCE]}:{AUTHORITY_PORT}"}
    if tier_of(node) == "city":
        found["sources"] = [{"name": "city", "url": f"sqlite:///{BUSINESS}"}]
        found["pace"]["capture_cron"] = "* * * * *"
    return found


def inventory(
    carried: Path,
    bundle: Path,
    copies: Mapping[str, str],
    cities: tuple[str, ...],
    options: Mapping[str, Any],
) -> str:
    """The inventory of these cities, as YAML; an authority shares the machine of the node it is of."""
    every = {
        "ansible_user": "root",
        "ansible_python_interpreter": "/usr/bin/python3",
        "node_bundle": str(bundle),
        "node_release_key": str(carried / "release.pub.pem"),
        "node_python": "/usr/bin/python3",
        "node_backup": "/srv/backup",
        **options,
    }
    authorities = {
        f"ca-{node}": {
            "ansible_host": ADDRESSES[node],
            "ca_issuing": node,
            "ca_domain": DOMAIN,
            "ca_passphrase": "a passphrase of words",
            "ca_listen": f"{ADDRESSES[node]}:{AUTHORITY_PORT}",
            "ca_requests": str(carried),
        }
        for node in (MINISTRY, PROVINCE)
    }
    groups = {
        "authority": authorities,
        "ministry": {MINISTRY: _host(MINISTRY, copies)},
        "province": {PROVINCE: _host(PROVINCE, copies)},
        "city": {city: _host(city, copies) for city in cities},
        "backup_site": {BACKUP: _host(BACKUP, copies)},
        "database": {node: {"database_zones": zones_of(node)} for node in ON_A_SERVER},
        "monitoring": {WATCH: {"ansible_host": ADDRESSES[BACKUP]} | _proof(carried)},
    }
    children = {name: {"hosts": hosts} for name, hosts in groups.items()}
    return yaml.safe_dump({"all": {"vars": every, "children": children}}, allow_unicode=True)


def _proof(carried: Path) -> dict[str, str]:
    """What proves the topology to who watches."""
    names = {"topology": "topology.sealed", "root": "root.pem", "trust": "trust.pem"}
    return {f"monitoring_{what}": str(carried / name) for what, name in names.items()}


def _host(node: str, copies: Mapping[str, str]) -> dict[str, Any]:
    above = PROVINCE if tier_of(node) == "city" else MINISTRY
    authority = {"host": f"ca-{above}", "address": f"{ADDRESSES[above]}:{AUTHORITY_PORT}"}
    return {
        "ansible_host": ADDRESSES[node],
        "node_authority": authority,
        "node_settings": settings(node, copies),
    }
