"""The published standards load, and a wrong file says where and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from jinbao.model.errors import SettingsError
from jinbao.quality.rules import CHECKS
from jinbao.registry.standards import load_standards

STANDARDS = Path(__file__).parents[2] / "tiers" / "standards"


def test_the_pension_library_has_the_eighty_core_items() -> None:
    """22 items of employers, 30 of active persons, 28 of retirees."""
    pension = load_standards(STANDARDS)["pension_macro"]

    sizes = {table.id: len(table.items) for table in pension.tables}

    assert sizes == {"employer": 22, "active_person": 30, "retiree": 28}


def test_every_rule_is_one_the_gate_can_judge_and_reads_in_both_languages() -> None:
    """A rule of an unknown kind or without a text would first fail in production."""
    rules = [rule for s in load_standards(STANDARDS).values() for t in s.tables for rule in t.rules]

    assert rules
    for rule in rules:
        assert rule.check in CHECKS, rule.id
        assert rule.text_zh, rule.id
        assert rule.text_en, rule.id


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ('items = ["AAB003"]', 'items = ["AAB0003"]', "AAB0003; did you mean AAB003"),
        ('library = "', 'libary = "', "expected key library"),
        ('key = ["AAB001"]', 'key = ["AAB0001"]', "AAB0001; did you mean AAB001"),
        (
            'check = "unique"',
            'check = "not_negative"',
            "employer: rules: expected a rule unique over the key AAB001",
        ),
        (
            '"employer_no", "C", 20, 0, "", true',
            '"employer_no", "C", 20, 0, "", false',
            "employer: key: expected mandatory items, got AAB001",
        ),
    ],
    ids=["rule of no item", "misspelt key", "key of no item", "rows of one key", "rows of no key"],
)
def test_a_wrong_file_is_named_with_the_nearest_right_word(
    tmp_path: Path, right: str, wrong: str, message: str
) -> None:
    """The message has the file, what was expected, what was got, and the nearest name."""
    for name in ("code_lists.toml", "pension_macro.toml"):
        text = (STANDARDS / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace(right, wrong, 1), encoding="utf-8")

    with pytest.raises(SettingsError, match=message) as caught:
        load_standards(tmp_path)

    assert "pension_macro.toml" in str(caught.value)
