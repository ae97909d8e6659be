"""A declaration is what persons signed, letter by letter, and no one counts twice."""

from __future__ import annotations

import base64
import json
import tomllib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.standby.declarations import DECLARATION, KEYS, PERSONS, signed_by, unsigned

from jinbao.model.declarant import known_persons, settings_line
from jinbao.model.errors import JinbaoError, UnprovableError, UsageError
from jinbao.model.zone import Endpoint, Zone
from jinbao.standby.declaring import (
    FILE_BYTES_MAX,
    SIGNATURES_MAX,
    Signature,
    Signed,
    encode,
    read,
    read_file,
    sign,
    signed_over,
    verified,
)
from jinbao.trust.grants import DECLARATION_CHARACTERS_MAX

BOTH = signed_by("wang", "li")
LETTERS = st.characters(codec="utf-8", exclude_categories=("Cs",))
REASONS = st.text(LETTERS, min_size=1, max_size=80)


def forged(at: int, **changed: str) -> Signed:
    """A declaration of two signatures, one of them with a part changed."""
    several = list(BOTH.signatures)
    several[at] = replace(several[at], **changed)
    return replace(BOTH, signatures=tuple(several))


def test_a_declaration_is_read_as_it_was_written() -> None:
    """Text and file give back what was declared and who signed, and are the same when written again."""
    found = read_file(BOTH.content().encode())

    assert read(encode(DECLARATION)) == DECLARATION
    assert found == BOTH
    assert found.declaration == DECLARATION
    assert verified(found, PERSONS, 2) == ("wang", "li")


def test_what_is_signed_is_the_text_after_its_word() -> None:
    """A signature is Ed25519 over a fixed word, LF and the text, so that none of another kind passes for it."""
    assert signed_over("text") == b"jinbao-declaration-v1\ntext"
    first = BOTH.signatures[0]

    KEYS["wang"].private.public_key().verify(base64.b64decode(first.signature), signed_over(BOTH.text))
    assert first.key == PERSONS["wang"]


@given(REASONS)
def test_every_reason_is_read_back_or_refused(reason: str) -> None:
    """Whatever is given as a reason comes back letter by letter, or never becomes a declaration."""
    try:
        made = replace(DECLARATION, reason=reason)
    except ValueError:
        return

    assert read(encode(made)).reason == reason
    assert "\n" not in encode(made)
    assert "\u202e" not in encode(made)


@given(st.integers(0, len(BOTH.text) - 1), LETTERS)
def test_no_letter_of_the_text_can_be_changed(at: int, letter: str) -> None:
    """With any letter of the text changed it is no declaration, or the signatures do not hold."""
    text = BOTH.text[:at] + letter + BOTH.text[at + 1 :]
    if text == BOTH.text:
        return

    with pytest.raises(JinbaoError):
        verified(replace(BOTH, text=text, declaration=read(text)), PERSONS, 2)


@given(st.integers(0, 1), st.sampled_from(["person", "key", "signature"]), st.data())
def test_no_letter_of_a_signature_can_be_changed(which: int, part: str, data: st.DataObject) -> None:
    """With any letter of a name, key or signature changed the file is refused: there is one way to write each."""
    whole = getattr(BOTH.signatures[which], part)
    at = data.draw(st.integers(0, len(whole) - 1))
    letter = data.draw(
        LETTERS | st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")
    )
    changed = whole[:at] + letter + whole[at + 1 :]
    if changed == whole:
        return

    with pytest.raises(JinbaoError):
        verified(read_file(forged(which, **{part: changed}).content().encode()), PERSONS, 2)


@given(st.binary(max_size=300) | st.text().map(str.encode))
def test_no_other_file_is_a_declaration(content: bytes) -> None:
    """Any bytes that are no declaration are refused with a sentence, never with a bug."""
    with pytest.raises(UsageError, match="declaration: expected a file of"):
        read_file(content)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ((), "got nobody: 2 lack"),
        (("wang",), "expected 2 of wang, li, .*got wang: 1 lack"),
        (("wang", "li", "stranger"), "got one of stranger"),
        (("stranger",), "got one of stranger"),
    ],
)
def test_who_lacks_and_who_is_unknown_is_named(names: tuple[str, ...], text: str) -> None:
    """Too few signatures, and any of a person who is not known, are refused by name, however many others signed."""
    with pytest.raises(UsageError, match=text):
        verified(signed_by(*names), PERSONS, 2)


def test_three_are_asked_for_where_the_settings_ask_for_three() -> None:
    """The number of persons is the settings', and one more than needed is no fault."""
    three = signed_by("wang", "li", "买买提·艾力")

    with pytest.raises(UsageError, match="1 lack"):
        verified(BOTH, PERSONS, 3)
    assert len(verified(three, PERSONS, 3)) == len(verified(three, PERSONS, 2)) == 3


def test_the_same_signature_twice_counts_for_nobody() -> None:
    """One person's signature laid into the file a second time is named and refused."""
    once = signed_by("wang")
    twice = replace(once, signatures=once.signatures * 2)

    with pytest.raises(UsageError, match="got wang twice"):
        verified(read_file(twice.content().encode()), PERSONS, 2)


def test_one_key_under_two_names_counts_for_nobody() -> None:
    """Whoever signs under another's name with one's own key is refused, also where the settings give both that key."""
    text = BOTH.text
    made = base64.b64encode(KEYS["wang"].sign(signed_over(text))).decode()
    both = tuple(Signature(name, PERSONS["wang"], made) for name in ("wang", "li"))

    with pytest.raises(UnprovableError, match="signature of li: expected by the key that is known"):
        verified(replace(BOTH, signatures=both), PERSONS, 2)
    with pytest.raises(UsageError, match="one of wang and li"):
        verified(replace(BOTH, signatures=both), PERSONS | {"li": PERSONS["wang"]}, 2)


def test_one_key_written_in_two_ways_is_one_key() -> None:
    """Base64 whose spare bits differ would make one key look like two: only one spelling is taken."""
    key = PERSONS["wang"]
    spellings = [key[:-2] + letter + "=" for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"]
    same = [s for s in spellings if s != key and base64.b64decode(s) == base64.b64decode(key)]

    assert same
    for other in same:
        with pytest.raises(ValueError, match="expected 32 bytes in base64"):
            known_persons({"wang": key, "li": other})


def test_a_signature_over_another_text_does_not_hold() -> None:
    """Signatures taken from another declaration are refused by the person's name."""
    other = unsigned(epoch=3)

    with pytest.raises(UnprovableError, match="signature of wang: expected one over this text"):
        verified(replace(other, signatures=BOTH.signatures), PERSONS, 2)


def test_nobody_signs_twice() -> None:
    """A person who signed, and a key that signed under another name, are refused before anything is added."""
    with pytest.raises(UsageError, match="got wang signed already"):
        sign(BOTH, "wang", KEYS["wang"])
    with pytest.raises(UsageError, match="got the key of wang signed already"):
        sign(signed_by("wang"), "li", KEYS["wang"])
    with pytest.raises(UsageError, match="person: expected a name"):
        sign(BOTH, "a\nb", KEYS["stranger"])


def test_a_page_is_never_exceeded() -> None:
    """More than a grant carries is refused while it is signed, and a larger file before it is parsed."""
    filler = Signature("x", PERSONS["li"], BOTH.signatures[0].signature)
    full = replace(unsigned(), signatures=(filler,) * SIGNATURES_MAX)
    long = unsigned(
        reason="火" * 500, without=tuple(Endpoint(f"14{n:02d}00", Zone.EXCHANGE) for n in range(100))
    )

    with pytest.raises(UsageError, match=f"at most {SIGNATURES_MAX} signatures"):
        sign(full, "wang", KEYS["wang"])
    with pytest.raises(UsageError, match=f"at most {DECLARATION_CHARACTERS_MAX} characters"):
        sign(replace(long, signatures=(filler,) * (SIGNATURES_MAX - 1)), "wang", KEYS["wang"])
    with pytest.raises(UsageError, match=f"at most {FILE_BYTES_MAX} bytes"):
        read_file(b" " * (FILE_BYTES_MAX + 1))


@pytest.mark.parametrize(
    ("part", "value", "text"),
    [
        ("reason", "", "reason"),
        ("reason", "a\nb", "reason"),
        ("reason", "x" * 501, "reason"),
        ("reason", "turned \u202e round", "reason"),
        ("epoch", 0, "count from 1"),
        ("epoch", 10**9, "epoch"),
        ("node", "nowhere", "six digits"),
        ("backup", "../x", "six digits"),
        ("addresses", ((Zone.EXCHANGE, "no port"),), "host:port"),
        ("addresses", ((Zone.EXCHANGE, ""),), "host:port"),
        ("addresses", ((Zone.EXCHANGE, "host:70000"),), "host:port"),
        ("cuts", (), "one of each zone"),
        ("cuts", DECLARATION.cuts[:1] * 2, "each once"),
        ("without", DECLARATION.without * 2, "each once"),
        ("made_at", "2024-11-05T00:15:04", "UTC"),
        ("trust_domain", "A B", "trust domain"),
    ],
)
def test_a_part_that_is_none_is_never_declared(part: str, value: Any, text: str) -> None:
    """Each part is checked when a declaration is made and when one is read."""
    with pytest.raises(ValueError, match=text):
        replace(DECLARATION, **{part: value})


@pytest.mark.parametrize(
    "changed",
    [
        {"more": 1},
        {"epoch": True},
        {"epoch": "2"},
        {"epoch": 2.0},
        {"format": "jinbao-declaration/2"},
        {"cuts": [{"zone": "exchange", "lsn": 1}]},
        {"without": ["140000"]},
        {"addresses": {"cellar": "a:1"}},
        {"reason": None},
    ],
)
def test_another_text_is_not_read(changed: dict[str, Any]) -> None:
    """A text with a part of another kind, one more or one fewer is refused, and so is another spelling of the same."""
    body = json.loads(encode(DECLARATION))

    with pytest.raises(UsageError, match=r"declaration: expected a text of jinbao-declaration/1"):
        read(json.dumps(body | changed, ensure_ascii=False, sort_keys=True, separators=(",", ":")))
    with pytest.raises(UsageError, match="its canonical text"):
        read(json.dumps(body))


def test_a_person_is_a_line_of_the_settings() -> None:
    """The line a key is printed as is TOML, also for a name in Chinese."""
    lines = [settings_line(name, key) for name, key in PERSONS.items()]

    assert tomllib.loads("[promotion]\n" + "\n".join(lines))["promotion"]["persons"] == PERSONS
