"""What a bureau's Prometheus, Alertmanager and Grafana need of this product: written to a directory, and kept up to date.

A file that somebody changed is theirs: it is named and left as it is. Starts and asks nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from cryptography import x509

from jinbao.appliance.settings import Settings
from jinbao.appliance.trust_drop import read_documents
from jinbao.appliance.trust_keeper import read_topology
from jinbao.model.errors import LocalError, SettingsError, UsageError
from jinbao.model.places import monitoring_directory
from jinbao.model.topology import Topology
from jinbao.model.zone import Zone
from jinbao.trust.book import TrustBook

WRITTEN = ".written.json"
"""What was written last, by file: SHA-256. A file that is not as it says was changed by hand."""

WEBHOOK = "http://127.0.0.1:8060/alerts"
ALERTMANAGER = "127.0.0.1:9093"
"""What the files we ship say; replaced by what a site names."""

PORTS = {Zone.PRODUCTION: 9101, Zone.EXCHANGE: 9102, Zone.DECISION: 9103}
"""Where each zone's pages are by the settings we ship (`tiers/`): a topology names lines, not pages."""

_FOLDERS = ("", "alertmanager", "runbooks", "dashboards", "dashboards/provisioning")

State = Literal["written", "renewed", "same", "kept"]
"""New; ours and of another release; as it was; changed by hand and left."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file."""

    file: str
    state: State


def shipped(webhook: str = WEBHOOK, alertmanager: str = ALERTMANAGER) -> Iterator[tuple[str, bytes]]:
    """Every file of this release by its name, with the site's webhook and Alertmanager in it."""
    source = monitoring_directory()
    for folder in _FOLDERS:
        for path in sorted((source / folder).glob("*.*")):
            if path.is_file():
                text = path.read_text(encoding="utf-8")
                text = text.replace(f"'{WEBHOOK}'", f"'{webhook}'").replace(
                    f"'{ALERTMANAGER}'", f"'{alertmanager}'"
                )
                yield str(path.relative_to(source)), text.encode()


def write(directory: Path, files: Mapping[str, bytes], *, force: bool = False) -> list[Outcome]:
    """Make a directory hold these files, but for those that were changed by hand, unless `force`.

    Raises LocalError where a directory or file cannot be written.
    """
    known = _known(directory)
    outcomes = []
    try:
        for name, content in files.items():
            state = _state(directory / name, content, known.get(name, ""), force=force)
            if state in {"written", "renewed"}:
                _replace(directory / name, content)
            if state != "kept":
                known[name] = _hash(content)
            outcomes.append(Outcome(name, state))
        (directory / "targets").mkdir(exist_ok=True)
        _replace(directory / WRITTEN, json.dumps(known, indent=1, sort_keys=True).encode())
    except OSError as exc:
        raise LocalError(
            f"directory {directory}", expected="one that can be written", got=exc.strerror or str(exc)
        ) from exc
    return outcomes


def _state(path: Path, content: bytes, last: str, *, force: bool) -> State:
    if not path.exists():
        return "written"
    found = path.read_bytes()
    if found == content:
        return "same"
    return "renewed" if force or _hash(found) == last else "kept"


def _known(directory: Path) -> dict[str, str]:
    """What the last run wrote; nothing where there was none, or its note is no more to be read."""
    try:
        found = json.loads((directory / WRITTEN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(name): str(sha256) for name, sha256 in found.items()} if isinstance(found, dict) else {}


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(content)
    os.replace(part, path)  # noqa: PTH105  # whole or not at all: Prometheus may read meanwhile


def targets(settings: Settings, host: str = "") -> list[dict[str, object]]:
    """Every zone of a node as Prometheus lists targets in a file; `host` instead of the address each listens on.

    Raises SettingsError for a zone whose port is chosen at its start: nobody would find it.
    """
    found: list[dict[str, object]] = []
    for zone, chosen in settings.zones.items():
        address, _, port = chosen.http.rpartition(":")
        if port == "0":
            raise SettingsError(
                f"zones.{zone}.http",
                expected="a port that Prometheus finds",
                got=chosen.http,
                next_step=f'set zones.{zone}.http = "{address}:910…"',
            )
        labels = {"endpoint": f"{settings.node}/{zone}", "tier": str(settings.tier)}
        found.append({"targets": [f"{host or address}:{port}"], "labels": labels})
    return found


def proved_topology(file: Path, root: Path, trust: Path, now: datetime) -> Topology:
    """The signed topology of a file, proved up to the network's root on a host that runs no zone.

    `root` holds root certificates and `trust` what `jinbao ca export` wrote. Raises SettingsError or
    UsageError for a file that is not there or not what it should be, IdentityError or UnprovableError otherwise.
    """
    try:
        anchors = x509.load_pem_x509_certificates(root.read_bytes())
        documents = [document.body for document in read_documents(trust)]
    except (OSError, ValueError) as exc:
        raise UsageError(
            f"{root} and {trust}", expected="root certificates, and trust documents, PEM", got=str(exc)
        ) from exc
    return read_topology(file, TrustBook.of(anchors, documents), now)[1]


def targets_of_network(topology: Topology) -> list[dict[str, object]]:
    """Every zone that has an address in the topology, at that host and the port of its pages, by node.

    A decision zone has none: it answers its own host alone, and so a Prometheus there.
    """
    found: list[dict[str, object]] = []
    for row in sorted(topology.rows, key=lambda row: row.node):
        for zone, address in row.addresses:
            labels = {"endpoint": f"{row.node}/{zone}", "tier": str(row.tier)}
            host = address.rpartition(":")[0]
            found.append({"targets": [f"{host}:{PORTS[zone]}"], "labels": labels})
    return found
