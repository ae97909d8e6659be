"""The gate: one defect is one finding, one bad row stops neither the table nor vanishes."""

from __future__ import annotations

import polars as pl
import pytest
from tests.whole import judge_whole

from jinbao.model.finding import FINDING_COLUMNS, Scope, Severity, Verdict
from jinbao.model.standard import Item, ItemType, Limits, Rule, Standard, Table
from jinbao.quality.gate import Judgement

PERIOD = 202409
GOOD, WRONG = "11010519491231002X", "110105194912310021"
ROW = {"AAC001": "1", "AAC002": GOOD, "AAC004": "2", "AAC006": 19491231, "AAB001": "E1"}


def rule(check: str, scope: Scope, *items: str, **arguments: object) -> Rule:
    """A rule named as its check."""
    return Rule(check, "person", check, scope, Severity.ERROR, items, "规则", "rule", arguments)


def text(code: str, length: int) -> Item:
    """A mandatory text item."""
    return Item(code, code, code, ItemType.TEXT, length, mandatory=True)


BORN = Item("AAC006", "出生日期", "born", ItemType.DATE, 8, mandatory=True)
LIMITS = Limits(bad_rows_min=2, bad_rows_max=5, bad_share_max=0.5)
EMPLOYER = Table("employer", "单位", "employer", (text("AAB001", 5),), ("AAB001",), (), (), LIMITS)
PERSON = Table(
    "person",
    "人员",
    "person",
    (text("AAC001", 5), text("AAC002", 18), text("AAC004", 1), BORN, text("AAB001", 5)),
    ("AAC001",),
    (),
    (
        rule("unique", Scope.BATCH, "AAC001"),
        rule("person_id", Scope.ROW, "AAC002"),
        rule("id_birth", Scope.ROW, "AAC006", "AAC002"),
        rule("id_sex", Scope.ROW, "AAC004", "AAC002"),
        rule("reference", Scope.SUBMISSION, "AAB001", table="employer", foreign="AAB001"),
    ),
    LIMITS,
)
EMPLOYERS = pl.DataFrame({"AAB001": ["E1"]})
STANDARD = Standard("small", "1.0", "小", "small", 200001, (EMPLOYER, PERSON), {})


def judged(*changes: dict[str, object], employers: tuple[str, ...] = ("E1",)) -> Judgement:
    """Persons numbered from 1 on, each a good row with these changes."""
    rows = [ROW | {"AAC001": str(at)} | change for at, change in enumerate(changes, 1)]
    frames = {
        "employer": pl.DataFrame({"AAB001": employers}),
        "person": pl.DataFrame(
            rows, schema={i.code: pl.String if i.is_text else pl.Int64 for i in PERSON.items}
        ),
    }
    return judge_whole(STANDARD, PERIOD, frames)["person"]


def verdict_of(result: Judgement) -> Verdict:
    """What the limits of the table say of the judged rows."""
    stopped = result.quarantined.height
    return LIMITS.verdict(result.passed.height + stopped, stopped)


@pytest.mark.parametrize(
    ("change", "item", "found"),
    [
        ({"AAC002": None}, "AAC002", "Q-01"),
        ({"AAC002": ""}, "AAC002", "Q-01"),
        ({"AAC002": WRONG}, "AAC002", "person_id"),
        ({"AAC006": 20230230}, "AAC006", "Q-12"),
        ({"AAC006": 19491230}, "AAC006", "id_birth"),
        ({"AAC004": "1"}, "AAC004", "id_sex"),
        ({"AAB001": "E9"}, "AAB001", "reference"),
        ({"AAB001": "E99999"}, "AAB001", "Q-11"),
    ],
    ids=["no number", "empty", "check digit", "no day", "birth", "sex", "no employer", "too long"],
)
def test_one_defect_is_one_finding(change: dict[str, object], item: str, found: str) -> None:
    """A defect gives the finding of its own rule and no other, and stops its row only."""
    result = judged({}, change)

    assert result.findings.select("key", "item", "rule").rows() == [("2", item, found)]
    assert result.passed.get_column("AAC001").to_list() == ["1"]
    assert result.quarantined.get_column("key").to_list() == ["2"]
    assert verdict_of(result) is Verdict.WITH_QUARANTINE


@pytest.mark.parametrize("number", ["E12345678", "H1234567801"], ids=["passport", "permit"])
def test_a_foreign_document_is_no_defect(number: str) -> None:
    """Documents outside GB 11643 say nothing about birth and sex and are not judged by it."""
    result = judged({"AAC002": number, "AAC006": 19800101, "AAC004": "1"})

    assert result.findings.is_empty()
    assert verdict_of(result) is Verdict.ACCEPTED


def test_both_rows_of_one_key_are_stopped() -> None:
    """Nobody can know which of two is right, so neither passes, and none is lost."""
    result = judged({}, {"AAC001": "1"}, {"AAC001": "3"})

    assert result.quarantined.height == 2
    assert result.passed.get_column("AAC001").to_list() == ["3"]


@pytest.mark.parametrize("severity", [Severity.WARNING, Severity.ERROR])
def test_a_key_that_did_not_decode_is_still_there_once(severity: Severity) -> None:
    """Two rows of one key are stopped though conversion warned of it; where it was an error, that is the finding."""
    said = pl.DataFrame(
        [("person", "1", "AAC001", "C-03", str(severity), "ff")] * 2, FINDING_COLUMNS, orient="row"
    )
    rows = pl.DataFrame([ROW, ROW])

    found = judge_whole(STANDARD, PERIOD, {"employer": EMPLOYERS, "person": rows}, {"person": said})["person"]

    rules = found.findings.get_column("rule").unique().sort().to_list()
    assert (found.passed.height, found.quarantined.height) == (0, 2)
    assert rules == (["C-03"] if severity is Severity.ERROR else ["C-03", "unique"])


@pytest.mark.parametrize(
    ("bad", "good", "verdict"),
    [
        (2, 0, Verdict.WITH_QUARANTINE),
        (3, 3, Verdict.WITH_QUARANTINE),
        (3, 2, Verdict.REFUSED),
        (5, 50, Verdict.WITH_QUARANTINE),
        (6, 50, Verdict.REFUSED),
    ],
    ids=["too few to say", "share at the limit", "share above", "count at the limit", "count above"],
)
def test_a_table_is_refused_by_count_or_by_share(bad: int, good: int, verdict: Verdict) -> None:
    """Each limit holds at its last allowed value and refuses one row later."""
    result = judged(*[{"AAC002": WRONG}] * bad, *[{}] * good)

    assert verdict_of(result) is verdict
    assert result.passed.height + result.quarantined.height == bad + good
