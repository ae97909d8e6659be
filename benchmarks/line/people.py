"""Persons who do not exist: one wide business table of 40 columns, seeded, block by block.

The same seed and number of rows give the same table. Numbers pass their checks and belong
to nobody (the county was never assigned), except for few rows that are wrong on purpose,
so that the gate has work: one check digit in a thousand, one code in two thousand.
Knows nothing of databases; `sources` loads what this makes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import polars as pl

from jinbao.sample.numbers import credit_codes, synthetic_county

REGION, PERIOD = "140100", 202410
BLOCK_ROWS = 250_000
BAD_DIGIT, BAD_CODE = 0.001, 0.0005
_SEED = 20_241_001

SURNAMES = (
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎"
)
GIVEN = "伟芳娜秀英敏静丽强磊军洋勇艳杰娟涛明超兰霞平刚桂文辉玲建国华志红梅春生海云龙凤雪晓东宇晨欣怡子涵浩然"
STREETS = (
    "迎泽大街",
    "并州南路",
    "长风街",
    "学府街",
    "平阳路",
    "滨河东路",
    "府东街",
    "解放路",
    "新建南路",
    "体育路",
)
WORKS = ("煤业", "机械", "商贸", "建筑工程", "物流", "餐饮", "信息技术", "物业服务", "农业", "医药")

CODES = {
    "AAC005": ("01", "02", "03", "11"),
    "AAC008": ("1", "2", "4"),
    "AAC009": ("10", "20"),
    "AAC011": ("10", "20", "21", "30"),
    "AAC012": ("1", "2", "3", "4"),
    "AAC019": ("1", "2", "3"),
    "AAC028": ("0", "1"),
    "AAC031": ("1", "2", "3"),
    "AAB019": ("10", "21", "30", "60"),
    "AAB020": ("110", "150", "170", "175"),
    "AAB022": ("06", "34", "47", "51", "61"),
    "AAB033": ("1", "2", "3"),
    "AAB051": ("0", "1", "2"),
    "AAE145": ("1", "2", "3", "9"),
}
"""Codes a row takes by chance; those of the standard's lists, which know more."""

AMOUNTS = ("AAE180", "AIC020", "AIC021", "AIC022", "AIC023")
DATES = ("AAC006", "AAC007", "AAE030")
MOMENTS = ("AAE035", "AAE036")
COLUMNS = (
    "AAC001", "AAC002", "AAC003", "AAC004", "AAC005", "AAC006", "AAC007", "AAC008", "AAC009", "AAC010",
    "AAC011", "AAC012", "AAC019", "AAC028", "AAC031", "AAC049", "AAB001", "AAB003", "AAB004", "AAB019",
    "AAB020", "AAB022", "AAB033", "AAB051", "AAB301", "AAE002", "AAE004", "AAE005", "AAE006", "AAE007",
    "AAE030", "AAE035", "AAE036", "AAE145", "AAE180", "AIC020", "AIC021", "AIC022", "AIC023", "AAE013",
)  # fmt: skip
"""In the order of the standard; all are text as a business database prints them."""

_Numbers = npt.NDArray[np.int64]


def blocks(rows: int) -> Iterator[pl.DataFrame]:
    """The table in blocks of `BLOCK_ROWS`, in order of its key, every column as text."""
    works = credit_codes(REGION, min(20_000, max(50, rows // 50)))
    for at, first in enumerate(range(0, rows, BLOCK_ROWS)):
        rng = np.random.default_rng([_SEED, at])
        serial = np.arange(first, min(first + BLOCK_ROWS, rows))
        yield _block(rng, serial, works).select(COLUMNS)


def _block(rng: np.random.Generator, serial: _Numbers, works: list[str]) -> pl.DataFrame:
    count = len(serial)
    male = rng.integers(0, 2, count).astype(bool)
    born = _days(rng, count, 1950, 2004)
    employer = rng.integers(0, len(works), count)
    frame = pl.DataFrame({"serial": serial, "male": male, "born": born, "employer": employer})
    frame = frame.with_columns(
        pl.Series("AAC002", _numbers(rng, born, male)),
        *(_picked(rng, count, name, codes) for name, codes in CODES.items()),
        *(_amount(rng, count, name) for name in AMOUNTS),
        *_written(rng, count),
        pl.Series("AAB003", np.asarray(works)[employer]),
    )
    dates = frame.select(
        pl.col("born").alias("AAC006"), pl.Series("AAC007", _days(rng, count, 2005, 2020)),
        pl.Series("AAE030", _days(rng, count, 2021, 2024)),
    )  # fmt: skip
    frame = frame.with_columns(pl.col("serial").cast(pl.String).str.zfill(8).alias("number"))
    return frame.with_columns(
        (pl.lit(REGION) + pl.col("number")).alias("AAC001"),
        pl.when("male").then(pl.lit("1")).otherwise(pl.lit("2")).alias("AAC004"),
        *(dates.get_column(name).cast(pl.Date).dt.to_string("%Y-%m-%d").alias(name) for name in DATES),
        dates.get_column("AAC007").cast(pl.Date).dt.to_string("%Y%m").alias("AAC049"),
        (pl.lit("14") + pl.col("employer").cast(pl.String).str.zfill(8)).alias("AAB001"),
        pl.lit(REGION).alias("AAB301"),
        pl.lit(str(PERIOD)).alias("AAE002"),
        (pl.lit("13") + (pl.col("serial") * 7919 % 10**9).cast(pl.String).str.zfill(9)).alias("AAE005"),
        pl.lit("030000").alias("AAE007"),
    )


def _days(rng: np.random.Generator, count: int, first: int, last: int) -> npt.NDArray[np.int32]:
    """Days since 1970 of chance dates from the first to before the last year."""
    low, high = (int(np.datetime64(f"{year}-01-01", "D").astype(int)) for year in (first, last))
    return rng.integers(low, high, count).astype(np.int32)


def _numbers(rng: np.random.Generator, born: npt.NDArray[np.int32], male: npt.NDArray[np.bool_]) -> pl.Series:
    """18-character numbers of GB 11643; one in a thousand with a wrong check digit."""
    count = len(born)
    days = pl.Series(born).cast(pl.Date).dt.to_string("%Y%m%d").cast(pl.Int64).to_numpy()
    order = rng.integers(0, 499, count) * 2 + np.where(male, 1, 2)
    body = (int(synthetic_county(REGION)) * 10**11 + days * 1000 + order).astype(np.int64)
    digits = body[:, None] // 10 ** np.arange(16, -1, -1, dtype=np.int64) % 10
    rest = (digits * np.array([2 ** (17 - place) % 11 for place in range(17)])).sum(axis=1) % 11
    check = (12 - rest) % 11
    check = np.where(rng.random(count) < BAD_DIGIT, (check + 1) % 11, check)
    return pl.Series(body).cast(pl.String) + pl.Series(np.array([*"0123456789X"])[check])


def _picked(rng: np.random.Generator, count: int, name: str, codes: tuple[str, ...]) -> pl.Series:
    picked = np.asarray(codes)[rng.integers(0, len(codes), count)]
    if name == "AAC009":
        picked = np.where(rng.random(count) < BAD_CODE, "77", picked)
    return pl.Series(name, picked)


def _amount(rng: np.random.Generator, count: int, name: str) -> pl.Series:
    """Yuan with two decimals; contributions are rarely above 30 000."""
    cents = pl.Series(rng.integers(1, 3_000_000, count))
    return ((cents // 100).cast(pl.String) + "." + (cents % 100).cast(pl.String).str.zfill(2)).alias(name)


def _written(rng: np.random.Generator, count: int) -> Iterator[pl.Series]:
    """Names, addresses, moments and remarks."""

    def some(of: str | tuple[str, ...]) -> pl.Series:
        return pl.Series(np.asarray([*of])[rng.integers(0, len(of), count)])

    def number(most: int) -> pl.Series:
        return pl.Series(rng.integers(1, most, count)).cast(pl.String)

    yield (some(SURNAMES) + some(GIVEN) + some(GIVEN)).alias("AAC003")
    yield (some(SURNAMES) + some(GIVEN)).alias("AAE004")
    yield ("山西省太原市" + some(STREETS) + number(400) + "号" + number(30) + "室").alias("AAE006")
    yield ("山西省太原市" + some(STREETS) + number(400) + "号").alias("AAC010")
    yield ("太原市" + some(SURNAMES) + some(GIVEN) + some(WORKS) + "有限公司").alias("AAB004")
    for name, (first, last) in zip(MOMENTS, ((2010, 2020), (2020, 2024)), strict=True):
        seconds = _days(rng, count, first, last).astype(np.int64) * 86_400 + rng.integers(0, 86_400, count)
        moments = pl.Series(name, seconds * 1_000_000).cast(pl.Datetime("us"))
        yield moments.dt.to_string("%Y-%m-%d %H:%M:%S")
    said = pl.Series("AAE013", np.where(rng.random(count) < 0.1, "补缴", ""))
    yield said.replace("", None)
