"""The contract: its numbered clauses, and its messages with their fields."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from .places import CONTRACTS
from .tables import Block, Rows, Tabled, table
from .words import Lang, Sentences

TITLES: dict[Lang, list[str]] = {
    "en": ["no.", "field", "type", "meaning"],
    "zh": ["编号", "字段", "类型", "含义"],
}

_MESSAGE = re.compile(r"((?:^//[^\n]*\n)*)^message (\w+) \{\n(.*?)^\}", flags=re.MULTILINE | re.DOTALL)


class Field(NamedTuple):
    """A field of a message; `said` is empty where nothing is said of it."""

    number: str
    name: str
    kind: str
    said: str


class Message(NamedTuple):
    """A message of the contract; `said` is empty where nothing is said of it."""

    name: str
    said: str
    fields: list[Field]


def clauses() -> dict[str, str]:
    """The numbered clauses of the contract, chapters among them."""
    found: dict[str, str] = {}
    for path in CONTRACTS:
        opening = path.read_text(encoding="utf-8").split("syntax =")[0]
        number = ""  # what a file says before its first number is no clause
        for line in opening.splitlines():
            if begun := re.match(r"//  (\d(?:\.\d+)?) +(.*)", line):
                number = begun[1]
                found[number] = begun[2]
            elif number:
                found[number] += f" {_comment(line)}"
    return found


def _messages() -> list[Message]:
    text = "\n".join(path.read_text(encoding="utf-8") for path in CONTRACTS)
    return [Message(name, _comment(said), list(_fields(body))) for said, name, body in _MESSAGE.findall(text)]


def _fields(body: str) -> Iterator[Field]:
    said: list[str] = []
    for line in body.splitlines():
        if line.strip().startswith("//"):
            said.append(line)
        elif field := re.match(r"\s*(.+?) (\w+) = (\d+);", line):
            yield Field(number=field[3], name=field[2], kind=field[1], said=_comment("\n".join(said)))
            said = []


def _comment(said: str) -> str:
    """A comment of the contract as one line."""
    return " ".join(line.strip().removeprefix("//").strip() for line in said.splitlines())


def _message_words() -> dict[str, str]:
    """What the contract says of messages and, as `message.field`, of fields; some say nothing."""
    found: dict[str, str] = {}
    for name, said, fields in _messages():
        found |= {name: said} | {f"{name}.{field.name}": field.said for field in fields}
    return {name: words for name, words in found.items() if words}


CLAUSES_SAID = Sentences("clauses", clauses)
MESSAGES_SAID = Sentences("messages", _message_words)


def _clauses(lang: Lang) -> Rows:
    for number, text in CLAUSES_SAID.of(lang).items():
        yield (number, text) if "." in number else (f"**{number}**", f"**{text}**")


def _wire(lang: Lang) -> str:
    words = MESSAGES_SAID.of(lang)
    return "\n".join(_message(message, words, lang) for message in _messages())


def _message(message: Message, words: dict[str, str], lang: Lang) -> str:
    name = message.name
    head = f"### {name}\n\n" + (f"{words[name]}\n\n" if name in words else "")
    rows = (
        (field.number, f"`{field.name}`", f"`{field.kind}`", words.get(f"{name}.{field.name}", ""))
        for field in message.fields
    )
    return head + table(TITLES[lang], rows)


BLOCKS: dict[str, Block] = {
    "clauses": Tabled({"en": ["clause", "text"], "zh": ["条款", "内容"]}, _clauses),
    "messages": _wire,
}
