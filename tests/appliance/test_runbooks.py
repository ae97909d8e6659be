"""Runbooks as a zone serves them: each in the reader's language and shape, and nothing but pages there are."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jinbao.appliance.runbooks import HTML, MARKDOWN, Runbooks, chosen_language, rendered
from jinbao.appliance.web import WebPort
from jinbao.model.errors import UsageError

CHINESE, ENGLISH = "# JinbaoChildSilent：", "# JinbaoChildSilent: "
TEXT = {"accept": "text/plain"}


@pytest.fixture(scope="module")
def web() -> WebPort:
    """A port of no zone, which does not listen."""
    return WebPort("127.0.0.1:0", metrics=bytes, reasons=list)


def _text(web: WebPort, target: str, **headers: str) -> str:
    status, _, body = web.answer(target, headers)
    assert status == 200
    return body.decode()


@pytest.mark.parametrize(
    ("query", "accepted", "opening"),
    [
        ("", "", CHINESE),
        ("", "en-GB,en;q=0.9", ENGLISH),
        ("", "en;q=0.5, zh-CN;q=0.8", CHINESE),
        ("", "fr, de", CHINESE),
        ("?lang=en", "zh-CN", ENGLISH),
        ("?lang=zh", "en", CHINESE),
        ("?lang=fr", "en", ENGLISH),
    ],
    ids=[
        "nothing said",
        "an English browser",
        "weighed",
        "neither",
        "asked for",
        "asked back",
        "asked for another",
    ],
)
def test_a_page_speaks_the_readers_language(web: WebPort, query: str, accepted: str, opening: str) -> None:
    """`?lang=` decides, then what the browser asks for, then Chinese."""
    text = _text(
        web, f"/runbooks/JinbaoChildSilent{query}", accept="text/plain", **{"accept-language": accepted}
    )

    assert text.startswith(opening)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/html,application/xhtml+xml,*/*;q=0.8", HTML),
        ("*/*", HTML),
        ("", HTML),
        ("text/plain", MARKDOWN),
        ("text/markdown", MARKDOWN),
    ],
)
def test_a_page_comes_as_it_is_asked_for(web: WebPort, accept: str, kind: str) -> None:
    """Markdown for whoever asks for text, HTML for everybody else."""
    _, found, body = web.answer("/runbooks/JinbaoChildSilent", {"accept": accept})

    assert found == kind
    assert body.startswith(b"<!doctype html>") is (kind == HTML)


@pytest.mark.parametrize("name", ["ChildSilent", "childsilent", "JINBAOCHILDSILENT"])
def test_a_page_is_found_as_a_person_types_it(web: WebPort, name: str) -> None:
    """A name is found in any case, with its prefix or without."""
    assert _text(web, f"/runbooks/{name}", **TEXT).startswith(CHINESE)


@pytest.mark.parametrize(
    "path", ["nothing", "../alerts.yml", "JinbaoChildSilent.md", "%2e%2e/alerts.yml", "a/b"]
)
def test_another_name_is_told_where_all_are(web: WebPort, path: str) -> None:
    """A page there is not is answered 404 with the index, whatever the name looks like."""
    status, _, body = web.answer(f"/runbooks/{path}", {})

    assert status == 404
    assert body.decode().splitlines()[1] == "no such runbook; all are listed at /runbooks/"


def test_the_index_lists_every_page(web: WebPort) -> None:
    """The index leads to each page there is, and says in a word what it is about."""
    books = Runbooks()

    text = _text(web, "/runbooks/?lang=en", **TEXT)

    assert re.findall(r"^- \[(\w+)\]\(\1\): \S", text, flags=re.MULTILINE) == list(books.names)


def test_a_page_needs_nothing_from_elsewhere(web: WebPort) -> None:
    """No page names a script, a picture, a font or an address of another host."""
    for name in ("", *Runbooks().names):
        page = _text(web, f"/runbooks/{name}")

        assert not re.search(r"<script|<img|<link|@import|url\(|https?://", page)


def test_pages_lead_to_each_other(web: WebPort) -> None:
    """A page that sends to another has a link to it; what stands in code has none."""
    page = _text(web, "/runbooks/JinbaoChildSilent?lang=en")

    assert '<a href="JinbaoRevocationListOld">JinbaoRevocationListOld</a>' in page
    assert "<h1>JinbaoChildSilent: " in page


def test_what_a_page_quotes_is_no_markup() -> None:
    """A tag in the text of a page is shown, not obeyed."""
    page = rendered("# a <script>\n\nb <img src=x> `c <d>`\n", "en")

    assert "<script>" not in page
    assert "<img" not in page
    assert "<code>c &lt;d&gt;</code>" in page


def test_a_name_that_is_misspelt_is_answered_by_the_nearest() -> None:
    """Who mistypes a name is told the one they mean."""
    with pytest.raises(UsageError, match=r"did you mean JinbaoChildSilent\?"):
        Runbooks().find("childsilnt")


@given(query=st.text(max_size=60), accepted=st.text(max_size=200))
def test_any_request_has_a_language(query: str, accepted: str) -> None:
    """Whatever a program sends, a page is in one of our languages."""
    assert chosen_language(query, accepted) in {"zh", "en"}
