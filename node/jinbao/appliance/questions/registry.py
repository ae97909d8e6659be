"""The questions a zone answers on its own host: names, arguments, and the one way to ask them.

A question is a function of an open zone, so it answers the same in the running process and
in a CLI that opened the stopped zone itself. Does not speak gRPC and prints nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from jinbao.appliance.assembly import OpenZone
from jinbao.flow.pace import Worker
from jinbao.model.errors import UsageError

Kind = Literal["read", "act"]
Body = dict[str, Any]


class Arguments(BaseModel):
    """Base of all arguments: an unknown one is refused, never ignored (clause 2.2)."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Contact:
    """One neighbour as the running process knows it: seconds since it answered, None if never."""

    border: str
    seconds_ago: float | None
    accepted: int
    clock_offset_s: float


class Running(Protocol):
    """What only the running zone process knows."""

    @property
    def workers(self) -> Mapping[str, Worker]:
        """Its workers, by name."""
        ...

    def readiness(self) -> list[str]:
        """Why the zone is not ready; empty when it is."""
        ...

    def capture_now(self) -> None:
        """Run a capture as soon as the last one is done."""
        ...

    def contacts(self) -> Mapping[str, Contact]:
        """What is known of each neighbour, by endpoint."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """What a question is asked of; `running` is None in a CLI that opened a stopped zone.

    `authorised` callers came through admin.sock, or own the zone's directory: they may act and
    see what is masked from all others.
    """

    zone: OpenZone
    running: Running | None = None
    authorised: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """A JSON object, and optionally a file that is sent after it and then removed."""

    body: Body
    attachment: Path | None = None


A = TypeVar("A", bound=Arguments)
Answering = Callable[[Asked, A], Body | Answer]


@dataclass(frozen=True, slots=True)
class Question:
    """One question of the contract."""

    name: str
    kind: Kind
    arguments: type[Arguments]
    answer: Callable[[Asked, Any], Body | Answer]
    text: str


QUESTIONS: dict[str, Question] = {}
"""Every question by name; filled when `jinbao.appliance.questions` is imported."""


def question(name: str, *, kind: Kind = "read", arguments: type[A]) -> Callable[[Answering[A]], Answering[A]]:
    """Register the function under `name`; its docstring's first line is what the contract says of it."""

    def register(answer: Answering[A]) -> Answering[A]:
        assert name not in QUESTIONS, f"question {name} registered twice"
        text = (answer.__doc__ or "").strip().split("\n")[0]
        QUESTIONS[name] = Question(name, kind, arguments, answer, text)
        return answer

    return register


def dispatch(asked: Asked, name: str, arguments: Mapping[str, Any]) -> Answer:
    """The answer to one question; raises UsageError for an unknown one, or one that may not be asked here."""
    known = QUESTIONS.get(name)
    if known is None:
        near = get_close_matches(name, QUESTIONS, 1)
        hint = f"did you mean {near[0]}?" if near else "ask contract.list"
        raise UsageError(f"question {name}", expected="a known question", got=name, next_step=hint)
    if known.kind == "act" and not asked.authorised:
        raise UsageError(
            f"act {name}",
            expected="admin.sock",
            got="read.sock",
            next_step="run as the account that owns the zone",
        )
    try:
        wanted = known.arguments.model_validate(dict(arguments))
    except ValidationError as exc:
        raise _worded(known, exc) from exc
    found = known.answer(asked, wanted)
    return found if isinstance(found, Answer) else Answer(found)


def _worded(known: Question, exc: ValidationError) -> UsageError:
    first = exc.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    thing = f"question {known.name}: {where}"
    if first["type"] == "extra_forbidden":
        takes = list(known.arguments.model_fields)
        near = get_close_matches(where, takes, 1)
        hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(takes) or 'none'}"
        return UsageError(thing, expected="a known argument", got=where[:80], next_step=hint)
    return UsageError(thing, expected=first["msg"], got=repr(first.get("input"))[:80])
