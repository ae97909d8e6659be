"""The shape of JSON answers: keys and the kinds of their values, and nothing that differs from one network to another.

Not what the answers are, and no golden file: the fixture `shaped` holds a shape against its file, in whichever test has a
network that gives such answers.
"""

from __future__ import annotations

import json
import re
from typing import Any

from tests.cli.harness import Said

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[0-9.]*(Z|\+00:00)")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

NAMES_MIN = 12
"""So many keys of one kind are names: the longest object of counts with keys of its own has six."""

NAMED = {"kinds", "numbers", "tables"}
"""Objects whose keys are names, however few: of kinds of acts, of what a check counted, of tables."""

_NAME, _OR_NULL = "<name>", " or null"


def shape_of(*answers: Said) -> str:
    """The shape that answers of one command have in common, as the text of a golden file."""
    for said in answers:
        assert said.out, said.err
    found = _one([json.loads(said.out) for said in answers])
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def shape(value: Any) -> Any:
    """Keys with the kinds of their values; a list as the one shape all its items have, names that are values as one key."""
    if isinstance(value, dict):
        if _is_of_names(value):
            return {_NAME: _one(list(value.values()))}
        return {key: _named(value[key]) if key in NAMED else shape(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_one(value)] if value else []
    return _kind(value)


def _named(value: Any) -> Any:
    return {_NAME: _one(list(value.values()))} if isinstance(value, dict) and value else shape(value)


def _is_of_names(value: dict[str, Any]) -> bool:
    """Whether keys are no words of ours, or grow with the product as tables do: many, of values plain and of one kind."""
    kinds = {type(one) for one in value.values()}
    many = len(value) >= NAMES_MIN and len(kinds) == 1 and not kinds & {dict, list}
    return many or not all(map(_KEY.fullmatch, value))


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "time" if _TIME.fullmatch(value) else "text"
    names = {bool: "true or false", int: "whole number", float: "number", type(None): "null"}
    return names[type(value)]


def _one(values: list[Any]) -> Any:
    """The shape of several values: keys that some lack end with `?`, kinds that differ are joined."""
    return _joined([shape(value) for value in values])


def _joined(shapes: list[Any]) -> Any:
    different = [one for at, one in enumerate(shapes) if one not in shapes[:at]]
    if len(different) == 1:
        return different[0]
    if all(isinstance(one, dict) for one in different):
        return _merged(different)
    if all(isinstance(one, list) for one in different):
        return [_joined([item for one in different for item in one])]
    return " or ".join(sorted({kind for one in different for kind in _kinds(one)}))


def _merged(shapes: list[dict[str, Any]]) -> dict[str, Any]:
    """Keys of all of them: one that some lack ends with `?`, one whose object is null in some with ` or null`."""
    said: dict[str, list[tuple[str, Any]]] = {}
    for one in shapes:
        for key, kind in one.items():
            said.setdefault(key.removesuffix("?").removesuffix(_OR_NULL), []).append((key, kind))
    found = {}
    for key in sorted(said):
        kinds = [kind for _, kind in said[key]]
        objects = [kind for kind in kinds if kind != "null"]
        is_object = bool(objects) and all(isinstance(kind, dict) for kind in objects)
        or_null = is_object and any(kind == "null" or _OR_NULL in name for name, kind in said[key])
        lacks = key != _NAME and (
            len(kinds) < len(shapes) or any(name.endswith("?") for name, _ in said[key])
        )
        name = f"{key}{_OR_NULL if or_null else ''}{'?' if lacks else ''}"
        found[name] = _joined(objects if or_null else kinds)
    return found


def _kinds(one: Any) -> list[str]:
    """The kinds that are joined in a shape; two of the words themselves have an `or`."""
    if not isinstance(one, str):
        return ["an object" if isinstance(one, dict) else "a list"]
    words = one.replace("true or false", "yes/no").split(" or ")
    return ["true or false" if word == "yes/no" else word for word in words]
