"""Indicators of the unemployment library 失业保险监测, from its classes registered, insured and drawing.

Ids, names and definitions are those of the indicator system; what needs spells, ledgers or
posts is listed in `docs/reference/indicators.md`.
"""

from __future__ import annotations

from functools import partial

from jinbao.decision.measures import (
    PERCENT,
    Expr,
    Indicator,
    Tables,
    age,
    bands,
    both,
    count,
    flag,
    month,
    part,
    ratio,
    total,
)


def _of(
    number: int, zh: str, en: str, unit: str, dimension: str, decimals: int, definition: str
) -> partial[Indicator]:
    name = f"UNE-{number:03}"
    return partial(Indicator, name, "unemployment_monitor", zh, en, unit, dimension, decimals, definition)


def _registered_by(t: Tables, item: str) -> Expr:
    return total(count(t["registered"], None, t["registered"][item]))


def _insured(t: Tables, item: str) -> Expr:
    return total(count(i := t["insured"], i[item] == "1"))


def _long_term(t: Expr) -> Expr:
    """Registered in a month more than twelve before the month the data speaks of."""
    return month(t["AJC094"]) < t["AAE002"] - 100


def _insured_rate(t: Tables) -> Expr:
    i, d = t["insured"], t["drawing"]
    return ratio(part(d, 1, 1), part(i, 0, flag(i["AAC008"] == "1")), factor=PERCENT)


UNEMPLOYMENT = (
    _of(1, "期末登记失业人数", "registered_unemployed", "人", "", 0, "count(registered)")(
        lambda t: total(count(t["registered"]))
    ),
    _of(
        6,
        "登记失业人员(按性别年龄)",
        "registered_age_sex",
        "人",
        "age band,AAC004",
        0,
        "UNE-001 by age band, AAC004",
    )(lambda t: total(count(r := t["registered"], None, both(bands(age(r), 16, 25, 35, 46), r["AAC004"])))),
    _of(7, "登记失业人员(按文化程度)", "registered_education", "人", "AAC011", 0, "UNE-001 by AAC011")(
        lambda t: _registered_by(t, "AAC011")
    ),
    _of(8, "登记失业人员(按失业原因)", "registered_reason", "人", "AJC093", 0, "UNE-001 by AJC093")(
        lambda t: _registered_by(t, "AJC093")
    ),
    _of(10, "登记失业人员(按户籍)", "registered_hukou", "人", "AAC009", 0, "UNE-001 by AAC009")(
        lambda t: _registered_by(t, "AAC009")
    ),
    _of(
        11,
        "长期失业人数",
        "long_term_unemployed",
        "人",
        "",
        0,
        "count(registered: month(AJC094) + 12 months < AAE002)",
    )(lambda t: total(count(r := t["registered"], _long_term(r)))),
    _of(12, "长期失业比例", "long_term_share", "%", "", 2, "UNE-011 / UNE-001")(
        lambda t: ratio(part(r := t["registered"], flag(_long_term(r)), 1), factor=PERCENT)
    ),
    _of(14, "就业困难人员数", "hard_to_place", "人", "", 0, "count(registered: BJC101=1)")(
        lambda t: total(count(r := t["registered"], r["BJC101"] == "1"))
    ),
    _of(20, "参加失业保险人数", "ui_participants", "人", "", 0, "count(insured: AAC008=1)")(
        lambda t: _insured(t, "AAC008")
    ),
    _of(21, "其中农民工参保人数", "ui_migrants", "人", "", 0, "UNE-020 with AAC028=1")(
        lambda t: total(count(i := t["insured"], (i["AAC008"] == "1") & (i["AAC028"] == "1")))
    ),
    _of(22, "失业保险缴费人数", "ui_contributors", "人", "", 0, "count(insured: AAC031=1)")(
        lambda t: _insured(t, "AAC031")
    ),
    _of(23, "期末领取失业保险金人数", "ui_beneficiaries", "人", "", 0, "count(drawing)")(
        lambda t: total(count(t["drawing"]))
    ),
    _of(24, "本期新增领取人数", "ui_new_beneficiaries", "人", "", 0, "count(drawing: BJC103=AAE002)")(
        lambda t: total(count(d := t["drawing"], d["BJC103"] == d["AAE002"]))
    ),
    _of(26, "领取期满人数", "ui_exhausted", "人", "", 0, "count(drawing: AJC098=AJC097)")(
        lambda t: total(count(d := t["drawing"], d["AJC098"] == d["AJC097"]))
    ),
    _of(27, "月人均失业保险金", "ui_mean_benefit", "元/月", "", 2, "sum(drawing.BJC102) / UNE-023")(
        lambda t: ratio(part(d := t["drawing"], d["BJC102"], 1), factor=1)
    ),
    _of(30, "受益率", "ui_beneficiary_rate", "%", "", 2, "UNE-023 / UNE-001")(
        lambda t: ratio(part(t["drawing"], 1), part(t["registered"], 0, 1), factor=PERCENT)
    ),
    _of(31, "参保失业率", "insured_unemployment_rate", "%", "", 2, "UNE-023 / (UNE-020 + UNE-023)")(
        _insured_rate
    ),
    _of(
        33,
        "剩余领取月数分布",
        "ui_remaining_distribution",
        "人",
        "AJC099 band",
        0,
        "UNE-023 by band of AJC099",
    )(lambda t: total(count(d := t["drawing"], None, bands(d["AJC099"], 1, 4, 7, 13, 25, below=False)))),
)
