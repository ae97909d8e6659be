"""The questions a zone answers on its own host: names, arguments, and what each needs.

A question is a function of an open zone, so it answers the same in the running process and
in a CLI that opened the stopped zone itself. Does not speak to sockets, prints nothing, and leaves
it to `gate` who may ask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from jinbao.appliance.asking_authorities import AskingAuthorities
from jinbao.appliance.assembly import OpenZone
from jinbao.appliance.callers import own
from jinbao.appliance.drill_process import EVERY, Drilling
from jinbao.flow.pace import Worker
from jinbao.link.shaping import Shaper
from jinbao.model.audit import Caller, Role
from jinbao.model.errors import UsageError

Kind = Literal["read", "act"]
Body = dict[str, Any]


class Arguments(BaseModel):
    """Base of all arguments: an unknown one is refused, never ignored (clause 2.2)."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Reasoned(Arguments):
    """Arguments of a question that is recorded with its reason."""

    reason: str = ""


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

    @property
    def takes(self) -> Shaper:
        """How fast bulk comes in now."""
        ...

    @property
    def gives(self) -> Shaper:
        """How fast bulk goes out now."""
        ...

    @property
    def asking(self) -> AskingAuthorities:
        """Whom it asks for newer lists."""
        ...

    def readiness(self) -> list[str]:
        """Why the zone is not ready; empty when it is."""
        ...

    def capture_now(self) -> None:
        """Run a capture as soon as the last one is done."""
        ...

    @property
    def drilling(self) -> Drilling:
        """What it drills."""
        ...

    def drill_now(self, node: str = EVERY) -> int:
        """Drill as soon as a drill under way is done; the number of that run."""
        ...

    def contacts(self) -> Mapping[str, Contact]:
        """What is known of each neighbour, by endpoint."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """What a question is asked of, and by whom; `running` is None in a CLI that opened a stopped zone itself."""

    zone: OpenZone
    running: Running | None = None
    caller: Caller = field(default_factory=own)

    @property
    def authorised(self) -> bool:
        """Whether the caller came on a way on which roles are heard."""
        return self.caller.authorised


@dataclass(frozen=True, slots=True)
class Answer:
    """A JSON object, and optionally a file that is sent after it and then removed.

    `persons` are the numbers of those whose records are in it in clear, `everyone` names the
    place instead when it holds all of them; neither is sent.
    """

    body: Body
    attachment: Path | None = None
    persons: tuple[str, ...] = ()
    everyone: str = ""


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
    role: Role | None = None
    person: str = ""
    unmasks: bool = False
    changes: bool = False

    def is_clear(self, arguments: Arguments) -> bool:
        """Whether these arguments ask for personal data in clear."""
        return self.unmasks and bool(getattr(arguments, "unmask", False))

    def needs_reason(self, arguments: Arguments) -> bool:
        """Whether it is refused without a reason: security, personal data in clear, one person's record."""
        return (
            self.role is Role.SECURITY or bool(self.person and self.role is None) or self.is_clear(arguments)
        )


QUESTIONS: dict[str, Question] = {}
"""Every question by name; filled when `jinbao.appliance.questions` is imported."""


def question(
    name: str,
    *,
    kind: Kind = "read",
    arguments: type[A],
    role: Role | None = None,
    person: str = "",
    unmasks: bool = False,
    changes: bool = False,
) -> Callable[[Answering[A]], Answering[A]]:
    """Register the function under `name`; its docstring's first line is what the contract says of it.

    An act has a `role`. `person` names the argument that holds one person's number; a question that
    `unmasks` takes an argument of that name. One that `changes` what the zone holds is refused where another
    holder has its identity.
    """

    def register(answer: Answering[A]) -> Answering[A]:
        assert name not in QUESTIONS, f"question {name} registered twice"
        assert kind == "read" or role is not None, f"act {name} has no role"
        text = (answer.__doc__ or "").strip().split("\n")[0]
        QUESTIONS[name] = Question(name, kind, arguments, answer, text, role, person, unmasks, changes)
        return answer

    return register


def known_question(name: str) -> Question:
    """The question of that name; raises UsageError with the nearest one."""
    known = QUESTIONS.get(name)
    if known is None:
        near = get_close_matches(name, QUESTIONS, 1)
        hint = f"did you mean {near[0]}?" if near else "ask contract.list"
        raise UsageError(f"question {name}", expected="a known question", got=name, next_step=hint)
    return known


def read_arguments(known: Question, arguments: Mapping[str, Any]) -> Arguments:
    """The question's own arguments; raises UsageError that names the first one that is wrong."""
    try:
        return known.arguments.model_validate(dict(arguments))
    except ValidationError as exc:
        raise _worded(known, exc) from exc


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
