"""What is planted is what the gate finds: nothing is missed, and no legal row is accused."""

from __future__ import annotations

from functools import cache

import polars as pl
import pytest
from tests.sample.city import PERIOD, PERSONS, REGION, SEED, Tables, findings, sample_city

from jinbao.sample.edit import Editor
from jinbao.sample.odd import ODD_KINDS
from jinbao.sample.people import City, make_city


class Watched(Editor):
    """An editor that remembers which rows it handed out."""

    def __init__(self, city: City) -> None:
        super().__init__(city)
        self.taken: list[str] = []

    def take(self, group: str) -> str:
        """The next untouched row, remembered."""
        self.taken.append(super().take(group))
        return self.taken[-1]


@cache
def odd_city() -> tuple[City, dict[str, str]]:
    """The city with odd rows and no defects, and the key of the row each odd kind went to."""
    editor = Watched(make_city(REGION, PERSONS, SEED, PERIOD))
    found = {}
    for kind, edit in ODD_KINDS.items():
        edit(editor)
        found[kind] = editor.taken[-1]
    return editor.city, found


@cache
def plain_city() -> City:
    """The city before anything odd or wrong was planted."""
    return make_city(REGION, PERSONS, SEED, PERIOD)


def rows_of(city: City, key: str) -> list[tuple[object, ...]]:
    """All rows of one person or employer."""
    chosen = pl.any_horizontal(pl.col("^AA[BC]001$") == key)
    return [
        row for table in ("AB01", "AC01", "AC02", "IC10") for row in city.tables[table].filter(chosen).rows()
    ]


def texts_of(tables: Tables, key: str) -> list[tuple[str | None, ...]]:
    """The cells of one person or employer that odd kinds speak of, and no database words its own way."""
    columns = {
        "AB01": ("AAB001", "AAB003"),
        "AC01": ("AAC001", "AAC002", "AAC003", "AAC005", "AAC006", "AAC009", "AAC011"),
        "AC02": ("AAC001", "AAE140", "AAB191", "AAC019", "AAC031", "AAC049"),
        "IC10": ("AAC001", "AAB001", "AIC160"),
    }
    rows = []
    for table, names in columns.items():
        chosen = tables[table].filter(pl.col(names[0]) == key)
        rows += chosen.select(pl.col(names).cast(pl.String)).rows()
    return rows


def test_the_gate_finds_exactly_what_was_planted() -> None:
    """The findings of conversion and gate over a whole city are the ledger of defects, as sets."""
    planted = sample_city()[0].frame().select("library", "table", "key", "item", "rule")

    found = findings()

    assert set(found.rows()) - set(planted.rows()) == set(), "false alarms"
    assert set(planted.rows()) - set(found.rows()) == set(), "missed"
    assert found.height == len(set(found.rows())), "one defect is said once"


def test_many_rules_are_put_to_the_test() -> None:
    """The planted defects name at least thirty different rules and items in every table of both libraries."""
    planted = sample_city()[0].frame()

    kinds = set(planted.select("table", "item", "rule").rows())

    assert len(kinds) >= 35
    assert set(planted.get_column("library")) == {"pension_macro", "unemployment_monitor"}
    assert planted.get_column("table").n_unique() >= 6


@pytest.mark.parametrize("kind", ODD_KINDS)
def test_an_odd_row_is_no_defect(kind: str) -> None:
    """A row of each odd but legal kind is in the city, as it was made, and has no finding."""
    city, keys = odd_city()
    key = keys[kind]

    accused = findings().get_column("key").str.split("|").explode()

    assert texts_of(sample_city()[1], key) == texts_of(city.tables, key) != []
    assert key not in accused


def test_odd_rows_differ_from_plain_ones() -> None:
    """Every odd kind makes of its row something the plain city had not, save one that all such rows already are."""
    city, keys = odd_city()

    same = {kind for kind, key in keys.items() if rows_of(city, key) == rows_of(plain_city(), key)}

    assert same == {"suspended without wage"}


def test_every_odd_kind_has_a_row_of_its_own() -> None:
    """At least twenty odd kinds are planted, each in another row, and the ledger names them all."""
    assert len(ODD_KINDS) >= 20
    assert len(set(odd_city()[1].values())) == len(ODD_KINDS)
    assert sample_city()[0].odd_kinds == list(ODD_KINDS)
