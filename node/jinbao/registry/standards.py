"""Standards 标准 from TOML: one file per library, one for all code lists.

A file that is not what it should be is a SettingsError naming file, key, expected, got.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinbao.model.errors import SettingsError
from jinbao.model.finding import Scope, Severity
from jinbao.model.standard import Code, CodeList, Item, ItemType, Limits, Rule, Standard, Table

CODE_LISTS = "code_lists.toml"


def load_standards(directory: Path) -> dict[str, Standard]:
    """Every standard of a directory, by library id."""
    lists = load_code_lists(directory / CODE_LISTS)
    files = [path for path in sorted(directory.glob("*.toml")) if path.name != CODE_LISTS]
    if not files:
        raise SettingsError(f"standards {directory}", expected="one TOML file per library", got="none")
    standards = [_standard(path, read_toml(path), lists) for path in files]
    return {standard.library: standard for standard in standards}


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dictionary; raises SettingsError if it is none."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise SettingsError(str(path), expected="a TOML file", got=str(exc)) from exc


def load_code_lists(path: Path) -> dict[str, CodeList]:
    """All code lists, by id; entries are [code, name] or [code, name, from, to, successors]."""
    return {
        name: CodeList(name, tuple(_code(path, name, entry) for entry in body["codes"]))
        for name, body in read_toml(path).items()
    }


def _code(path: Path, name: str, entry: Sequence[Any]) -> Code:
    if len(entry) not in (2, 5):
        raise SettingsError(f"{path}: {name}", expected="2 or 5 parts per code", got=entry)
    code, label, *dates = entry
    if not dates:
        return Code(code, label)
    first, last, successors = dates
    return Code(code, label, first, last, tuple(filter(None, successors.split(";"))))


def _standard(path: Path, body: Mapping[str, Any], lists: Mapping[str, CodeList]) -> Standard:
    need(path, "standard", body, ("library", "version", "name_zh", "name_en", "valid_from", "tables"))
    tables = tuple(_table(path, table) for table in body["tables"])
    used = {item.code_list for table in tables for item in table.items if item.code_list}
    for name in sorted(used - lists.keys()):
        raise unknown(f"{path}: code list", name, lists)
    return Standard(
        body["library"],
        body["version"],
        body["name_zh"],
        body["name_en"],
        body["valid_from"],
        tables,
        {name: lists[name] for name in used},
    )


def _table(path: Path, body: Mapping[str, Any]) -> Table:
    need(path, "table", body, ("id", "name_zh", "name_en", "key", "totals", "limits", "items"), ("rules",))
    items = tuple(_item(path, body["id"], entry) for entry in body["items"])
    codes = {item.code for item in items}
    for code in (*body["key"], *body["totals"]):
        if code not in codes:
            raise unknown(f"{path}: {body['id']}: key or totals", code, codes)
    rules = tuple(_rule(path, body["id"], rule, codes) for rule in body.get("rules", []))
    limits = Limits(**body["limits"])
    key, totals = tuple(body["key"]), tuple(body["totals"])
    return Table(body["id"], body["name_zh"], body["name_en"], items, key, totals, rules, limits)


def _item(path: Path, table: str, entry: Sequence[Any]) -> Item:
    parts = 9
    if len(entry) != parts:
        raise SettingsError(f"{path}: {table}: item", expected=f"{parts} parts", got=entry)
    code, name_zh, name_en, kind, length, scale, code_list, mandatory, personal = entry
    if kind not in set(ItemType):
        raise unknown(f"{path}: {table}.{code}: type", kind, [str(t) for t in ItemType])
    return Item(code, name_zh, name_en, ItemType(kind), length, scale, code_list, mandatory, personal)


def _rule(path: Path, table: str, body: Mapping[str, Any], codes: Iterable[str]) -> Rule:
    need(
        path,
        f"{table}: rule",
        body,
        ("id", "check", "items", "scope", "severity", "zh", "en"),
        ("arguments",),
    )
    for code in body["items"]:
        if code not in codes:
            raise unknown(f"{path}: {table}: rule {body['id']}: item", code, codes)
    return Rule(
        body["id"],
        table,
        body["check"],
        Scope(body["scope"]),
        Severity(body["severity"]),
        tuple(body["items"]),
        body["zh"],
        body["en"],
        body.get("arguments", {}),
    )


def need(
    path: Path, thing: str, body: Mapping[str, Any], keys: Sequence[str], more: Sequence[str] = ()
) -> None:
    """Raise SettingsError unless `body` has every key of `keys`, and none beside those of `more`."""
    for key in keys:
        if key not in body:
            raise SettingsError(f"{path}: {thing}", expected=f"key {key}", got=", ".join(body))
    for key in body:
        if key not in (*keys, *more):
            raise unknown(f"{path}: {thing}: key", key, (*keys, *more))


def unknown(thing: str, got: str, known: Iterable[str]) -> SettingsError:
    """An error for a name that is not known, with the nearest one that is."""
    near = difflib.get_close_matches(got, list(known), 1)
    return SettingsError(
        thing, expected="a known name", got=got, next_step=f"did you mean {near[0]}?" if near else ""
    )
