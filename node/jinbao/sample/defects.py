"""Defects on purpose, each one known: what is wrong, where, and which rule must say so.

One row gets one defect, chosen so that exactly one rule finds it. Rule ids are those of
the published standards, written here by hand: this module reads no rule file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jinbao.sample.edit import Editor
from jinbao.sample.numbers import number_of


@dataclass(frozen=True, slots=True)
class Planted:
    """One line of the ledger: the business row, and the finding it must cause."""

    source_table: str
    library: str
    table: str
    key: str
    item: str
    rule: str


Plant = Callable[[Editor], list[Planted]]

_PENSION, _UNEMPLOYMENT = "pension_macro", "unemployment_monitor"
_HOME = {
    "paying": (_PENSION, "active_person"),
    "idle": (_PENSION, "active_person"),
    "retiree": (_PENSION, "retiree"),
    "employer": (_PENSION, "employer"),
    "insured": (_UNEMPLOYMENT, "insured"),
    "registered": (_UNEMPLOYMENT, "registered"),
    "drawing": (_UNEMPLOYMENT, "drawing"),
}


def _cells(
    group: str,
    table: str,
    item: str,
    rule: str,
    change: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    **where: str,
) -> Plant:
    """Rewrite cells of one row of a group; `change` gets the row as it was."""

    def plant(editor: Editor) -> list[Planted]:
        key = editor.take(group)
        editor.set(table, key, change(editor.row(table, key, **where)), **where)
        return [Planted(table, *_HOME[group], key, item, rule)]

    return plant


def _to(**values: Any) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:  # any cell value
    return lambda _row: values


def _other_digit(row: Mapping[str, Any]) -> Mapping[str, Any]:
    number = str(row["AAC002"])
    return {"AAC002": number[:17] + ("0" if number[17] != "0" else "1")}


def _other_code(row: Mapping[str, Any]) -> Mapping[str, Any]:
    code = str(row["AAB003"])
    return {"AAB003": code[:-1] + ("0" if code[-1] != "0" else "1")}


def _more(item: str) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    """A hundred yuan too much."""

    def change(row: Mapping[str, Any]) -> Mapping[str, Any]:
        whole, _, part = str(row[item]).partition(".")
        return {item: f"{int(whole) + 100}.{part}"}

    return change


def _born(group: str, rule: str, years: int) -> Plant:
    """A person of another age, whose number agrees."""

    def plant(editor: Editor) -> list[Planted]:
        key = editor.take(group)
        row = editor.row("AC01", key)
        born = (editor.city.period // 100 - years) * 10_000 + 303
        serial = f"{int(key[-6:]) % 400 * 2 + 100 + (row['AAC004'] == 'M'):03d}"
        number = number_of(row["AAC002"][:6], born, serial)
        editor.set("AC01", key, {"AAC002": number, "AAC006": born, "AAC007": born + 200_000})
        return [Planted("AC01", *_HOME[group], key, "AAC006", rule)]

    return plant


def _same_number(editor: Editor) -> list[Planted]:
    """Two persons with one social security number."""
    first, second = editor.take("paying"), editor.take("paying")
    row = editor.row("AC01", first)
    copied = {name: row[name] for name in ("AAC002", "AAC004", "AAC006", "AAC007")}
    editor.set("AC01", second, copied)
    return [Planted("AC01", *_HOME["paying"], key, "AAC002", "UNI-2") for key in (first, second)]


def _both(editor: Editor) -> list[Planted]:
    """A retiree who is an active contributor at the same time."""
    key = editor.take("retiree")
    like = editor.row("AC02", editor.take("paying"))
    editor.add("AC02", like | {"AAC001": key})
    return [Planted("AC02", *_HOME["retiree"], key, "AAC001", "P-14")]


def _unregistered(editor: Editor) -> list[Planted]:
    """A person who draws benefit without being registered."""
    key = editor.take("drawing")
    editor.remove("JC01", key)
    return [Planted("JC01", *_HOME["drawing"], key, "AAC001", "REF-2")]


def _late(editor: Editor) -> Mapping[str, Any]:
    return {"AAC049": editor.city.period + 100, "AAC032": editor.city.period + 100}


def _first_insured_later(editor: Editor) -> list[Planted]:
    key = editor.take("paying")
    editor.set("AC02", key, _late(editor))
    return [Planted("AC02", *_HOME["paying"], key, "AAC049", "DAT-3")]


def _after_period(group: str, table: str, item: str, rule: str) -> Plant:
    def plant(editor: Editor) -> list[Planted]:
        key = editor.take(group)
        editor.set(table, key, {item: (editor.city.period + 100) * 100 + 1})
        return [Planted(table, *_HOME[group], key, item, rule)]

    return plant


DEFECTS: tuple[Plant, ...] = (
    _cells("paying", "AC01", "AAC003", "Q-01", _to(AAC003=None)),
    _cells("paying", "AC01", "AAC003", "Q-01", _to(AAC003="   ")),
    _cells("paying", "AC01", "AAC009", "Q-02", _to(AAC009="77")),
    _cells("paying", "AC01", "AAB301", "Q-08", _to(AAB301="140211")),
    _cells("paying", "AC01", "AAB301", "Q-02", _to(AAB301="149999")),
    _cells("paying", "AC01", "AAC004", "C-02", _to(AAC004="Z")),
    _cells("paying", "AC01", "AAC007", "C-01", _to(AAC007=20230230)),
    _cells("paying", "AC01", "AAC007", "Q-01", _to(AAC007=0)),
    _cells("paying", "AC01", "AAC002", "ID-1", _other_digit),
    _cells("paying", "AC01", "AAC006", "ID-2", lambda r: {"AAC006": r["AAC006"] - 10_000}),
    _cells("paying", "AC01", "AAC004", "ID-3", lambda r: {"AAC004": "F" if r["AAC004"] == "M" else "M"}),
    _cells("paying", "AC01", "AAC007", "DAT-2", lambda r: {"AAC007": r["AAC006"] + 100_000}),
    _cells("paying", "AC02", "AAC032", "DAT-4", lambda r: {"AAC032": r["AAC049"] - 100}),
    _cells("paying", "AC02", "AAC031", "STA-1", _to(AAC008="4")),
    _cells("paying", "AC02", "AAC040", "AMT-3", _to(AAC040="0.00")),
    _cells("paying", "AC02", "BIC104", "AMT-4", lambda r: {"BIC104": f"{float(r['AAE240']) + 1:.2f}"}),
    _cells("paying", "AC02", "AAB001", "REF-1", _to(AAB001="1400E99999999")),
    _born("paying", "AGE-1", 84),
    _first_insured_later,
    _same_number,
    _born("retiree", "AGE-2", 34),
    _cells("retiree", "IC10", "AIC160", "DAT-5", lambda r: {"AIC160": r["AIC160"] - 100}),
    _cells("retiree", "IC10", "AIC263", "AMT-5", _more("AIC240")),
    _cells("retiree", "IC10", "AIC263", "AMT-6", _more("BIC203")),
    _cells("retiree", "IC10", "AIC164", "IDX-1", _to(AIC164="3.5000")),
    _cells("retiree", "IC10", "AIC161", "Q-02", _to(AIC161="8")),
    _cells("retiree", "AC01", "AAC002", "ID-1", _other_digit),
    _both,
    _cells("employer", "AB01", "AAB003", "ORG-1", _other_code),
    _cells("employer", "AB01", "AAB004", "Q-01", _to(AAB004=None)),
    _cells("employer", "AB01", "AAB019", "Q-02", _to(AAB019="777")),
    _cells("employer", "AB01", "BAB103", "AMT-1", _to(BAB103="-5.00", BAB104=0)),
    _cells("employer", "AB01", "BAB104", "AMT-2", _to(BAB103="0.00", BAB104=3)),
    _after_period("employer", "AB01", "AAB050", "DAT-1"),
    _cells("insured", "AC02", "AAE180", "AMT-3", _to(AAE180="0.00"), AAE140="210"),
    _cells("registered", "JC01", "AJC094", "DAT-6", lambda r: {"AJC094": r["AJC090"] - 10_000}),
    _cells("registered", "JC01", "AJC093", "Q-02", _to(AJC093="7")),
    _after_period("registered", "JC01", "AJC094", "DAT-7"),
    _cells("drawing", "JC10", "AJC097", "BEN-1", lambda r: {"AJC098": r["AJC098"] + 1}),
    _cells("drawing", "JC10", "AJC097", "BEN-2", _to(AJC097=30, AJC098=10, AJC099=20)),
    _unregistered,
)
"""Every kind of defect; each is planted as often as asked."""


def plant_defects(editor: Editor, times: int) -> list[Planted]:
    """Plant every kind `times` times; returns the ledger, in order of planting."""
    return [line for plant in DEFECTS for _ in range(times) for line in plant(editor)]
