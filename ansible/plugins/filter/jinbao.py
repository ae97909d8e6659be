"""Filters of the collection: settings as TOML, what a host or a node may not have, what a doctor finds new.

Plain functions of the standard library: they run on the controller, where no jinbao need be installed.
"""

from __future__ import annotations

import json
import re
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BUNDLE = re.compile(r"jinbao-(\d+\.\d+\.\d+)-linux-([a-z0-9_]+)\.tar\.zst")
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_NODE = re.compile(r"[0-9]{6}(-backup)?")
_GLIBC, _PYTHON = (2, 28), (3, 11)
"""The oldest a release runs on."""


def to_toml(body: Mapping[str, Any]) -> str:
    """A dictionary as a TOML document; entries that are None are left out, as TOML has none."""
    return "\n".join(_tables(body, ())).strip("\n") + "\n"


def _tables(body: Mapping[str, Any], at: tuple[str, ...]) -> Iterable[str]:
    """Plain keys first: what stands below a table's head belongs to that table."""
    for key, value in body.items():
        if value is not None and not _is_table(value) and not _is_tables(value):
            yield f"{_key(key)} = {_value(value)}"
    for key, value in body.items():
        name = (*at, _key(key))
        if _is_table(value):
            yield from ("", f"[{'.'.join(name)}]", *_tables(value, name))
        elif _is_tables(value):
            for one in value:
                yield from ("", f"[[{'.'.join(name)}]]", *_tables(one, name))


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, Mapping) for one in value)


def _key(key: Any) -> str:
    text = str(key)
    return text if _PLAIN_KEY.fullmatch(text) else _text(text)


def _text(text: str) -> str:
    """JSON's escapes are TOML's; only DEL is open there and must be closed here."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if isinstance(value, (bool, int, float)):
        return json.dumps(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(one) for one in value) + "]"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + " }"
    return _text(str(value))


def bundle_version(path: str) -> str:
    """The release a bundle's file name says; ValueError for another name."""
    return _named(path)[1]


def bundle_arch(path: str) -> str:
    """The architecture a bundle's file name says; ValueError for another name."""
    return _named(path)[2]


def _named(path: str) -> re.Match[str]:
    found = _BUNDLE.fullmatch(str(path).rpartition("/")[2])
    if found is None:
        msg = f"bundle {path or '(none)'}: expected a file jinbao-X.Y.Z-linux-ARCH.tar.zst; set node_bundle"
        raise ValueError(msg)
    return found


def step_refused(current: str, wanted: str) -> str:
    """Why release `wanted` may not follow `current`; empty if it may, or if nothing is installed.

    A release exchanges with the one before it and changes a database by one step: no minor is left
    out, and what is older is gone back to with rollback.yml.
    """
    if not current:
        return ""
    now, then = _numbers(current), _numbers(wanted)
    if then < now:
        return f"release {wanted}: expected {current} or newer, got an older one; go back with rollback.yml"
    following = {now[:2], (now[0], now[1] + 1), (now[0] + 1, 0)}
    if then[:2] not in following:
        step = f"{now[0]}.{now[1] + 1} or {now[0] + 1}.0"
        return f"release {wanted}: expected a step from {current} to {step}, got a skipped release; install that first"
    return ""


def _numbers(version: str) -> tuple[int, int, int]:
    found = _VERSION.fullmatch(version)
    if found is None:
        msg = f"release {version}: expected three numbers, such as 1.4.2"
        raise ValueError(msg)
    return int(found[1]), int(found[2]), int(found[3])


def host_refused(look: Mapping[str, Any], name: str, needs: Mapping[str, Any]) -> list[str]:
    """Each reason why a host may not have a release, in both languages; all at once, before anything is touched.

    `look` is what the module of that name answered about the host `name`. `needs` are `version`, the `python` that was
    named, `offset_s`, how far the host's clock may be from this one's, and `free_mib` below each directory.
    """
    step = step_refused(look["releases"]["current"], needs["version"])
    return [
        *_machine_refused(look, name, needs),
        *([f"{step}. 不得跨越版本升级。"] if step else []),
        *_room_refused(look, needs),
    ]


def _machine_refused(look: Mapping[str, Any], name: str, needs: Mapping[str, Any]) -> list[str]:
    glibc, python = look["glibc"], look["python"]
    offset = abs(int(time.time()) - look["now"])
    found = (
        (
            look["service_manager"] != "systemd",
            f"Host {name}: expected systemd, got another service manager; zones are its services. 该主机未运行 systemd。",
        ),
        (
            not glibc or _two(glibc) < _GLIBC,
            (
                f"C library: expected glibc {_dotted(_GLIBC)} or newer, got {glibc or 'another'}; "
                f"install on Debian 12 or newer. 需要 glibc {_dotted(_GLIBC)} 或更新版本。"
            ),
        ),
        (
            not python or _two(python) < _PYTHON,
            (
                f"Python {needs['python'] or 'python3'}: expected {_dotted(_PYTHON)} or newer with the module venv, got "
                f"{python or 'none'}; apt-get install python3, or name one: node_python. "
                f"需要带 venv 模块的 Python {_dotted(_PYTHON)} 或更新版本。"
            ),
        ),
        (
            offset > needs["offset_s"],
            (
                f"Clock: expected within {needs['offset_s']} s of the controller's, got {offset} s; certificates begin "
                "and end by it: let chrony or systemd-timesyncd follow the network's clock. 时钟偏差过大，请先同步时钟。"
            ),
        ),
    )
    return [said for is_so, said in found if is_so]


def _room_refused(look: Mapping[str, Any], needs: Mapping[str, Any]) -> list[str]:
    if look["releases"]["current"] == needs["version"]:
        return []
    wanted = needs["free_mib"]
    return [
        f"Room below {place}: expected {wanted} MiB, got {free} MiB; free some, or give it a volume. {place} 剩余空间不足。"
        for place, free in look["free_mib"].items()
        if free < wanted
    ]


def _two(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def node_refused(settings: Mapping[str, Any], look: Mapping[str, Any], files: Iterable[str]) -> list[str]:
    """Each reason why a host may not become the node of these settings; `files` are to be on the controller.

    What the settings themselves say wrongly is told where they are written; here, what does not fit together.
    """
    return [
        *_shape_refused(settings),
        *_ports_refused(settings, look),
        *(
            f"File {file}: expected one on the controller, got none. 控制机上没有文件 {file}。"
            for file in files
            if not Path(file).is_file()
        ),
    ]


def _shape_refused(settings: Mapping[str, Any]) -> list[str]:
    node, tier, role = str(settings["node"]), settings["tier"], settings.get("role") or "node"
    zones = list(settings.get("zones") or {})
    fits = (
        _NODE.fullmatch(node) is not None,
        "exchange" in zones,
        role == "node" or zones == ["exchange"],
        tier == "city" or "production" not in zones,
        not settings.get("sources") or "production" in zones,
    )
    if all(fits):
        return []
    said = (
        f"Settings of {node}: expected six digits (and -backup), an exchange zone, production at cities alone, sources "
        f"where there is production, exchange alone at a backup site; got tier {tier}, role {role}, "
        f"zones {', '.join(zones)}. 节点 {node} 的分区与级别、角色不符，请修改 node_settings。"
    )
    return [said]


def _ports_refused(settings: Mapping[str, Any], look: Mapping[str, Any]) -> list[str]:
    """Ports of zones that do not run, which something listens on; what is no port is told where settings are written."""
    zones = settings.get("zones") or {}
    ports = {
        zone: str((one or {}).get("http") or "").rpartition(":")[2]
        for zone, one in zones.items()
        if f"jinbao-{zone}.service" not in look["running"]
    }
    return [
        f"Port {port} of zone {zone}: expected a free one, got one another program listens on; see ss -ltnp, or set "
        f"node_settings.zones.{zone}.http. 端口 {port} 已被其他程序占用。"
        for zone, port in ports.items()
        if port in map(str, look["listening"])
    ]


def to_lay(file: str, place: str, attributes: Mapping[str, str]) -> dict[str, str]:
    """A file of the controller for the module `lay`: at `place`, or by its own name in a `place` that ends with /."""
    source = Path(file)
    path = place + source.name if place.endswith("/") else place
    return {**attributes, "path": path, "base64": b64encode(source.read_bytes()).decode()}


def new_reds(after: Iterable[Mapping[str, Any]], before: Iterable[Mapping[str, Any]]) -> list[str]:
    """Codes with their zones that `jinbao doctor --json` calls red after an act and did not before."""
    return sorted(_reds(after) - _reds(before))


def _reds(lines: Iterable[Mapping[str, Any]]) -> set[str]:
    return {f"{one.get('zone', '')} {one['code']}".strip() for one in lines if one.get("state") == "red"}


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Every filter by its name within the collection."""
        return {
            "to_toml": to_toml,
            "bundle_version": bundle_version,
            "bundle_arch": bundle_arch,
            "step_refused": step_refused,
            "host_refused": host_refused,
            "node_refused": node_refused,
            "to_lay": to_lay,
            "new_reds": new_reds,
        }
