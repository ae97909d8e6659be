"""The gate before every question: may this caller ask it, is there a reason, is it in the trail.

In this order: the way and the role; the reason; an entry, durable; then the question itself;
then its outcome, durable before an answer leaves. What fails on the way is an entry too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from jinbao.appliance.questions.registry import (
    Answer,
    Arguments,
    Asked,
    Question,
    known_question,
    read_arguments,
)
from jinbao.model.audit import Entry, Outcome, Role, Way
from jinbao.model.errors import AuditError, JinbaoError, RoleError
from jinbao.model.masking import mask, mask_numbers

ARGUMENT_CHARACTERS_MAX = 200
ARGUMENTS_CHARACTERS_MAX = 2000
REASON_CHARACTERS_MAX = 500


def dispatch(asked: Asked, name: str, arguments: Mapping[str, Any]) -> Answer:
    """The answer to one question; the one way to ask it.

    Raises UsageError for an unknown question or argument, RoleError for a caller or a reason
    that is wanting, AuditError if it cannot be recorded, and whatever the question itself raises.
    """
    known = known_question(name)
    if known.role is not None:  # before its arguments are read (clause 1.2)
        _check_role(asked, known, known.role, f"{'act' if known.kind == 'act' else 'question'} {name}")
    wanted = read_arguments(known, arguments)
    if known.changes:
        asked.zone.succession.require_holder()

    def answer() -> Answer:
        found = known.answer(asked, wanted)
        return found if isinstance(found, Answer) else Answer(found)

    clear = known.is_clear(wanted)
    if clear:
        _check_role(asked, known, Role.SECURITY, "unmask", wanted)
    if known.role is None and not clear and not known.person:
        return answer()
    reason = _reason(asked, known, wanted)
    entry = asked.zone.trail.ask(asked.caller, name, **_parts(asked, known, wanted), reason=reason)
    return _recorded(asked, entry, answer)


def _recorded(asked: Asked, entry: Entry, answer: Callable[[], Answer]) -> Answer:
    trail = asked.zone.trail
    try:
        found = answer()
    except JinbaoError as exc:
        trail.end(entry, Outcome.FAILED, detail=exc.code)
        raise
    try:
        trail.end(entry, Outcome.DONE, numbers=found.persons, everyone=found.everyone)
    except AuditError:
        if found.attachment is not None:
            found.attachment.unlink(missing_ok=True)
        raise
    return found


def _check_role(
    asked: Asked, known: Question, needed: Role, thing: str, wanted: Arguments | None = None
) -> None:
    caller, book = asked.caller, asked.zone.roles
    roles = book.roles_of(caller)
    if not caller.authorised:
        step = "run as the account that owns the zone"
        if book.is_separated:
            step = f"run as an account of roles.{needed}"
        error = RoleError(thing, expected=Way.ADMIN, got=caller.way, next_step=step)
    elif roles != (needed,) and (book.is_separated or needed not in roles):
        error = RoleError(
            thing,
            expected=f"an account in the role {needed} and no other",
            got=f"{caller.account} in {', '.join(roles) or 'none'}",
            next_step=f"run as an account of roles.{needed}",
        )
    else:
        return
    raise _refused(asked, known, error, wanted)


def _reason(asked: Asked, known: Question, wanted: Arguments) -> str:
    """Why, with every identity number in it masked; raises RoleError where one is needed and none is given."""
    reason = mask_numbers(str(getattr(wanted, "reason", "")).strip())[:REASON_CHARACTERS_MAX]
    if known.needs_reason(wanted) and not reason:
        step = "say why; it is recorded in the audit trail"
        error = RoleError(known.name, expected="--reason", got="none", next_step=step)
        raise _refused(asked, known, error, wanted)
    return reason


def _refused(asked: Asked, known: Question, error: RoleError, wanted: Arguments | None) -> RoleError:
    """Record the refusal, and give it back to be raised."""
    parts = _parts(asked, known, wanted) if wanted else {"roles": asked.zone.roles.roles_of(asked.caller)}
    detail = f"{error.thing}: expected {error.expected}, got {error.got}"
    asked.zone.trail.refuse(asked.caller, known.name, detail=detail, **parts)
    return error


def _parts(asked: Asked, known: Question, wanted: Arguments) -> Mapping[str, Any]:
    """Roles, bounded arguments and whose record, as they go into an entry."""
    given = wanted.model_dump(mode="json", exclude_defaults=True)
    given.pop("reason", None)
    number = str(given.get(known.person, "")) if known.person else ""
    if number:
        given[known.person] = mask(number)
    bounded = {name: mask_numbers(str(value))[:ARGUMENT_CHARACTERS_MAX] for name, value in given.items()}
    return {
        "roles": asked.zone.roles.roles_of(asked.caller),
        "arguments": json.dumps(bounded, ensure_ascii=False, sort_keys=True)[:ARGUMENTS_CHARACTERS_MAX],
        "persons": asked.zone.trail.key.persons([number] if number else []),
    }
