"""The support bundle: one archive of a node's state, made of what `allowed` lets out and of nothing else.

    about.json settings.json doctor.json standards.json
    <zone>/facts.json <zone>/status.json <zone>/topology.json <zone>/metrics.prom <zone>/log.jsonl

A running zone is asked; of a stopped one there is what the doctor can read, for to open it would record something.
Names of accounts are not in the archive's own headers either. Sends nothing.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import sqlite3
import tarfile
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from jinbao import __version__
from jinbao.appliance import admin_client
from jinbao.appliance.doctor.context import NodeContext, Surroundings, ZoneContext
from jinbao.appliance.doctor.examine import examine
from jinbao.appliance.doctor.findings import UnknownError
from jinbao.appliance.doctor.rules import place
from jinbao.appliance.settings import Settings
from jinbao.appliance.support import allowed
from jinbao.model.errors import JinbaoError, LocalError
from jinbao.model.zone import Zone
from jinbao.registry.standards import load_standards

EVENTS_MAX = 1000
"""Newest events of a log."""

LOG_BYTES_MAX = 8 << 20
"""End of a log that is read for them."""

LOG = "log.jsonl"
"""Where a zone's log lies in its directory, if it goes to a file."""

LIBRARIES = (
    "sqlalchemy",
    "polars",
    "pyarrow",
    "duckdb",
    "grpcio",
    "cryptography",
    "pydantic",
    "psycopg",
    "alembic",
)

Part = tuple[str, bytes]


def write(
    file: Path,
    settings: Settings,
    config: Path,
    *,
    logs: Sequence[Path] = (),
    around: Surroundings | None = None,
) -> list[tuple[str, int]]:
    """Write the bundle, whole, for this account alone; names and bytes of its parts. LocalError for a file there is."""
    node = NodeContext(settings, config.absolute(), around or Surroundings())
    made = list(parts(node, logs))
    content = _archive(made, gzip=file.suffix in {".gz", ".tgz"})
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as exc:
        raise LocalError(f"bundle {file}", expected="no file", got="one", next_step="name another") from exc
    with os.fdopen(descriptor, "wb") as archive:
        archive.write(content)
    return [(name, len(body)) for name, body in made]


def _archive(made: Sequence[Part], *, gzip: bool) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz" if gzip else "w") as archive:
        for name, body in made:
            member = tarfile.TarInfo(name)  # no account, no time of anybody's file
            member.size, member.mode = len(body), 0o600
            archive.addfile(member, io.BytesIO(body))
    return content.getvalue()


def parts(node: NodeContext, logs: Sequence[Path]) -> Iterator[Part]:
    """Every part by name."""
    settings = node.settings
    lines = examine(settings, node.config, around=node.around)
    yield "about.json", _json(_about(node))
    yield "settings.json", _json(allowed.settings(settings))
    yield "doctor.json", _json(allowed.findings(lines))
    yield "standards.json", _json(_standards(place(node)))
    for zone in settings.zones:
        yield from _of_zone(ZoneContext(node, zone))
    for at, log in enumerate(logs, 1):
        yield f"log-{at}.jsonl", allowed.log(tail(log)).encode()


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()


def _about(node: NodeContext) -> dict[str, Any]:
    return {
        "made_at": allowed.time_of(node.around.now().isoformat()),
        "version": allowed.word(__version__, allowed.VERSION),
        "python": platform.python_version(),
        "system": allowed.among(platform.system(), ("Linux",)),
        "machine": allowed.among(platform.machine(), ("x86_64", "aarch64", "loongarch64", "sw_64")),
        "sqlite": sqlite3.sqlite_version,
        "processors": os.cpu_count(),
        "libraries": {name: _version(name) for name in LIBRARIES},
    }


def _version(name: str) -> str:
    try:
        return allowed.word(version(name), allowed.VERSION)
    except PackageNotFoundError:
        return ""


def _standards(directory: Path) -> dict[str, Any]:
    """Versions of the standards here, and the hash of each file, by library."""
    try:
        found = load_standards(directory / "standards")
    except JinbaoError as exc:
        return {"error": exc.code}
    return {
        allowed.standard(standard.id): {
            "rules": sum(len(table.rules) for table in standard.tables),
            "sha256": _hash(directory / "standards" / f"{library}.toml"),
            "mapping_sha256": _hash(directory / "mappings" / f"{library}.toml"),
        }
        for library, standard in found.items()
    }


def _hash(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _of_zone(zone: ZoneContext) -> Iterator[Part]:
    name = str(zone.zone)
    try:
        yield f"{name}/facts.json", _json(allowed.facts(zone.facts))
    except UnknownError as exc:
        yield f"{name}/facts.json", _json({"error": allowed.word(exc.code, allowed.CODE)})
    if zone.is_running:
        yield from _asked(zone, name)
    log = zone.directory / LOG
    if log.is_file():
        yield f"{name}/log.jsonl", allowed.log(tail(log)).encode()


def _asked(zone: ZoneContext, name: str) -> Iterator[Part]:
    """What only a running zone knows."""

    def ask(question: str) -> dict[str, Any]:
        return admin_client.ask(zone.settings, Zone(zone.zone), question)

    try:
        yield f"{name}/status.json", _json(allowed.status(ask("status")))
        yield f"{name}/topology.json", _json(allowed.topology(ask("topology")))
        yield f"{name}/metrics.prom", allowed.metrics(ask("doctor.metrics")["text"]).encode()
    except JinbaoError as exc:
        yield f"{name}/error.json", _json({"error": exc.code})


def tail(path: Path) -> list[str]:
    """The newest lines of a file, as many as there may be events."""
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        size = file.tell()
        file.seek(max(0, size - LOG_BYTES_MAX))
        lines = file.read().decode("utf-8", "replace").splitlines()
    whole = lines[1:] if size > LOG_BYTES_MAX else lines
    return whole[-EVENTS_MAX:]
