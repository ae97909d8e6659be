"""Filters of the collection: settings as TOML, which release may follow which, what a doctor finds new.

Plain functions of the standard library: they run on the controller, where no jinbao need be installed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BUNDLE = re.compile(r"jinbao-(\d+\.\d+\.\d+)-linux-([a-z0-9_]+)\.tar\.zst")
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")


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
            "new_reds": new_reds,
        }
