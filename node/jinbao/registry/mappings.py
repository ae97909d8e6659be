"""Mappings 对照表 from TOML: one file per library, checked against the standard it serves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinbao.model.errors import SettingsError
from jinbao.model.mapping import Column, LibraryMapping, Part, TableMapping
from jinbao.model.standard import Standard, Table
from jinbao.registry.standards import need, read_toml, unknown


def load_mappings(directory: Path, standards: Mapping[str, Standard]) -> dict[str, LibraryMapping]:
    """The mapping of every library that has one, by library id."""
    found = {}
    for path in sorted(directory.glob("*.toml")):
        body = read_toml(path)
        need(path, "mapping", body, ("library", "tables"))
        if body["library"] not in standards:
            raise unknown(f"{path}: library", body["library"], standards)
        standard = standards[body["library"]]
        tables = tuple(_table(path, standard, name, table) for name, table in body["tables"].items())
        missing = {t.id for t in standard.tables} - {t.table for t in tables}
        if missing:
            raise SettingsError(
                f"{path}: tables",
                expected="every table of the standard",
                got=f"none for {', '.join(sorted(missing))}",
            )
        found[standard.library] = LibraryMapping(standard.library, tables)
    return found


def _table(path: Path, standard: Standard, name: str, body: Mapping[str, Any]) -> TableMapping:
    need(path, name, body, ("parts", "columns"))
    known = {t.id: t for t in standard.tables}
    if name not in known:
        raise unknown(f"{path}: table", name, known)
    parts = tuple(
        Part(p["table"], tuple(p.get("on", ())), p.get("how", ""), p.get("where", {})) for p in body["parts"]
    )
    columns = tuple(_column(path, known[name], item, value) for item, value in body["columns"].items())
    return TableMapping(name, parts, columns)


def _column(path: Path, table: Table, item: str, value: str | Mapping[str, Any]) -> Column:
    if item not in table.columns:
        raise unknown(f"{path}: {table.id}: item", item, table.columns)
    if isinstance(value, str):
        return Column(item, source=value)
    need(
        path,
        f"{table.id}.{item}",
        value,
        (),
        ("from", "count", "sum", "by", "where", "constant", "period", "codes"),
    )
    return Column(
        item,
        source=value.get("from", ""),
        count=value.get("count", ""),
        total=value.get("sum", ""),
        by=value.get("by", ""),
        where=value.get("where", {}),
        constant=value.get("constant", ""),
        period=value.get("period", False),
        codes=value.get("codes", {}),
    )
