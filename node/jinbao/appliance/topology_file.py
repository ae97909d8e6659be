"""A topology as a person writes it, in TOML: one table `[[nodes]]` per node. Reads and seals; decides nothing about trust.

The format is this module's models; what does not form one tree is refused by the topology itself.
"""

from __future__ import annotations

import tomllib
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jinbao.appliance.settings import Settings
from jinbao.authority.identity_files import load_identity
from jinbao.model.errors import SettingsError
from jinbao.model.topology import NodeRow, Topology
from jinbao.model.zone import Tier, Zone
from jinbao.trust.documents import seal_topology
from jinbao.trust.encoding import envelope_message


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

    def row(self) -> NodeRow:
        values = self.model_dump() | {"addresses": tuple(sorted(self.addresses.items()))}
        return NodeRow(region=self.node[:6], **values)


class _File(_Strict):
    trust_domain: str
    version: int = Field(ge=1)
    nodes: tuple[_Node, ...] = Field(min_length=1)


def read_topology(path: Path, at: datetime) -> Topology:
    """The topology a file names, made `at`; raises SettingsError that says what is wrong."""
    try:
        found = _File(**tomllib.loads(path.read_text(encoding="utf-8")))
        rows = tuple(node.row() for node in found.nodes)
        return Topology(found.trust_domain, found.version, rows, f"{at:%Y-%m-%dT%H:%M:%SZ}")
    except OSError as exc:
        raise SettingsError(f"topology {path}", expected="a TOML file", got=exc.strerror) from exc
    except ValidationError as exc:
        first = exc.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise SettingsError(
            f"{path}: {place}", expected=first["msg"], got=repr(first["input"])[:120]
        ) from exc
    except ValueError as exc:  # no TOML, or rows that form no tree
        raise SettingsError(f"topology {path}", expected="nodes of one tree, in TOML", got=exc) from exc


def seal_file(settings: Settings, path: Path, out: Path, at: datetime) -> Topology:
    """Seal the topology in `path` by this node's exchange zone and write it to `out`; the topology.

    Raises SettingsError where this node is not its root: nobody would believe it.
    """
    topology = read_topology(path, at)
    if topology.root != settings.node:
        raise SettingsError(
            f"topology {path}",
            expected=f"{settings.node}, which seals it, as its root",
            got=topology.root,
            next_step="seal it at the root node",
        )
    signer = load_identity(settings.directory(Zone.EXCHANGE) / "identity")
    made = out.with_name(f"{out.name}.new")
    made.write_bytes(envelope_message(seal_topology(topology, signer)).SerializeToString())
    made.replace(out)
    return topology
