"""Looking things up in the trail: by time, account, person, action and outcome, an entry and its outcome as one line."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from jinbao.audit.tables import ENTRY
from jinbao.store.engine import Store


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for; empty means all. `person` is a keyed hash; times are RFC 3339 UTC, or its beginning."""

    since: str = ""
    until: str = ""
    who: str = ""
    person: str = ""
    action: str = ""
    outcome: str = ""


def lines(store: Store, wanted: Wanted, limit: int) -> list[dict[str, Any]]:
    """The newest lines that fit, newest first; one that has no outcome yet is still `asked`."""
    end = ENTRY.alias("ended")
    outcome = sa.func.coalesce(end.c.outcome, ENTRY.c.outcome).label("outcome")
    query = (
        sa.select(ENTRY.c.number, ENTRY.c.at, ENTRY.c.body, outcome, end.c.body.label("ended"))
        .join(end, end.c.about == ENTRY.c.id, isouter=True)
        .where(ENTRY.c.about == "", *_where(wanted, outcome, end))
        .order_by(ENTRY.c.number.desc())
        .limit(limit)
    )
    with store.read() as connection:
        return [_line(dict(row)) for row in connection.execute(query).mappings()]


def _where(wanted: Wanted, outcome: Any, end: Any) -> list[sa.ColumnElement[bool]]:  # a label and an alias
    found: list[sa.ColumnElement[bool]] = []
    if wanted.since:
        found.append(ENTRY.c.at >= wanted.since)
    if wanted.until:
        found.append(ENTRY.c.at < wanted.until)
    if wanted.who:
        found.append(ENTRY.c.account == wanted.who)
    if wanted.action:
        found.append(sa.or_(ENTRY.c.action == wanted.action, ENTRY.c.action.startswith(f"{wanted.action}.")))
    if wanted.outcome:
        found.append(outcome == wanted.outcome)
    if wanted.person:
        bodies = (ENTRY.c.body, end.c.body)
        named = [body.contains(f'"{wanted.person}"', autoescape=True) for body in bodies]
        # Who was shown a whole table was shown this person too, if they stand in it.
        found.append(sa.or_(*named, *(~body.contains('"everyone":""') for body in bodies)))
    return found


def _line(row: dict[str, Any]) -> dict[str, Any]:
    body = json.loads(row["body"])
    ended = json.loads(row["ended"]) if row["ended"] else {}
    told = {name: body[name] for name in ("account", "uid", "roles", "way", "claimed", "action", "reason")}
    persons = [*body["persons"], *ended.get("persons", [])]
    return {
        "number": row["number"],
        "at": row["at"],
        **told,
        "arguments": body["arguments"],
        "persons": list(dict.fromkeys(masked for _, masked in persons)),
        "everyone": ended.get("everyone") or body["everyone"],
        "outcome": row["outcome"],
        "detail": ended.get("detail") or body["detail"],
        "count": body["count"],
    }
