"""The people of a sample city as columns: one frame per business table, all of it legal.

Deterministic: the same seed gives the same rows. Defects and odd kinds come after.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from jinbao.sample.numbers import credit_codes, id_numbers, organisation_code, synthetic_county

FIGURES: dict[str, float] = tomllib.loads(Path(__file__).with_name("figures.toml").read_text("utf-8"))

_SURNAMES = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪田任姜范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文"
_GIVEN = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉兰红建国志文斌海燕波辉龙飞鹏婷雪梅琳云峰晓东春生永福宝山金凤瑞祥子轩浩然一诺欣怡梓涵俊豪佳慧晨曦思远"


@dataclass
class City:
    """Frames by business table, and the random source that goes on from here."""

    region: str
    period: int
    tables: dict[str, pl.DataFrame]
    rng: np.random.Generator


def _money(yuan: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Whole fen; all later arithmetic is on integers."""
    return np.rint(yuan * 100).astype(np.int64)


def yuan(fen: str) -> pl.Expr:
    """A column of fen as text with two decimals."""
    value = pl.col(fen)
    sign = pl.when(value < 0).then(pl.lit("-")).otherwise(pl.lit(""))
    whole, part = (value.abs() // 100).cast(pl.String), (value.abs() % 100).cast(pl.String).str.zfill(2)
    return pl.concat_str(sign, whole, pl.lit("."), part).alias(fen)


def make_city(region: str, persons: int, seed: int, period: int) -> City:
    """A whole legal city: `persons` insured, their employers, contributions, benefits and unemployment."""
    rng = np.random.default_rng(seed)
    employers = _employers(region, max(3, int(persons / FIGURES["persons_per_employer"])), period, rng)
    actives = int(round(persons * FIGURES["active_share"]))
    people = _people(region, persons, actives, period, rng)
    tables = {"AB01": employers, "AC01": people.drop("active")}
    tables |= _insured(people.filter("active"), employers.height, region, period, rng)
    tables["IC10"] = _benefits(people.filter(~pl.col("active")), employers.height, region, rng)
    tables |= _unemployment(tables["AC02"], period, rng)
    return City(region, period, tables, rng)


def employer_number(region: str, index: pl.Expr) -> pl.Expr:
    """The agency's own employer number."""
    return pl.concat_str(pl.lit(f"{region[:4]}E"), index.cast(pl.String).str.zfill(8))


def _counties(region: str, count: int, rng: np.random.Generator) -> npt.NDArray[np.str_]:
    """Current counties of the two demonstration cities; any other city stands for itself."""
    known = {
        "1401": ["140105", "140106", "140107", "140108", "140109", "140110", "140121", "140181"],
        "1402": ["140212", "140213", "140214", "140215", "140221", "140225"],
    }
    return rng.choice(np.array(known.get(region[:4], [region])), count)


def _employers(region: str, count: int, period: int, rng: np.random.Generator) -> pl.DataFrame:
    codes = credit_codes(region, count)
    for at in range(0, count, 9):  # a ninth still has its old code
        codes[at] = organisation_code(at)
    since = rng.integers(1995, period // 100, count) * 10_000 + rng.integers(1, 13, count) * 100 + 1
    owes = rng.random(count) < 0.05
    arrears = np.where(owes, _money(rng.gamma(2.0, 20_000, count)), 0)
    frame = pl.DataFrame(
        {
            "AAB003": codes,
            "AAB004": [f"样例{region[2:4]}第{at:06d}单位" for at in range(count)],
            "AAB301": _counties(region, count, rng),
            "AAB019": rng.choice(
                ["10", "21", "22", "30", "50", "60"], count, p=[0.6, 0.1, 0.05, 0.1, 0.05, 0.1]
            ),
            "AAB020": rng.choice(["110", "120", "150", "160", "170"], count),
            "AAB021": rng.choice(["20", "40", "52", "90"], count),
            "AAB022": rng.choice(["06", "13", "26", "47", "51", "83"], count),
            "AAB065": pl.Series([None] * count, dtype=pl.String),
            "AAB051": "1",
            "AAB050": since,
            "AAB033": rng.choice(["1", "2", "3"], count),
            "AAB034": f"{region}01",
            "AAE007": f"0{region[2:4]}000"[:6],
            "BAB103": arrears,
            "BAB104": np.where(owes, rng.integers(1, 30, count), 0),
        }
    )
    number = employer_number(region, pl.int_range(pl.len())).alias("AAB001")
    return frame.with_columns(number, yuan("BAB103"))


def _people(region: str, persons: int, actives: int, period: int, rng: np.random.Generator) -> pl.DataFrame:
    year = period // 100
    active = np.arange(persons) < actives
    male = rng.random(persons) < FIGURES["male_share"]
    age = np.where(active, rng.triangular(20, 38, 59, persons), rng.triangular(60, 66, 96, persons)).astype(
        int
    )
    born = (year - age) * 10_000 + rng.integers(1, 13, persons) * 100 + rng.integers(1, 29, persons)
    started = (born // 10_000 + np.minimum(rng.integers(18, 25, persons), age - 1)) * 10_000 + 901
    frame = pl.DataFrame(
        {
            "active": active,
            "male": male,
            "AAC003": _names(persons, rng),
            "AAC005": rng.choice(["01", "03", "11"], persons, p=[0.98, 0.01, 0.01]),
            "AAC006": born,
            "AAC007": started,
            "AAC009": rng.choice(["10", "20"], persons, p=[0.65, 0.35]),
            "AAC011": rng.choice(["21", "31", "61", "71"], persons),
            "AAC012": rng.choice(["1", "2", "3", "4"], persons),
            "AAC028": np.where(rng.random(persons) < FIGURES["migrant_share"], "Y", "N"),
            "AAB301": _counties(region, persons, rng),
        }
    )
    serial = pl.int_range(pl.len()).over("AAC006", "male")
    number = id_numbers(pl.lit(synthetic_county(region)), pl.col("AAC006"), pl.col("male"), serial)
    own = pl.concat_str(pl.lit(f"{region[:4]}P"), pl.int_range(pl.len()).cast(pl.String).str.zfill(9))
    sex = pl.when("male").then(pl.lit("M")).otherwise(pl.lit("F"))
    return frame.with_columns(own.alias("AAC001"), number.alias("AAC002"), sex.alias("AAC004")).drop("male")


def _names(count: int, rng: np.random.Generator) -> pl.Series:
    surname = pl.Series(rng.choice(list(_SURNAMES), count))
    first, second = pl.Series(rng.choice(list(_GIVEN), count)), pl.Series(rng.choice(list(_GIVEN), count))
    short = pl.Series(rng.random(count) < 0.2)
    return surname + first + second.zip_with(~short, pl.Series([""]).new_from_index(0, count))


def _months_before(period: int, months: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    at = period // 100 * 12 + period % 100 - 1 - months
    return at // 12 * 100 + at % 12 + 1


def _insured(
    people: pl.DataFrame, employers: int, region: str, period: int, rng: np.random.Generator
) -> dict[str, pl.DataFrame]:
    """Participations in pension (all) and unemployment (most), and the contributions of the period."""
    count = people.height
    age = period // 100 - people.get_column("AAC006").to_numpy() // 10_000
    paid = rng.integers(1, np.maximum((np.minimum(age, 59) - 19) * 12, 2))
    suspended = rng.random(count) < FIGURES["suspended_share"]
    wage = _money(FIGURES["wage_mean_yuan"] * rng.lognormal(-0.08, 0.4, count))
    mean = int(FIGURES["wage_mean_yuan"] * 100)
    base = np.clip(wage, mean * 6 // 10, mean * 3)
    account = base * paid * 8 // 100
    first = _months_before(period, paid + rng.integers(0, 3, count))
    state = np.where(suspended, "2", "1")
    pension = pl.DataFrame(
        {
            "AAC001": people.get_column("AAC001"),
            "AAE140": "110",
            "employer": rng.integers(0, employers, count),
            "AAC008": state,
            "AAC031": state,
            "AAC049": first,
            "AAC032": first,
            "AAC013": rng.choice(["41", "42", "51"], count),
            "AAC019": pl.Series([None] * count, dtype=pl.String),
            "AAE200": np.where(age > 50, rng.integers(0, 60, count), 0),
            "AAE201": paid,
            "BIC101": np.where(suspended, rng.integers(1, 24, count), 0),
            "AAC040": np.where(suspended, 0, wage),
            "AAE180": base,
            "AAE240": account,
            "BIC104": account * 6 // 8,
            "AAB191": period * 100 + 15,
        }
    ).with_columns(employer_number(region, pl.col("employer")).alias("AAB001"))
    covered = pl.Series(rng.random(count) < FIGURES["unemployment_insured_share"])
    other = pension.filter(covered).with_columns(pl.lit("210").alias("AAE140"))
    both = pl.concat([pension, other]).drop("employer")
    contributions = pension.filter(pl.col("AAC031") == "1").select(
        "AAC001",
        "AAE140",
        pl.lit(period).alias("AAE003"),
        "AAB001",
        (pl.col("AAE180") * 8 // 100).alias("BIC102"),
        (pl.col("AAE180") * 8 // 100).alias("BIC103"),
        (pl.col("AAE180") * 20 // 100).alias("AAB180"),
        (pl.col("AAE180") * 20 // 100).alias("BAB102"),
    )
    money = ["AAC040", "AAE180", "AAE240", "BIC104"]
    paid_money = ["BIC102", "BIC103", "AAB180", "BAB102"]
    return {
        "AC02": both.with_columns(yuan(c) for c in money),
        "AC43": contributions.with_columns(yuan(c) for c in paid_money),
    }


def _benefits(people: pl.DataFrame, employers: int, region: str, rng: np.random.Generator) -> pl.DataFrame:
    count = people.height
    born = people.get_column("AAC006").to_numpy()
    retired = (born // 10_000 + 60) * 10_000 + born % 10_000
    month = retired // 100
    months = rng.integers(180, 480, count)
    basic = _money(FIGURES["pension_mean_yuan"] * 0.55 * rng.lognormal(-0.05, 0.3, count))
    account = _money(FIGURES["pension_mean_yuan"] * 0.25 * rng.lognormal(-0.05, 0.3, count))
    transitional = _money(FIGURES["pension_mean_yuan"] * 0.15 * rng.lognormal(-0.05, 0.3, count))
    allowance = _money(FIGURES["pension_mean_yuan"] * 0.05 * np.ones(count))
    total = basic + account + transitional + allowance
    frame = pl.DataFrame(
        {
            "AAC001": people.get_column("AAC001"),
            "employer": rng.integers(0, employers, count),
            "AIC161": rng.choice(["1", "2", "3", "4"], count, p=[0.01, 0.9, 0.05, 0.04]),
            "AIC162": retired,
            "AIC160": np.where(month % 100 == 12, month + 89, month + 1),
            "AAE116": rng.choice(["1", "2"], count, p=[0.99, 0.01]),
            "AAE201": months,
            "AAE200": rng.integers(0, 120, count),
            "AIC164": [f"{v:.4f}" for v in rng.uniform(0.6, 2.4, count)],
            "AIC240": basic,
            "BIC201": transitional,
            "AIC242": account,
            "BIC202": allowance,
            "AIC263": total,
            "BIC203": total - account,
            "BIC204": account,
            "AAE240": account * rng.integers(1, 140, count),
            "AAE145": rng.choice(["1", "2", "5"], count),
            "AAA071": "1",
            "BAC201": rng.choice(["0", "1"], count, p=[0.22, 0.78]),
        }
    ).with_columns(employer_number(region, pl.col("employer")).alias("AAB001"))
    money = ["AIC240", "BIC201", "AIC242", "BIC202", "AIC263", "BIC203", "BIC204", "AAE240"]
    return frame.drop("employer").with_columns(yuan(c) for c in money)


def _unemployment(insured: pl.DataFrame, period: int, rng: np.random.Generator) -> dict[str, pl.DataFrame]:
    """Registered unemployed among those whose contributions are suspended; about half of them draw benefit."""
    idle = insured.filter((pl.col("AAE140") == "110") & (pl.col("AAC031") == "2"))
    count = min(
        idle.height, int(round(insured.get_column("AAC001").n_unique() * FIGURES["registered_share"]))
    )
    since = rng.integers(1, 20, count)
    lost = _months_before(period, since) * 100 + 5
    registered = pl.DataFrame(
        {
            "AAC001": idle.get_column("AAC001").head(count),
            "AJC090": lost,
            "AJC093": rng.choice(["1", "2", "4"], count),
            "AJC094": lost + 10,
            "BJC101": rng.choice(["Y", "N"], count, p=[0.1, 0.9]),
        }
    )
    draws = int(round(count * FIGURES["drawing_share"]))
    drawn = np.minimum(since[:draws], 11)
    drawing = pl.DataFrame(
        {
            "AAC001": registered.get_column("AAC001").head(draws),
            "AJC090": lost[:draws],
            "BJC103": _months_before(period, drawn),
            "AJC097": drawn + rng.integers(1, 13, draws),
            "AJC098": drawn,
            "BJC102": _money(rng.uniform(600, 900, draws)),
        }
    ).with_columns((pl.col("AJC097") - pl.col("AJC098")).alias("AJC099"), yuan("BJC102"))
    return {"JC01": registered, "JC10": drawing}
