"""Renews what the collection in `ansible/` takes over from the code: `.venv/bin/python scripts/make_ansible.py`.

The argument specification of the role `node` is written by hand but for the options of `node_settings`: they
follow from the settings' model, type, choices and words, in English and, from `docs/reference/zh.toml`, in Chinese.
Keys that the units fix are left to the role.
`tests/house/test_ansible.py` holds that the committed file is what this makes.
"""  # noqa: INP001  # a script, not a package

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from jinbao.appliance.settings import Settings

ROOT = Path(__file__).parents[1]
SPECS = ROOT / "ansible" / "roles" / "node" / "meta" / "argument_specs.yml"
CHINESE = ROOT / "docs" / "reference" / "zh.toml"
COMMAND = ".venv/bin/python scripts/make_ansible.py"

OWN = ["Settings of their own.", "另有各自的配置。"]
"""Of a table whose keys alone say what it is."""

ZONES = {"production": "生产区", "exchange": "交换区", "decision": "决策区"}

FIXED = {
    "data_directory": "/var/lib/jinbao",
    "topology_file": "/etc/jinbao/topology.sealed",
    "trust_directory": "/etc/jinbao/trust",
    "sockets_directory": "/run/jinbao",
}
"""Places the units and the installer name; the role writes them, and nobody else."""

WIDTH = 110
_PLAIN = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}
_BLOCK = re.compile(
    r"(?P<open>^ *# made: settings\n).*?(?P<close>^ *# end\n)", flags=re.MULTILINE | re.DOTALL
)
_INDENT = 8


def settings_options() -> dict[str, Any]:
    """The options of `node_settings` as Ansible types them."""
    schema = Settings.model_json_schema()
    return {name: one for name, one in _options(schema, schema["$defs"], "") if name not in FIXED}


@cache
def chinese() -> dict[str, str]:
    """What settings and their tables are in Chinese, by the key as the reference writes it."""
    said = tomllib.loads(CHINESE.read_text(encoding="utf-8"))
    return said["settings"] | said["tables"]


def _options(
    schema: Mapping[str, Any], defs: Mapping[str, Any], at: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each key of a table with its option; `at` is what the reference writes before the key, `limits.`."""
    required = schema.get("required", ())
    for name, body in schema["properties"].items():
        option = {"description": _words(body, f"{at}{name}")} | _type(body, defs, f"{at}{name}")
        yield name, option | ({"required": True} if name in required else {})


def _words(body: Mapping[str, Any], key: str) -> list[str]:
    """What the key is, in English and in Chinese."""
    return [body["description"], chinese()[key]] if "description" in body else OWN


def _type(body: Mapping[str, Any], defs: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Type, choices and inner options of one key; numbers' bounds are held by `jinbao config check`."""
    if "$ref" in body:
        return _type(defs[body["$ref"].rpartition("/")[2]], defs, key)
    if "anyOf" in body:  # a value or none: Ansible leaves out what is none
        return _type(next(one for one in body["anyOf"] if one.get("type") != "null"), defs, key)
    if "enum" in body:
        return {"type": "str", "choices": list(body["enum"])}
    if body["type"] == "array":
        element = _type(body["items"], defs, f"{key}[]")
        inner = {"options": element["options"]} if "options" in element else {}
        return {"type": "list", "elements": element["type"]} | inner
    if body["type"] == "object":
        return {"type": "dict"} | _inner(body, defs, key)
    return {"type": _PLAIN[body["type"]]}


def _inner(body: Mapping[str, Any], defs: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Options of a table: its own keys, or one table for each of the keys it may have; none for free ones."""
    if "properties" in body:
        return {"options": dict(_options(body, defs, f"{key}."))}
    names = body.get("propertyNames", {})
    zones = defs[names["$ref"].rpartition("/")[2]]["enum"] if "$ref" in names else names.get("enum", ())
    if not zones:
        return {}
    one = _type(body["additionalProperties"], defs, f"{key}.<zone>")
    return {
        "options": {zone: {"description": [f"The zone {zone}.", f"{ZONES[zone]}。"]} | one for zone in zones}
    }


class _Unshared(yaml.SafeDumper):
    """Writes every table whole: an anchor is harder to read than three equal lines."""

    def ignore_aliases(self, data: Any) -> bool:
        """Of nothing."""
        del data
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Lists stand below their key, further in, as the linter wants them."""
        del indentless
        super().increase_indent(flow, indentless=False)  # type: ignore[no-untyped-call]


def renewed(text: str) -> str:
    """The specification with the settings' options made again."""
    made = yaml.dump(
        {"options": settings_options()}, Dumper=_Unshared, sort_keys=False, allow_unicode=True, width=WIDTH
    )
    lines = "".join(f"{' ' * _INDENT}{line}\n" for line in made.splitlines())
    return _BLOCK.sub(lambda found: found["open"] + lines + found["close"], text)


def main() -> None:
    """Write the specification again, and say whether it changed."""
    before = SPECS.read_text(encoding="utf-8")
    after = renewed(before)
    if after != before:
        SPECS.write_text(after, encoding="utf-8")
        sys.stderr.write(f"renewed {SPECS.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
