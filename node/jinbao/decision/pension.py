"""Indicators of the pension library 养老保险宏观分析, from the 80 items of the three classes.

Ids, names and definitions are those of the indicator system. What needs an item the 80 do
not have is not here; `docs/reference/indicators.md` lists it.
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
    whole,
    with_employer,
)


def _of(
    number: int, zh: str, en: str, unit: str, dimension: str, decimals: int, definition: str
) -> partial[Indicator]:
    return partial(
        Indicator, f"PEN-{number:03}", "pension_macro", zh, en, unit, dimension, decimals, definition
    )


def _active(t: Expr) -> Expr:
    return t["AAC008"] == "1"


def _contributes(t: Expr) -> Expr:
    return (t["AAC031"] == "1") & (t["BIC103"] > 0)


def _interrupted(t: Expr) -> Expr:
    return t["AAC031"] == "2"


def _retired(t: Expr) -> Expr:
    return t["AAE116"].isin(["1", "2"])


def _new(t: Expr) -> Expr:
    return month(t["AIC162"]) == t["AAE002"]


def _early(t: Expr) -> Expr:
    return _new(t) & t["AIC161"].isin(["3", "4", "6"])


def _insured(t: Tables, group: str | None = None) -> Expr:
    employer = t["employer"]
    return total(count(employer, employer["AAB051"] == "1", group and employer[group]))


def _active_by(t: Expr, group: Expr) -> Expr:
    return total(count(t, _active(t), group))


def _retired_by(t: Expr, group: Expr) -> Expr:
    return total(count(t, _retired(t), group))


def _share_of_retired(t: Expr, num: Expr) -> Expr:
    return ratio(part(t, num, 1, where=_retired(t)), factor=PERCENT)


def _components(t: Tables) -> Expr:
    r = t["retiree"]
    codes = ("AIC240", "BIC201", "AIC242", "BIC202")
    return ratio(*(part(r, r[c], r["AIC263"], where=_retired(r), group=c) for c in codes), factor=PERCENT)


def _paid_share(t: Tables, item: str) -> Expr:
    r = t["retiree"]
    return ratio(part(r, r[item], r["AIC263"], where=_retired(r)), factor=PERCENT)


def _per(t: Tables, over: str, factor: int) -> Expr:
    """Contributors over retirees, or the other way round."""
    a, r = t["active_person"], t["retiree"]
    payers, pensioners = flag(_contributes(a)), flag(_retired(r))
    if over == "retiree":
        return ratio(part(a, payers), part(r, 0, pensioners), factor=factor)
    return ratio(part(r, pensioners), part(a, 0, payers), factor=factor)


def _mean_of_new(t: Tables, num: Expr, factor: int, group: Expr = "") -> Expr:
    r = t["retiree"]
    return ratio(part(r, num, 1, where=_new(r), group=group), factor=factor)


def _employers(t: Tables, where: Expr) -> Expr:
    return total(count(t["employer"], where))


def _sum_of_both(t: Tables, employer: str, person: str) -> Expr:
    e, a = t["employer"], t["active_person"]
    return total(part(e, e[employer]), part(a, a[person]))


def _collection_rate(t: Tables) -> Expr:
    e, a = t["employer"], t["active_person"]
    return ratio(part(e, e["BAB102"], e["AAB180"]), part(a, a["BIC103"], a["BIC102"]), factor=PERCENT)


_ACTIVE_AGES = (16, 20, 25, 30, 35, 40, 45, 50, 55, 60)
_RETIRED_AGES = (45, 50, 55, 60, 65, 70, 75, 80, 85, 90, 95)

EMPLOYERS = (
    _of(1, "参保单位数", "employers_insured", "个", "", 0, "count(employer: AAB051=1)")(_insured),
    _of(2, "参保单位数(按单位类型)", "employers_by_type", "个", "AAB019", 0, "PEN-001 by AAB019")(
        lambda t: _insured(t, "AAB019")
    ),
    _of(3, "参保单位数(按经济类型)", "employers_by_economic_type", "个", "AAB020", 0, "PEN-001 by AAB020")(
        lambda t: _insured(t, "AAB020")
    ),
    _of(4, "参保单位数(按隶属关系)", "employers_by_affiliation", "个", "AAB021", 0, "PEN-001 by AAB021")(
        lambda t: _insured(t, "AAB021")
    ),
    _of(6, "参保单位数(按规模)", "employers_by_size", "个", "AAB119 band", 0, "PEN-001 by band of AAB119")(
        lambda t: total(
            count(
                t["employer"],
                t["employer"]["AAB051"] == "1",
                bands(t["employer"]["AAB119"], 1, 10, 50, 100, 300, 1000, below=False),
            )
        )
    ),
    _of(7, "新增参保单位数", "employers_new", "个", "", 0, "count(employer: month(AAB050)=AAE002)")(
        lambda t: _employers(t, month(t["employer"]["AAB050"]) == t["employer"]["AAE002"])
    ),
    _of(30, "单位欠费户数", "employers_in_arrears", "个", "", 0, "count(employer: BAB103>0)")(
        lambda t: _employers(t, t["employer"]["BAB103"] > 0)
    ),
    _of(31, "累计欠费额", "arrears_total", "元", "", 2, "sum(employer.BAB103)")(
        lambda t: total(part(t["employer"], t["employer"]["BAB103"]))
    ),
    _of(32, "欠费12个月以上户数", "arrears_over_12m", "个", "", 0, "count(employer: BAB104>12)")(
        lambda t: _employers(t, t["employer"]["BAB104"] > 12)  # noqa: PLR2004 - the indicator's name says it
    ),
)

ACTIVE = (
    _of(9, "参保人数", "participants", "人", "", 0, "PEN-010 + count(retiree: AAE116=1)")(
        lambda t: total(
            count(t["active_person"], _active(t["active_person"])),
            count(t["retiree"], t["retiree"]["AAE116"] == "1"),
        )
    ),
    _of(10, "在职参保人数", "participants_active", "人", "", 0, "count(active_person: AAC008=1)")(
        lambda t: total(count(t["active_person"], _active(t["active_person"])))
    ),
    _of(
        12, "在职参保人数(按单位类型)", "active_by_unit_type", "人", "AAB019", 0, "PEN-010 by employer.AAB019"
    )(lambda t: _active_by(j := with_employer(t, "active_person"), j["AAB019"])),
    _of(
        13,
        "在职参保人数(按经济类型)",
        "active_by_economic_type",
        "人",
        "AAB020",
        0,
        "PEN-010 by employer.AAB020",
    )(lambda t: _active_by(j := with_employer(t, "active_person"), j["AAB020"])),
    _of(14, "在职参保人数(按个人身份)", "active_by_identity", "人", "AAC012", 0, "PEN-010 by AAC012")(
        lambda t: _active_by(t["active_person"], t["active_person"]["AAC012"])
    ),
    _of(
        15,
        "在职参保人数(按年龄性别)",
        "active_age_sex",
        "人",
        "age band,AAC004",
        0,
        "PEN-010 by age band, AAC004",
    )(lambda t: _active_by(a := t["active_person"], both(bands(age(a), *_ACTIVE_AGES), a["AAC004"]))),
    _of(
        16,
        "在职参保人数(按户籍/农民工)",
        "active_by_hukou_migrant",
        "人",
        "AAC009,AAC028",
        0,
        "PEN-010 by AAC009, AAC028",
    )(lambda t: _active_by(a := t["active_person"], both(a["AAC009"], a["AAC028"]))),
    _of(17, "在职参保人数(按学历)", "active_by_education", "人", "AAC011", 0, "PEN-010 by AAC011")(
        lambda t: _active_by(t["active_person"], t["active_person"]["AAC011"])
    ),
    _of(18, "新增参保人数", "participants_new", "人", "", 0, "count(active_person: AAC049=AAE002)")(
        lambda t: total(count(a := t["active_person"], a["AAC049"] == a["AAE002"]))
    ),
    _of(21, "平均参保年龄", "active_mean_age", "岁", "", 1, "sum(age)/count(active_person: AAC008=1)")(
        lambda t: ratio(part(a := t["active_person"], age(a), 1, where=_active(a)), factor=10)
    ),
)

CONTRIBUTIONS = (
    _of(22, "实际缴费人数", "contributors", "人", "", 0, "count(active_person: AAC031=1, BIC103>0)")(
        lambda t: total(count(a := t["active_person"], _contributes(a)))
    ),
    _of(23, "缴费人数占参保人数比例(遵缴率)", "contributor_ratio", "%", "", 2, "PEN-022 / PEN-010")(
        lambda t: ratio(
            part(a := t["active_person"], flag(_contributes(a)), flag(_active(a))), factor=PERCENT
        )
    ),
    _of(24, "中断缴费人数", "interrupted", "人", "", 0, "count(active_person: AAC031=2)")(
        lambda t: total(count(a := t["active_person"], _interrupted(a)))
    ),
    _of(
        25,
        "中断缴费人数(按年龄性别)",
        "interrupted_age_sex",
        "人",
        "age band,AAC004",
        0,
        "PEN-024 by age band, AAC004",
    )(
        lambda t: total(
            count(a := t["active_person"], _interrupted(a), both(bands(age(a), *_ACTIVE_AGES), a["AAC004"]))
        )
    ),
    _of(
        26,
        "累计中断缴费月数分布",
        "interruption_months_distribution",
        "人",
        "BIC101 band",
        0,
        "count(active_person: BIC101>0) by band",
    )(lambda t: total(count(a := t["active_person"], a["BIC101"] > 0, bands(a["BIC101"], 1, 4, 13, 37)))),
    _of(
        27,
        "应缴基本养老保险费",
        "premium_due",
        "元",
        "",
        2,
        "sum(employer.AAB180) + sum(active_person.BIC102)",
    )(lambda t: _sum_of_both(t, "AAB180", "BIC102")),
    _of(
        28,
        "实缴基本养老保险费",
        "premium_paid",
        "元",
        "",
        2,
        "sum(employer.BAB102) + sum(active_person.BIC103)",
    )(lambda t: _sum_of_both(t, "BAB102", "BIC103")),
    _of(29, "征缴率", "collection_rate", "%", "", 2, "PEN-028 / PEN-027")(_collection_rate),
    _of(34, "月人均缴费基数", "mean_base", "元", "", 2, "sum(AAE180 of contributors) / PEN-022")(
        lambda t: ratio(part(a := t["active_person"], a["AAE180"], 1, where=_contributes(a)), factor=1)
    ),
    _of(39, "个人账户平均储存额", "mean_account", "元", "", 2, "sum(AAE240) / count(active_person)")(
        lambda t: ratio(part(a := t["active_person"], a["AAE240"], 1), factor=1)
    ),
    _of(40, "个人账户记账额", "account_total", "元", "", 2, "sum(active_person.AAE240)")(
        lambda t: total(part(a := t["active_person"], a["AAE240"]))
    ),
)

RETIREES = (
    _of(11, "参保离退休人数", "retirees", "人", "", 0, "count(retiree: AAE116 in 1,2)")(
        lambda t: total(count(r := t["retiree"], _retired(r)))
    ),
    _of(
        41, "离退休人数(按单位类型)", "retirees_by_unit_type", "人", "AAB019", 0, "PEN-011 by employer.AAB019"
    )(lambda t: _retired_by(j := with_employer(t, "retiree"), j["AAB019"])),
    _of(
        42,
        "离退休人数(按经济类型)",
        "retirees_by_economic_type",
        "人",
        "AAB020",
        0,
        "PEN-011 by employer.AAB020",
    )(lambda t: _retired_by(j := with_employer(t, "retiree"), j["AAB020"])),
    _of(43, "离退休人数(按身份)", "retirees_by_identity", "人", "AAC012", 0, "PEN-011 by AAC012")(
        lambda t: _retired_by(r := t["retiree"], r["AAC012"])
    ),
    _of(
        44,
        "离退休人数(按年龄性别)",
        "retirees_age_sex",
        "人",
        "age band,AAC004",
        0,
        "PEN-011 by age band, AAC004",
    )(lambda t: _retired_by(r := t["retiree"], both(bands(age(r), *_RETIRED_AGES), r["AAC004"]))),
    _of(45, "离退休人数(按离退休类别)", "retirees_by_type", "人", "AIC161", 0, "PEN-011 by AIC161")(
        lambda t: _retired_by(r := t["retiree"], r["AIC161"])
    ),
    _of(46, "本期新增离退休人数", "retirees_new", "人", "", 0, "count(retiree: month(AIC162)=AAE002)")(
        lambda t: total(count(r := t["retiree"], _new(r)))
    ),
    _of(47, "提前退休人数", "early_retirees", "人", "", 0, "PEN-046 with AIC161 in 3,4,6")(
        lambda t: total(count(r := t["retiree"], _early(r)))
    ),
    _of(48, "提前退休率", "early_retirement_rate", "%", "", 2, "PEN-047 / PEN-046")(
        lambda t: ratio(part(r := t["retiree"], flag(_early(r)), flag(_new(r))), factor=PERCENT)
    ),
    _of(
        49,
        "平均退休年龄",
        "mean_retirement_age",
        "岁",
        "AAC004",
        1,
        "mean completed years at AIC162 of PEN-046, by AAC004",
    )(lambda t: _mean_of_new(t, whole((r := t["retiree"])["AIC162"] - r["AAC006"], 10_000), 10, r["AAC004"])),
    _of(82, "制度抚养比", "system_dependency_ratio", "人", "", 2, "PEN-022 / PEN-011")(
        lambda t: _per(t, "retiree", 100)
    ),
    _of(83, "制度赡养率", "system_support_rate", "%", "", 2, "PEN-011 / PEN-022")(
        lambda t: _per(t, "active_person", PERCENT)
    ),
    _of(104, "平均缴费年限", "mean_contribution_years", "年", "", 2, "mean (AAE200+AAE201)/12 of PEN-046")(
        # A year is 12 months, so hundredths of a year over 12 n; numerator and denominator stay whole.
        lambda t: ratio(part(r := t["retiree"], r["AAE200"] + r["AAE201"], 12, where=_new(r)), factor=100)
    ),
)

BENEFITS = (
    _of(54, "基本养老金应发额", "benefit_due", "元", "", 2, "sum(AIC263 of PEN-011)")(
        lambda t: total(part(r := t["retiree"], r["AIC263"], where=_retired(r)))
    ),
    _of(55, "月人均养老金", "mean_pension", "元/月", "", 2, "PEN-054 / PEN-011")(
        lambda t: ratio(part(r := t["retiree"], r["AIC263"], 1, where=_retired(r)), factor=1)
    ),
    _of(
        56,
        "月人均养老金(按身份/退休年份)",
        "mean_pension_by_identity_cohort",
        "元/月",
        "AAC012,year of AIC162",
        2,
        "PEN-055 by AAC012, year(AIC162)",
    )(
        lambda t: ratio(
            part(
                r := t["retiree"],
                r["AIC263"],
                1,
                where=_retired(r),
                group=both(r["AAC012"], whole(r["AIC162"], 10_000).cast("string")),
            ),
            factor=1,
        )
    ),
    _of(
        58,
        "养老金构成",
        "pension_components",
        "%",
        "item",
        2,
        "sum(AIC240, BIC201, AIC242, BIC202 each) / PEN-054",
    )(_components),
    _of(62, "社会化发放人数", "socialised_payout", "人", "", 0, "PEN-011 with AAA071=1")(
        lambda t: total(count(r := t["retiree"], _retired(r) & (r["AAA071"] == "1")))
    ),
    _of(63, "社会化发放率", "socialised_payout_rate", "%", "", 2, "PEN-062 / PEN-011")(
        lambda t: _share_of_retired(r := t["retiree"], flag(r["AAA071"] == "1"))
    ),
    _of(64, "社区管理人数", "community_managed", "人", "", 0, "PEN-011 with BAC201=1")(
        lambda t: total(count(r := t["retiree"], _retired(r) & (r["BAC201"] == "1")))
    ),
    _of(65, "社区管理率", "community_managed_rate", "%", "", 2, "PEN-064 / PEN-062")(
        lambda t: ratio(
            part(r := t["retiree"], flag(r["BAC201"] == "1"), flag(r["AAA071"] == "1"), where=_retired(r)),
            factor=PERCENT,
        )
    ),
    _of(66, "统筹基金支付占比", "pool_share", "%", "", 2, "sum(BIC203) / PEN-054")(
        lambda t: _paid_share(t, "BIC203")
    ),
    _of(67, "个人账户支付占比", "account_share", "%", "", 2, "sum(BIC204) / PEN-054")(
        lambda t: _paid_share(t, "BIC204")
    ),
)

PENSION = tuple(sorted(EMPLOYERS + ACTIVE + CONTRIBUTIONS + RETIREES + BENEFITS, key=lambda i: i.id))
