"""The reference pages say what the code says: nothing is missing from them, and nothing in them is old."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from scripts.reference.cli import shapes
from scripts.reference.commands import commands, speaks_json
from scripts.reference.errors import error_classes
from scripts.reference.evidence import evidence_clauses
from scripts.reference.pages import BLOCKS, COMMAND, english, made_pages, renewed
from scripts.reference.places import CONTRACTS, PAGES
from scripts.reference.settings import setting_keys
from scripts.reference.standards import standards
from scripts.reference.wire import clauses
from scripts.reference.words import chinese
from tests.cli.test_shapes import AUTHORITY, READS, WRITES
from tests.house.tree import ROOT, modules

from jinbao.appliance.metrics import METRICS
from jinbao.appliance.settings import (
    AuditSettings,
    CopySettings,
    EvidenceSettings,
    Limits,
    LineSettings,
    Paces,
    PromotionSettings,
    RoleSettings,
    Settings,
    SourceSettings,
    UpgradeSettings,
    WatchSettings,
    WindowSettings,
    ZoneSettings,
)
from jinbao.model.errors import JinbaoError

SECTIONS: dict[str, type[BaseModel]] = {
    "": Settings,
    "limits.": Limits,
    "pace.": Paces,
    "roles.": RoleSettings,
    "audit.": AuditSettings,
    "evidence.": EvidenceSettings,
    "copies.": CopySettings,
    "promotion.": PromotionSettings,
    "watch.": WatchSettings,
    "upgrade.": UpgradeSettings,
    "sources[].": SourceSettings,
    "zones.<zone>.": ZoneSettings,
    "zones.<zone>.line.": LineSettings,
    "zones.<zone>.line.windows[].": WindowSettings,
}

BRANCHES = {
    "limits",
    "pace",
    "sources",
    "zones",
    "roles",
    "audit",
    "evidence",
    "copies",
    "promotion",
    "watch",
    "upgrade",
}
"""Keys of the node that hold sections of their own."""


TWINS = [path.stem for path in PAGES.glob("*.md") if path.with_suffix(".zh.md").exists()]
"""Pages that have a Chinese twin."""


def page(name: str) -> str:
    """One page of the reference."""
    return (PAGES / f"{name}.md").read_text(encoding="utf-8")


def rows(text: str) -> list[list[str]]:
    """Every line of every table, as cells."""
    lines = (line for line in text.splitlines() if line.startswith("| "))
    return [re.split(r" (?<!\\)\| ", line.removeprefix("| ").removesuffix(" |")) for line in lines]


def figures(text: str) -> list[str]:
    """The numbers and names in code of a text; rules say in English alone after which standard a number is checked."""
    return sorted(
        re.findall(r"`[^`]+`|\d+(?:\.\d+)?", re.sub(r" \(GB [GB\d, ]+\)|parity of the 17th digit", "", text))
    )


@pytest.mark.parametrize("path", [pytest.param(p, id=p.stem) for p in made_pages()])
def test_a_page_is_what_the_code_makes(path: Path) -> None:
    """Every table made from code is what the code makes today."""
    committed = path.read_text(encoding="utf-8")

    made = renewed(committed)

    assert committed == made, f"{path.name}: expected what the code says, got an older page: run {COMMAND}"


def test_every_block_is_on_a_page() -> None:
    """Each table the script makes stands on exactly one page."""
    text = "".join(path.read_text(encoding="utf-8") for path in PAGES.glob("*.md"))

    placed = re.findall(r"<!-- made: ([a-z-]+) -->", text)

    assert sorted(placed) == sorted(BLOCKS)


def _settings() -> Iterator[tuple[str, Any]]:
    for prefix, model in SECTIONS.items():
        for name, field in model.model_fields.items():
            if (prefix or name not in BRANCHES) and field.annotation is not LineSettings:
                yield f"{prefix}{field.alias or name}", field


@pytest.mark.parametrize("kind", list(english()))
def test_what_is_said_in_english_has_its_chinese(kind: str) -> None:
    """Each sentence has one in the table of Chinese ones, in Chinese and to the end, and nothing else stands there."""
    whole = re.compile(r".*[\u4e00-\u9fff].*")
    said, meant = chinese()[kind], english()[kind]

    assert meant
    assert list(said) == list(meant)
    open_ends = [s for name, s in said.items() if meant[name].endswith(".") and not s.endswith("。")]
    other = [name for name, s in said.items() if figures(s) != figures(meant[name])]
    assert [s for s in said.values() if not whole.match(s)] == []
    assert open_ends == []
    assert other == [], "a number, or a name in code, in one language only"


def test_no_kind_of_chinese_sentences_is_left_over() -> None:
    """The table of Chinese sentences has the kinds that are said in English, and no others."""
    assert list(chinese()) == list(english())


@pytest.mark.parametrize("name", TWINS)
def test_a_chinese_sentence_has_the_figures_and_names_of_the_english(name: str) -> None:
    """No line of a table has a number, or a name in code, in one language only."""
    pairs = list(zip(rows(page(name)), rows(page(f"{name}.zh")), strict=True))

    said = [(figures(" ".join(en)), figures(" ".join(zh))) for en, zh in pairs]

    assert any(en for en, _ in said)
    assert [(en, zh) for en, zh in said if en != zh] == []


def test_every_setting_of_the_code_is_among_those_to_be_said() -> None:
    """The keys the pages are made of are those of every section."""
    assert sorted(setting_keys()) == sorted(key for key, _ in _settings())


@pytest.mark.parametrize(("key", "field"), [pytest.param(k, f, id=k) for k, f in _settings()])
def test_every_setting_is_explained(key: str, field: Any) -> None:  # pydantic's own field class
    """Each key of the settings is in the reference with its default and its description."""
    found = [row for row in rows(page("settings")) if row[0] == f"`{key}`"]

    assert len(found) == 1, f"settings.md: expected {key} once, got {len(found)}"
    default, text = found[0][1:]
    assert text == field.description
    value = "required" if field.is_required() else field.get_default(call_default_factory=True)
    assert default.strip("`") == ("empty" if value in (None, "", (), {}) else str(value))


def test_every_section_of_the_settings_is_known_here() -> None:
    """A section added to the settings has its own table in the reference."""
    kinds = {name for name, field in Settings.model_fields.items() if "Settings" in str(field.annotation)}
    models = {
        name
        for name, field in Settings.model_fields.items()
        if field.annotation in {Limits, Paces, EvidenceSettings}
    }

    assert kinds | models == BRANCHES


@pytest.mark.parametrize("name", ["metrics", "metrics.zh"])
def test_every_metric_is_explained(name: str) -> None:
    """Each metric is in the reference with its kind, labels and text."""
    found = {row[0].strip("`"): row[1:4] for row in rows(page(name)) if row[0].startswith("`jinbao_")}

    for metric in METRICS:
        text = metric.text_zh if name.endswith(".zh") else metric.text_en
        assert found[metric.name] == [metric.kind, ", ".join(metric.labels), text]


def test_every_metric_a_page_names_exists() -> None:
    """Whatever the pages tell an operator to watch is a metric there is."""
    roles = (ROOT / "ansible" / "roles").glob("*/tasks/main.yml")
    tags = set(re.findall(r"jinbao_[a-z]+", "".join(path.read_text(encoding="utf-8") for path in roles)))
    named = {
        name
        for path in (ROOT / "docs").rglob("*.md")
        for name in re.findall(r"(?<!:)\bjinbao_[a-z_]+(?![a-z_:])", path.read_text(encoding="utf-8"))
        if not name.startswith("jinbao_read")
        and name not in tags  # the account of an example, tags of Ansible
    }

    assert named <= {metric.name for metric in METRICS}


@pytest.mark.parametrize("name", ["cli", "cli.zh"])
def test_every_command_is_explained(name: str) -> None:
    """Each command of the tree has its heading and its words, and its own options are in its table."""
    text = page(name)

    for one in commands("zh" if name.endswith(".zh") else "en"):
        if one["name"] == "jinbao":
            continue
        _, heading, section = text.partition(f"# `{one['name']}`\n")
        assert heading, f"{name}.md: expected a heading for {one['name']}, got none"
        section = section.partition("\n## ")[0].partition("\n### ")[0]
        assert one["help"] in section
        assert all(
            option["names"].split(", ")[-1] in section
            for option in one["options"]
            if option["names"] != "--help"
        )


def test_a_page_is_made_from_what_it_speaks_of() -> None:
    """Every page of the reference has a part that is made, but for the record of the last night, which a person writes."""
    by_hand = {path.stem for path in PAGES.glob("*.md")} - {path.stem for path in made_pages()}

    assert by_hand == {"night", "night.zh"}


def test_every_command_that_speaks_json_has_a_shape() -> None:
    """Each command with `--json` has a golden shape, and no shape is left behind by one that was renamed."""
    speaking = {one["name"] for one in commands("en") if speaks_json(one)}

    assert speaking
    assert shapes().keys() == speaking


def test_every_shape_is_held_by_a_test() -> None:
    """One test holds answers against each golden shape, so that none is only a file, and none is written by two."""
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))

    held = [*READS, *WRITES, *AUTHORITY, *re.findall(r'\bshaped\(\s*"([a-z ]+)"', tests)]

    assert sorted(f"jinbao {name}" for name in held) == sorted(shapes())


def test_every_command_a_page_shows_exists() -> None:
    """Whatever a page types is a command there is."""
    known = {one["name"] for one in commands("en")}
    pages = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "README.zh.md", ROOT / "CHANGELOG.md"]

    shown = {
        (path.name, words)
        for path in pages
        for words in re.findall(r"(?:\$ |`)(jinbao(?: [a-z]+)+)", path.read_text(encoding="utf-8"))
    }

    assert not [(name, words) for name, words in sorted(shown) if not _is_command(words, known)]


def _is_command(words: str, known: set[str]) -> bool:
    """Whether the words open with a command; a group alone needs nothing after it."""
    parts = words.split()
    longest = max(at for at in range(len(parts) + 1) if at == 0 or " ".join(parts[:at]) in known)
    groups = {name.rpartition(" ")[0] for name in known}
    here = " ".join(parts[:longest])
    return longest == len(parts) or (longest > 1 and here not in groups)


@pytest.mark.parametrize("name", ["standards", "standards.zh"])
def test_every_rule_and_item_is_explained(name: str) -> None:
    """Each item and each rule of the standards is in the reference under its library."""
    text = page(name)

    for standard in standards():
        section = text.partition(f"## {standard.library} ")[2]
        for table in standard.tables:
            part = section.partition(f"### {table.id} ")[2].partition("\n### ")[0]
            firsts = {row[0] for row in rows(part)}
            assert {item.code for item in table.items} <= firsts
            assert {rule.id for rule in table.rules} <= firsts


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("standards", "version {version}, in force from {valid_from}"),
        ("standards.zh", "{version} 版，自 {valid_from} 起施行"),
    ],
)
def test_every_standard_of_the_files_is_there(name: str, said: str) -> None:
    """The reference has every library the standards' folder has, by its version."""
    for path in sorted((ROOT / "tiers" / "standards").glob("*.toml")):
        body = tomllib.loads(path.read_text(encoding="utf-8"))
        if "library" in body:
            assert f"## {body['library']} {body['name_zh']}" in page(name)
            assert said.format(**body) in page(name)


@pytest.mark.parametrize("name", ["errors", "errors.zh"])
def test_every_error_code_says_what_to_do(name: str) -> None:
    """Each error code has a heading with advice, whichever module its class is in."""
    text = page(name)
    codes = {found.code for found in error_classes()} | set(_codes_in_source())

    for code in sorted(codes):
        advice = text.partition(f"\n## `{code}`\n")[2].partition("\n## ")[0].strip()
        assert advice, f"{name}.md: expected advice for {code}, got none"


def _codes_in_source() -> Iterator[str]:
    """Codes that modules outside the model say of their own error classes or holds."""
    for path in modules():
        text = path.read_text(encoding="utf-8")
        yield from re.findall(r"^    code(?:: ClassVar\[str\])? = \"([a-z_]+)\"", text, flags=re.MULTILINE)
        yield from re.findall(r"acts\.held\([^\"\n]*\"([a-z_]+)\"", text)


def test_every_exit_code_is_explained() -> None:
    """An exit code an error ends with is one of those the commands' page explains."""
    explained = {row[0] for row in rows(page("cli"))}

    used = {str(found.exit_code) for found in error_classes()}

    assert issubclass(error_classes()[0], JinbaoError)
    assert used <= explained


def test_every_clause_of_evidence_is_on_its_page_and_tried() -> None:
    """Clauses D1 to D6 and E1 to E12 are in the reference, and each E is broken by a test of evidence."""
    clauses_there = {row[0] for row in rows(page("evidence"))}
    tried = (ROOT / "tests" / "trust" / "test_evidence.py").read_text(encoding="utf-8")

    numbers = [f"D{n}" for n in range(1, 7)] + [f"E{n}" for n in range(1, 13)]

    assert list(evidence_clauses()) == numbers
    assert set(numbers) <= clauses_there
    assert [n for n in numbers if n[0] == "E" and n not in tried] == []


def test_every_clause_is_on_the_page() -> None:
    """Each numbered clause of the contract is in the reference, word for word."""
    found = {
        row[0].strip("*"): row[1].strip("*").replace("&lt;", "<")
        for row in rows(page("wire"))
        if len(row) == 2
    }

    assert len(clauses()) > 10
    for number, text in clauses().items():
        assert found[number] == text


def test_a_clause_is_what_stands_behind_its_number() -> None:
    """Each number of the contract's openings has its own clause, and no clause holds what stands before a first number."""
    openings = [path.read_text(encoding="utf-8").split("syntax =")[0] for path in CONTRACTS]
    numbers = re.findall(r"^//  (\d(?:\.\d+)?) ", "".join(openings), flags=re.MULTILINE)
    before = [opening.partition("//\n")[0].removeprefix("//").split("\n")[0].strip() for opening in openings]

    assert list(clauses()) == numbers
    assert [text for text in clauses().values() if any(words in text for words in before)] == []


def test_every_name_of_a_test_on_the_invariants_page_exists() -> None:
    """Only tests there are stand on the page of invariants, so that a promise is never held by nothing."""
    text = (ROOT / "docs" / "explanation" / "invariants.md").read_text(encoding="utf-8")

    named = re.findall(r"`((?:tests/)?[a-z]+/(?:test_[a-z_]+\.py)?)`", text)

    missing = [name for name in named if not (ROOT / "tests" / name.removeprefix("tests/")).exists()]
    assert named
    assert not missing
