"""A sample city is the same for the same seed, of people who cannot exist, in the proportions it promises."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path

import polars as pl
import pytest
from tests.postgres import fresh_database
from tests.sample.city import PERIOD, PERSONS, REGION, hash_of, made, sample_city, tables_of

from jinbao.model.errors import SourceError
from jinbao.sample.generate import PERSONS_MIN, generate
from jinbao.sample.people import FIGURES, City, make_city
from jinbao.sample.schema import TABLES

CREDIT_WEIGHTS = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)
CREDIT_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
OLD_WEIGHTS = (3, 7, 9, 10, 5, 8, 4, 2)
BORN_LIVING_MIN = 1905
"""Nobody alive was born before this year."""


@cache
def plain_city() -> City:
    """The city before anything odd or wrong was planted."""
    return make_city(REGION, PERSONS, 1, PERIOD)


def person_check(body: str) -> str:
    """The check character of GB 11643, by the recursion of ISO 7064 MOD 11-2."""
    rest = 0
    for digit in body:
        rest = (rest + int(digit)) * 2 % 11
    return "0123456789X"[(12 - rest) % 11]


def credit_check(body: str) -> str:
    """The check character of GB 32100, by the standard's table of weights."""
    total = sum(CREDIT_ALPHABET.index(c) * w for c, w in zip(body, CREDIT_WEIGHTS, strict=True))
    return CREDIT_ALPHABET[-total % 31]


def organisation_check(body: str) -> str:
    """The check character of GB 11714."""
    total = sum(int(c, 36) * w for c, w in zip(body, OLD_WEIGHTS, strict=True))
    return "0123456789X"[-total % 11]


def share(part: float, whole: float) -> float:
    """A part of a whole."""
    return float(part) / float(whole)


def exact(tables: Mapping[str, pl.DataFrame]) -> dict[str, list[tuple[object, ...]]]:
    """Rows in order of their key, cells as declared: numbers by value, CHAR without padding."""
    return {
        name: sorted(
            (tuple(_cell(TABLES[name][c], v) for c, v in row.items()) for row in frame.iter_rows(named=True)),
            key=lambda row: [str(cell) for cell in row[:3]],
        )
        for name, frame in tables.items()
    }


def _cell(kind: str, text: str | None) -> object:
    if text is None:
        return None
    if kind.startswith("NUMERIC"):
        return Decimal(text)
    return text.rstrip(" ") if kind.startswith("CHAR") else text


def test_the_checks_of_this_module_know_the_standards_examples() -> None:
    """The arithmetic used below gives the check characters of published examples."""
    assert person_check("11010519491231002") == "X"
    assert person_check("44052418800101001") == "4"
    assert credit_check("91350100M000100Y4") == "3"
    assert organisation_check("D2143569") == "X"


def test_one_seed_is_one_city(tmp_path: Path) -> None:
    """The same seed writes the same rows and ledger again, and another seed writes others."""
    ledger, tables = sample_city()

    again = made(f"sqlite:///{tmp_path / 'again.db'}")
    _, others = sample_city(2)

    assert again == ledger
    assert hash_of(tables_of(f"sqlite:///{tmp_path / 'again.db'}")) == hash_of(tables)
    assert hash_of(others) != hash_of(tables)


def test_every_person_has_a_number_that_passes_its_check() -> None:
    """All numbers of a plain city are different, agree with birth and sex, and pass GB 11643."""
    people = plain_city().tables["AC01"].select("AAC002", "AAC004", "AAC006").rows()

    assert len({number for number, _, _ in people}) == PERSONS
    for number, sex, born in people:
        assert number[17] == person_check(number[:17])
        assert number[6:14] == str(born)
        assert date(born // 10_000, born // 100 % 100, born % 100)
        assert (int(number[16]) % 2 == 1) == (sex == "M")


def test_every_employer_has_a_code_that_passes_its_check() -> None:
    """All codes are different, and pass GB 32100 or, where old, GB 11714."""
    codes = plain_city().tables["AB01"].get_column("AAB003").to_list()

    assert len(set(codes)) == len(codes)
    assert {len(code) for code in codes} == {9, 18}
    for code in codes:
        assert code[-1] == (credit_check(code[:17]) if len(code) == 18 else organisation_check(code[:8]))


def test_no_number_can_be_a_living_person_s() -> None:
    """Every number that GB 11643 could have issued has the county suffix 99, never assigned, or a birth of the dead."""
    texts = sample_city()[1]["AC01"].get_column("AAC002").str.strip_chars().to_list()
    plain = [text.translate({0xFF10 + at: str(at) for at in range(10)} | {0xFF38: "X"}) for text in texts]
    issued = [text for text in plain if text[:6].isdigit() and len(text) in {15, 18}]

    assert len(issued) > PERSONS - 10
    for number in issued:
        assert number[4:6] == "99" or int(number[6:10]) < BORN_LIVING_MIN


def test_region_columns_carry_real_counties() -> None:
    """Persons and employers live in counties that exist, though no number names one."""
    tables = plain_city().tables

    counties = {*tables["AC01"].get_column("AAB301"), *tables["AB01"].get_column("AAB301")}

    assert "140105" in counties
    assert all(county.startswith("1401") and not county.endswith("99") for county in counties)


def test_proportions_are_those_of_the_figures() -> None:
    """Retirees, sex, unemployment cover, wages and pensions are those of figures.toml, within tolerance."""
    tables = plain_city().tables
    people, pension = tables["AC01"], tables["AC02"].filter(pl.col("AAE140") == "110")
    covered = tables["AC02"].filter(pl.col("AAE140") == "210").height
    benefit = tables["IC10"].get_column("AIC263").cast(pl.Float64).mean()
    base = pension.get_column("AAE180").cast(pl.Float64).mean()
    assert isinstance(benefit, float)
    assert isinstance(base, float)

    close = pytest.approx

    assert share(tables["IC10"].height, PERSONS) == close(1 - FIGURES["active_share"], abs=0.0005)
    assert share((people.get_column("AAC004") == "M").sum(), PERSONS) == close(
        FIGURES["male_share"], abs=0.03
    )
    assert share(covered, pension.height) == close(FIGURES["unemployment_insured_share"], abs=0.03)
    assert share(tables["JC01"].height, PERSONS) == close(FIGURES["registered_share"], abs=0.007)
    assert share(tables["JC10"].height, tables["JC01"].height) == close(FIGURES["drawing_share"], abs=0.01)
    assert benefit == close(FIGURES["pension_mean_yuan"], rel=0.05)
    assert base == close(FIGURES["wage_mean_yuan"], rel=0.08)


def test_ages_are_those_of_workers_and_of_retirees() -> None:
    """Contributors are between 20 and 59 years old and retirees between 60 and 96, with ages in all decades."""
    tables = plain_city().tables
    age = (pl.lit(PERIOD // 100) - pl.col("AAC006") // 10_000).alias("age")
    retired = pl.col("AAC001").is_in(tables["IC10"].get_column("AAC001").implode())

    working = tables["AC01"].filter(~retired).select(age).to_series()
    resting = tables["AC01"].filter(retired).select(age).to_series()

    assert (working // 10).unique().sort().to_list() == [2, 3, 4, 5]
    assert {6, 7, 8} <= set(resting // 10) <= {6, 7, 8, 9}
    assert working.mean() == pytest.approx((20 + 38 + 59) / 3, abs=1)
    assert resting.mean() == pytest.approx((60 + 66 + 96) / 3, abs=1)


@pytest.mark.database
def test_sqlite_and_postgresql_get_the_same_city() -> None:
    """Row by row a city in PostgreSQL says what it says in SQLite, NULL and '' told apart, and money to the fen."""
    url = fresh_database()

    ledger = made(url)

    assert ledger == sample_city()[0]
    assert exact(tables_of(url)) == exact(sample_city()[1])


def test_county_databases_share_the_city(tmp_path: Path) -> None:
    """Split over three files, every row is in one of them, and together they are the city in one file."""
    urls = [f"sqlite:///{tmp_path / name}" for name in ("a.db", "b.db", "c.db")]

    ledger = made(*urls)

    assert ledger == sample_city()[0]
    assert hash_of(tables_of(*urls)) == hash_of(sample_city()[1])
    assert all(tables_of(url)["AC01"].height > PERSONS // 4 for url in urls)


def test_too_few_persons_are_refused(tmp_path: Path) -> None:
    """A city too small for every kind of defect is refused, and no database is made."""
    with pytest.raises(SourceError, match=f"expected at least {PERSONS_MIN}, got 4999"):
        generate([f"sqlite:///{tmp_path / 'c.db'}"], region=REGION, persons=4999, seed=1, period=PERIOD)

    assert not (tmp_path / "c.db").exists()


def test_a_database_with_such_tables_is_never_overwritten(tmp_path: Path) -> None:
    """A database that holds one of the tables is refused by its URL, and stays as it was."""
    made(f"sqlite:///{tmp_path / 'c.db'}")
    before = hash_of(tables_of(f"sqlite:///{tmp_path / 'c.db'}"))

    with pytest.raises(SourceError, match="expected a database without these tables, got AB01, AC01"):
        made(f"sqlite:///{tmp_path / 'c.db'}", seed=2)

    assert hash_of(tables_of(f"sqlite:///{tmp_path / 'c.db'}")) == before
