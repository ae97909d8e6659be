"""Standards 标准 from TOML: one file per library, one for all code lists.

A file that is not what it should be is a SettingsError naming file, key, expected, got.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinbao.model.errors import SettingsError
from jinbao.model.finding import Scope, Severity
from jinbao.model.quoting import quoted
from jinbao.model.standard import Code, CodeList, Item, ItemType, Limits, Rule, Standard, Table

CODE_LISTS = "code_lists.toml"

FILE_BYTES_MAX = 8 << 20
"""One file of standards: ours have 100 KB; a parser's memory is a multiple of its file."""

TABLES_MAX, ITEMS_MAX, RULES_MAX, CODES_MAX = 100, 400, 2_000, 100_000
"""Of a library, a table, a table and a code list: national code lists have some thousand codes."""

_LIBRARY = re.compile(r"[a-z][a-z0-9_]{0,39}")
_TABLE = re.compile(r"[a-z][a-z0-9_]{0,39}")
_ITEM = re.compile(r"[A-Z][A-Z0-9_]{0,39}")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.-]{0,31}")


def load_standards(directory: Path) -> dict[str, Standard]:
    """Every standard of a directory, by library id; files that did not change are parsed once per process."""
    code_lists = directory / CODE_LISTS
    contents = [(code_lists, _read(code_lists))]
    contents += [(path, _read(path)) for path in sorted(directory.glob("*.toml")) if path != code_lists]
    if len(contents) == 1:
        raise SettingsError(f"standards {directory}", expected="one TOML file per library", got="none")
    return dict(_standards(tuple(contents)))


@lru_cache(maxsize=2)
def _standards(contents: tuple[tuple[Path, bytes], ...]) -> Mapping[str, Standard]:
    """The standards of files with these contents, code lists first. A command that opens several zones asks for each."""
    (path, content), *files = contents
    lists = _code_lists(path, _parsed(path, content))
    standards = [_standard(path, _parsed(path, content), lists) for path, content in files]
    return {standard.library: standard for standard in standards}


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file of bounded size as a dictionary; raises SettingsError if it is none."""
    return _parsed(path, _read(path))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as exc:
        raise SettingsError(str(path), expected="a TOML file", got=quoted(str(exc), 200)) from exc
    if len(content) > FILE_BYTES_MAX:
        raise SettingsError(str(path), expected=f"at most {FILE_BYTES_MAX} bytes", got="more")
    return content


def _parsed(path: Path, content: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(content.decode("utf-8"))
    except RecursionError as exc:  # the parser's own answer to a thousand brackets
        raise SettingsError(str(path), expected="a TOML file", got="nesting without end") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise SettingsError(str(path), expected="a TOML file", got=quoted(str(exc), 200)) from exc


def named(path: Path, thing: str, name: object, pattern: re.Pattern[str]) -> str:
    """A name that becomes part of SQL, of a topic or of a metric: a word and nothing else."""
    if not isinstance(name, str) or not pattern.fullmatch(name):
        raise SettingsError(
            f"{path}: {thing}", expected=f"a name like {pattern.pattern}", got=quoted(str(name))
        )
    return name


def few(path: Path, thing: str, several: Sequence[Any], most: int) -> Sequence[Any]:
    """At most so many of a thing."""
    if len(several) > most:
        raise SettingsError(f"{path}: {thing}", expected=f"at most {most}", got=len(several))
    return several


def load_code_lists(path: Path) -> dict[str, CodeList]:
    """All code lists, by id; entries are [code, name] or [code, name, from, to, successors]."""
    return _code_lists(path, read_toml(path))


def _code_lists(path: Path, body: Mapping[str, Any]) -> dict[str, CodeList]:
    return {
        name: CodeList(
            name,
            tuple(_code(path, name, entry) for entry in few(path, name, said["codes"], CODES_MAX)),
        )
        for name, said in body.items()
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
    tables = tuple(_table(path, table) for table in few(path, "tables", body["tables"], TABLES_MAX))
    used = {item.code_list for table in tables for item in table.items if item.code_list}
    for name in sorted(used - lists.keys()):
        raise unknown(f"{path}: code list", name, lists)
    return Standard(
        named(path, "library", body["library"], _LIBRARY),
        named(path, "version", body["version"], _VERSION),
        body["name_zh"],
        body["name_en"],
        body["valid_from"],
        tables,
        {name: lists[name] for name in used},
    )


def _table(path: Path, body: Mapping[str, Any]) -> Table:
    need(path, "table", body, ("id", "name_zh", "name_en", "key", "totals", "limits", "items"), ("rules",))
    named(path, "table", body["id"], _TABLE)
    few(path, "rules", body.get("rules", ()), RULES_MAX)
    items = tuple(_item(path, body["id"], entry) for entry in few(path, "items", body["items"], ITEMS_MAX))
    codes = {item.code for item in items}
    for code in (*body["key"], *body["totals"]):
        if code not in codes:
            raise unknown(f"{path}: {body['id']}: key or totals", code, codes)
    rules = tuple(_rule(path, body["id"], rule, codes) for rule in body.get("rules", []))
    limits = Limits(**body["limits"])
    key, totals = tuple(body["key"]), tuple(body["totals"])
    _need_key(f"{path}: {body['id']}", items, key, rules)
    return Table(body["id"], body["name_zh"], body["name_en"], items, key, totals, rules, limits)


def _need_key(place: str, items: Sequence[Item], key: Sequence[str], rules: Iterable[Rule]) -> None:
    """Refuse a table whose gate would let rows of one key through, or of none: no database takes them."""
    named = ", ".join(key)
    optional = [item.code for item in items if item.code in key and not item.mandatory]
    if optional:
        raise SettingsError(f"{place}: key", expected="mandatory items", got=", ".join(optional))
    for rule in rules:
        wants = rule.check, rule.scope, rule.severity
        if wants == ("unique", Scope.BATCH, Severity.ERROR) and set(rule.items) <= set(key):
            return
    raise SettingsError(
        f"{place}: rules", expected=f"a rule unique over the key {named}, an error of scope batch", got="none"
    )


def _item(path: Path, table: str, entry: Sequence[Any]) -> Item:
    parts = 9
    if len(entry) != parts:
        raise SettingsError(f"{path}: {table}: item", expected=f"{parts} parts", got=entry)
    code, name_zh, name_en, kind, length, scale, code_list, mandatory, personal = entry
    if kind not in set(ItemType):
        raise unknown(f"{path}: {table}.{code}: type", kind, [str(t) for t in ItemType])
    named(path, f"{table}: item", code, _ITEM)
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
