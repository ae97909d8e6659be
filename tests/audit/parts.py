"""Zones whose trail is watched, and callers in each role."""

from __future__ import annotations

import pwd
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa
from tests.link.zones import SETTINGS

from jinbao.appliance.assembly import OpenZone, open_zone, stored_batch
from jinbao.appliance.network import DEMO_NODES, make_network
from jinbao.appliance.settings import Settings
from jinbao.audit.lookup import Wanted, lines
from jinbao.model import acts
from jinbao.model.acts import SegmentUse
from jinbao.model.audit import Caller, Role, Way
from jinbao.model.batch import Header, Kind, SegmentRef, TableTotals
from jinbao.model.stream import StreamId
from jinbao.model.zone import Endpoint, Zone

PROVINCE = "140000"
CITY = Endpoint("140100", Zone.PRODUCTION)
LIBRARY, TABLE = "unemployment_monitor", "insured"
PERSON = {"AAC001": "14010000000001", "AAC002": "140105198001011234", "AAC003": "张三丰"}
CLEAR: dict[str, Any] = {"library": LIBRARY, "table": TABLE, "unmask": True, "reason": "asked by the insured"}

ACCOUNTS = [a.pw_name for a in pwd.getpwall() if re.fullmatch(r"[a-z_][a-z0-9_.-]{0,31}", a.pw_name)][:3]
"""Three accounts this host has: roles are of real ones."""

APART = dict(zip(("system", "security", "audit"), ([name] for name in ACCOUNTS), strict=True))


def caller(role: Role | None, way: Way = Way.ADMIN) -> Caller:
    """Whoever has this role where roles are apart; for None, somebody who has none."""
    if role is None:
        return Caller("nobody-of-note", 65533, way)
    name = APART[role][0]
    return Caller(name, pwd.getpwnam(name).pw_uid, way)


def settings_of(directory: Path, *, apart: bool = False, database: str = "", **more: Any) -> Settings:
    """A province beside its ministry, never started."""
    settings = make_network(directory, DEMO_NODES[:2], overrides=SETTINGS)[1][PROVINCE]
    body = settings.model_dump(exclude_unset=True) | more
    if apart:
        body |= {"roles": APART, "sockets_directory": directory / "sockets"}
    if database:
        body["zones"] = body["zones"] | {Zone.EXCHANGE: {"database": database}}
    return Settings(**body)


@contextmanager
def opened(directory: Path, **more: Any) -> Iterator[OpenZone]:
    """A province's exchange zone that holds one row of one person."""
    zone = open_zone(settings_of(directory, **more), Zone.EXCHANGE)
    try:
        hold_one_person(zone)
        yield zone
    finally:
        zone.close()


def hold_one_person(zone: OpenZone) -> None:
    """One row, as if a city had submitted it."""
    table = zone.standards[LIBRARY].table(TABLE)
    types = {i.code: pl.String if i.is_text else pl.Int64 for i in table.items} | {"op": pl.String}
    row = dict.fromkeys(types) | PERSON | {"AAE002": 202410, "op": "U"}
    sha256, size = zone.shelf.write(pl.DataFrame([row], schema=types))
    stream = StreamId(CITY, LIBRARY)
    ref = SegmentRef(TABLE, sha256, size, 1)
    at = zone.ports.now_text()
    header = Header(stream, 1, "a" * 32, 1, "", Kind.SNAPSHOT, at, period="202410", segments=(ref,))
    batch = stored_batch(zone.seal(header))
    applied = acts.applied(
        stream=stream,
        first=1,
        seq=1,
        head=batch.head,
        library=LIBRARY,
        standard=zone.standards[LIBRARY].id,
        period="202410",
        segments=[SegmentUse(1, Kind.SNAPSHOT, TABLE, sha256, 1, size)],
        tables=[TableTotals(TABLE, 1, "d" * 64, {})],
    )
    zone.ledger.record(acts.accepted(batch, CITY), applied)


def told(zone: OpenZone) -> list[dict[str, Any]]:
    """Every line of the trail, oldest first, looked up without leaving one more."""
    return lines(zone.store, Wanted(), 1000)[::-1]


def trail(zone: OpenZone) -> list[tuple[str, str]]:
    """Action and outcome of every line, oldest first."""
    return [(line["action"], line["outcome"]) for line in told(zone)]


def sql(zone: OpenZone, *statements: str) -> None:
    """Statements as somebody with the database's password would run them, past every room."""
    with zone.store.writer.connect() as connection, connection.begin():
        for statement in statements:
            connection.execute(sa.text(statement))


def without_triggers(zone: OpenZone) -> None:
    """The database, as its owner can make it: nothing in it refuses a change any more."""
    if zone.store.is_sqlite:
        names = ("entry_no_update", "entry_no_delete", "entry_no_replace", "cut_no_update", "cut_no_delete")
        sql(zone, *(f"DROP TRIGGER audit_{name}" for name in names))
    else:
        sql(zone, "ALTER TABLE audit_entry DISABLE TRIGGER ALL", "ALTER TABLE audit_cut DISABLE TRIGGER ALL")
