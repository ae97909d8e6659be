"""A page that tells what to do, or why, exists in English and Chinese, and the two do not drift apart.

Words are not compared: whoever changes a page changes its twin. What can be compared is: every block that is typed or
shown, the skeleton of headings, lines of tables and items of lists, and of explanations and of the reference every name in
code. Decisions (`docs/adr`) and the measured page on speed are in English alone.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.house.tree import ROOT

DOCS = ROOT / "docs"
EXPLANATION = DOCS / "explanation"
LOOKED_UP = [page for page in (DOCS / "reference").glob("*.md") if not page.stem.endswith(".zh")]
"""Pages of the reference: each has a twin."""

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
_SKELETON = {
    "titles": r"^# ",
    "headings": r"^## ",
    "headings below": r"^###+ ",
    "lines of tables": r"^\|",
    "items of lists": r"^(?:[-*]|\d+\.) ",
}
_HAN = re.compile(r"[\u4e00-\u9fff]")
_CODE = re.compile(r"`([^`]+)`")
_REASON = re.compile(r"--reason \".*?\"")
"""What a person would say, in the language of the page."""
_LINK = re.compile(r"\[([^]]+)\]\(([^)#:]+\.md)(?:#[^)]*)?\)")
_PAGE = re.compile(r"docs/[a-z/-]+(?:\.zh)?\.md")


def pairs() -> list[tuple[Path, Path]]:
    """Each English page that must have a twin, with the place of that twin."""
    told = [*(DOCS / "tutorial").glob("*.md"), *(DOCS / "how-to").glob("*.md"), *EXPLANATION.glob("*.md")]
    pages = sorted([*told, *LOOKED_UP])
    return [(page, page.with_suffix(".zh.md")) for page in pages if not page.stem.endswith(".zh")]


PAIRS = [pytest.param(*pair, id=f"{pair[0].parent.name}/{pair[0].stem}") for pair in pairs()]
NAMED = [
    pytest.param(*pair, id=f"{pair[0].parent.name}/{pair[0].stem}")
    for pair in pairs()
    if pair[0].parent == EXPLANATION or pair[0] in LOOKED_UP
]


def blocks(page: Path) -> list[tuple[str, str]]:
    """Kind and text of each block; a drawing of an explanation has its words in the page's language."""
    found = _BLOCK.findall(page.read_text(encoding="utf-8"))
    return [(kind, "" if is_drawing(page, kind, text) else text) for kind, text in found]


def is_drawing(page: Path, kind: str, text: str) -> bool:
    """Whether a block of an explanation shows how things hang together, and nothing that is typed."""
    return page.parent == EXPLANATION and kind == "text" and not text.startswith("$ ")


def names(page: Path) -> set[str]:
    """Everything that stands as code in a page's sentences and tables, wherever lines are broken, but for reasons given."""
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    return {_REASON.sub("--reason", " ".join(name.split())) for name in _CODE.findall(text)}


def skeleton(page: Path) -> dict[str, int]:
    """How many headings, lines of tables and items of lists stand outside of blocks."""
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    return {name: len(re.findall(one, text, flags=re.MULTILINE)) for name, one in _SKELETON.items()}


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_a_page_has_its_chinese_twin(english: Path, chinese: Path) -> None:
    """Each page of a pair is there in Chinese, under a Chinese heading, and in the index."""
    assert chinese.exists(), f"{english.name}: expected {chinese.name} beside it, got none"
    title = chinese.read_text(encoding="utf-8").partition("\n")[0]
    index = (DOCS / "index.md").read_text(encoding="utf-8")

    assert title.startswith("# ")
    assert _HAN.search(title)
    assert f"({chinese.relative_to(DOCS)})" in index


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_both_languages_type_and_show_the_same(english: Path, chinese: Path) -> None:
    """Who reads a page in Chinese types the same commands and sees the same output."""
    assert blocks(chinese) == blocks(english)


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_both_languages_have_the_same_parts(english: Path, chinese: Path) -> None:
    """No heading, line of a table or item of a list is in one language only."""
    assert skeleton(chinese) == skeleton(english)


@pytest.mark.parametrize(("english", "chinese"), NAMED)
def test_both_languages_explain_by_the_same_names(english: Path, chinese: Path) -> None:
    """Whatever setting, command, file or test an explanation or a paired reference names, its twin names too."""
    assert names(chinese) == names(english)


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_each_page_leads_to_the_other_language(english: Path, chinese: Path) -> None:
    """Under its title, each page leads to what it says in the other language."""
    beneath = [page.read_text(encoding="utf-8").split("\n\n")[1] for page in (english, chinese)]

    assert beneath == [f"[中文]({chinese.name})", f"[English]({english.name})"]


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_a_chinese_page_leads_on_in_chinese(english: Path, chinese: Path) -> None:
    """Who follows a link of a Chinese page comes to a Chinese one, wherever there is one."""
    paired = {one for one, _ in pairs()}
    links = _LINK.findall(chinese.read_text(encoding="utf-8"))

    left = [aim for _, aim in links if (chinese.parent / aim).resolve() in paired]

    assert left == [english.name], "but for the link under the title"


def test_the_chinese_readme_leads_on_in_chinese() -> None:
    """Whoever begins with the Chinese README stays in Chinese, wherever a page is in Chinese."""
    paired = {one for one, _ in pairs()}
    links = _LINK.findall((ROOT / "README.zh.md").read_text(encoding="utf-8"))

    left = [aim for _, aim in links if (ROOT / aim).resolve() in paired]

    assert links
    assert left == []


def test_runbooks_name_pages_of_their_own_language() -> None:
    """Whoever is woken is led to pages that exist, and in the language of the runbook."""
    paired = {one for one, _ in pairs()}
    named = {"zh": set[Path](), "en": set[Path]()}

    for book in (ROOT / "monitoring" / "runbooks").glob("*.md"):
        aims = _PAGE.findall(book.read_text(encoding="utf-8"))
        named["zh" if book.stem.endswith(".zh") else "en"].update(ROOT / aim for aim in aims)

    assert all(named.values())
    assert {aim for aims in named.values() for aim in aims if not aim.exists()} == set()
    assert named["zh"] & paired == set()
    assert {aim for aim in named["en"] if aim.stem.endswith(".zh")} == set()


def test_no_chinese_page_is_alone() -> None:
    """Every Chinese page belongs to an English one."""
    alone = [
        page for page in DOCS.rglob("*.zh.md") if not page.with_name(page.name.replace(".zh", "")).exists()
    ]

    assert alone == []
