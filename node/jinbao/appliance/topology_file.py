"""A topology as a person writes it, in TOML: one table `[[nodes]]` per node. Reads and seals; decides nothing about trust.

The format is this module's models; what does not form one tree is refused by the topology itself. What a newer version
may not say is judged by the zone that seals it (`topology_sealing`).
"""

from __future__ import annotations

import tomllib
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from jinbao.appliance.settings import Settings
from jinbao.authority.identity_files import load_identity
from jinbao.model.errors import SettingsError
from jinbao.model.topology import NodeRow, Topology
from jinbao.model.zone import Endpoint, Tier, Zone
from jinbao.trust.documents import seal_topology
from jinbao.trust.encoding import envelope_message
from jinbao.trust.envelope import Signer


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Node(_Strict):
    node: str
    name_zh: str
    name_en: str
    tier: Tier
    parent: str = ""
    zones: tuple[Zone, ...]
    carrier: tuple[Zone, ...] = ()
    addresses: dict[Zone, str] = Field(default_factory=dict)
    epoch: int = Field(1, ge=1)
    dials: Literal["parent", "child"] = "parent"
    protects: tuple[str, ...] = ()

    @field_validator("addresses")
    @classmethod
    def _of_own_zones(cls, addresses: dict[Zone, str], known: ValidationInfo) -> dict[Zone, str]:
        if others := set(addresses) - set(known.data.get("zones", addresses)):
            raise PydanticCustomError("zone", "addresses of its zones alone", {"zones": sorted(others)})
        return addresses

    def row(self) -> NodeRow:
        values = self.model_dump() | {"addresses": tuple(sorted(self.addresses.items()))}
        return NodeRow(region=self.node[:6], **values)


class _File(_Strict):
    trust_domain: str
    version: int = Field(ge=1)
    nodes: tuple[_Node, ...] = Field(min_length=1)


def parse_topology(text: str, thing: str, at: datetime) -> Topology:
    """The topology a text says, made `at`; raises SettingsError that says what is wrong in `thing`."""
    try:
        found = _File(**tomllib.loads(text))
        rows = tuple(node.row() for node in found.nodes)
        return Topology(found.trust_domain, found.version, rows, f"{at:%Y-%m-%dT%H:%M:%SZ}")
    except ValidationError as exc:
        first = exc.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise SettingsError(
            f"{thing}: {place}", expected=first["msg"], got=repr(first["input"])[:120]
        ) from exc
    except ValueError as exc:  # no TOML, or rows that form no tree
        raise SettingsError(f"topology {thing}", expected="nodes of one tree, in TOML", got=exc) from exc


def read_text(path: Path) -> str:
    """What a person wrote; raises SettingsError where there is no text."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as exc:
        raise SettingsError(f"topology {path}", expected="a TOML file", got=exc.strerror) from exc
    except UnicodeDecodeError as exc:
        raise SettingsError(f"topology {path}", expected="text in UTF-8", got=exc.reason) from exc


def require_root(topology: Topology, node: str, thing: str) -> None:
    """Raise SettingsError unless `node` is the root of a topology, with the exchange zone that seals it."""
    if topology.root != node:
        raise SettingsError(
            f"topology {thing}",
            expected=f"{node}, which seals it, as its root",
            got=topology.root,
            next_step="seal it at the root node",
        )
    if not topology.knows(signer := Endpoint(node, Zone.EXCHANGE)):
        raise SettingsError(
            f"topology {thing}",
            expected=f"a row with {signer}, which seals it",
            got="no such zone of that node",
        )


def seal_first(settings: Settings, path: Path, at: datetime) -> tuple[Topology, bytes]:
    """Seal the topology in `path` by the keys of this node's exchange zone, before that zone has a journal.

    Nothing records it: the zone's audit trail begins at its first start. Raises SettingsError where this node is not
    its root: nobody would believe it.
    """
    topology = parse_topology(read_text(path), str(path), at)
    require_root(topology, settings.node, str(path))
    return topology, sealed(topology, load_identity(settings.directory(Zone.EXCHANGE) / "identity"))


def sealed(topology: Topology, signer: Signer) -> bytes:
    """A topology under a seal, as its file holds it."""
    return envelope_message(seal_topology(topology, signer)).SerializeToString()


def write_sealed(out: Path, content: bytes) -> None:
    """Lay a sealed topology down: whole, or not at all."""
    made = out.with_name(f"{out.name}.new")
    made.write_bytes(content)
    made.replace(out)
