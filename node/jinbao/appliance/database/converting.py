"""A zone's database rebuilt in another one, SQLite or PostgreSQL, by replaying its journal.

The source is read and never changed; the target must be empty. It carries a mark of being unfinished
from before its first row until every table of both was dumped and found equal, so that no zone
starts on half of it. Segments stay where they are: only the database moves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from jinbao.appliance.assembly import MIGRATIONS
from jinbao.appliance.database.dumping import dump, tables_of
from jinbao.appliance.database.filling import Rooms, filling, now_text
from jinbao.appliance.database.opening import readings, stopped
from jinbao.appliance.database.upgrading import plan
from jinbao.appliance.database.urls import database_url, setting_of, shown
from jinbao.appliance.settings import Settings
from jinbao.flow.following import needed
from jinbao.journal.ledger import Ledger
from jinbao.journal.tables import ACT
from jinbao.journal.verify import verify_acts
from jinbao.model.errors import CorruptionError, LocalError, UsageError
from jinbao.model.zone import Zone
from jinbao.store.engine import Store
from jinbao.store.migrations import revisions
from jinbao.store.projection import Recorded

PAGE_ACTS = 200
"""Acts held at once; one may carry thousands of receipts."""

Tell = Callable[[int, int], None]
"""Told acts replayed, and acts in all."""


@dataclass(frozen=True, slots=True)
class Converted:
    """What a conversion did: acts replayed, rows by table, and the setting that makes the zone use it."""

    acts: int
    tables: dict[str, int]
    key: str
    value: str


def convert(settings: Settings, zone: Zone, target: str, tell: Tell) -> Converted:
    """Rebuild the database of a stopped zone in the empty one at URL `target`, and prove it equal.

    Raises UsageError for a target that is the source or no database of ours, LockedError while the
    zone runs, LocalError for a target that is not empty or not fit, CorruptionError for a journal
    whose segments are not all there or whose tables come out different.
    """
    source_url = database_url(settings.database(zone), setting_of(zone))
    target_url = database_url(target, "--to", UsageError)
    if _place(source_url) == _place(target_url):
        raise UsageError("--to", expected="another database than the zone's", got=shown(target_url))
    rooms = Rooms(*readings(settings, zone))
    stage = settings.directory(zone) / "stage" / "conversion"
    with stopped(settings, zone) as source:
        _require_source(source, rooms)
        reserve = settings.limits.disk_reserve_bytes
        with filling(target_url, rooms, stage, settings.endpoint(zone), reserve) as store:
            acts = _replay(source, store, rooms, tell)
            tables = _compare(source, store, rooms)
    own = sa.make_url(f"sqlite:///{settings.directory(zone) / 'zone.db'}")
    value = "" if _place(target_url) == _place(own) else shown(target_url)
    return Converted(acts, tables, setting_of(zone), value)


def _place(url: sa.URL) -> tuple[object, ...]:
    """Where a database is, by any spelling that can be told without asking."""
    if url.get_backend_name() == "sqlite":
        return ("sqlite", Path(str(url.database)).resolve())
    host = url.host or url.query.get("host", "")
    port = url.port or int(str(url.query.get("port", 5432)))
    return ("postgresql", "localhost" if host in {"127.0.0.1", "::1"} else host, port, url.database)


def _require_source(source: Store, rooms: Rooms) -> None:
    """The source is of this release, and every segment that its rows follow from is there."""
    steps = plan(source, rooms.libraries)
    _require_known(source)
    if steps:
        raise LocalError(
            f"database {shown(source.url)}",
            expected="the newest schema",
            got=f"one that lacks {', '.join(step.name for step in steps[:5])}",
            next_step="jinbao database migrate",
        )
    damage = next(verify_acts(source), None)
    if damage is not None:
        raise CorruptionError(
            f"journal: {damage.thing}", expected="the chain it was written in", got=damage.detail
        )
    missing = [
        (recorded.lsn, sha256)
        for recorded in acts_of(source)
        for sha256 in needed(recorded.act.kind, recorded.act.body)
        if not rooms.shelf.has(sha256)
    ]
    if missing:
        lsn, sha256 = missing[0]
        raise CorruptionError(
            "journal",
            expected="every segment that a rebuild needs",
            got=f"{len(missing)} missing, first {sha256[:12]} of act {lsn}",
            next_step="retention never removes these: lay them back from a copy of the zone's segments directory, "
            "then run it again",
        )


def _require_known(source: Store) -> None:
    """Tables of a newer release would not come with it, even where this one can run beside them."""
    with source.read() as connection:
        ahead = revisions(connection, MIGRATIONS).ahead
    if ahead:
        raise LocalError(
            f"database {shown(source.url)}",
            expected="a schema that this release knows whole",
            got=f"steps of a newer release: {', '.join(sorted(ahead))}",
            next_step="convert it with the release that made it",
        )


def acts_of(source: Store) -> Iterator[Recorded]:
    """Every act of a journal, in order."""
    ledger, after = Ledger(source, (), now_text), 0
    while page := ledger.acts(after=after, limit=PAGE_ACTS):
        yield from page
        after = page[-1].lsn


def _replay(source: Store, target: Store, rooms: Rooms, tell: Tell) -> int:
    with source.read() as connection:
        total = int(connection.scalar(sa.select(sa.func.max(ACT.c.lsn))) or 0)

    def told() -> Iterator[Recorded]:
        for recorded in acts_of(source):
            tell(recorded.lsn - 1, total)
            yield recorded

    return Ledger(target, rooms.projections, now_text).replay(told())


def _compare(source: Store, target: Store, rooms: Rooms) -> dict[str, int]:
    """Rows by table; raises CorruptionError naming every table that came out different."""
    rows: dict[str, int] = {}
    different: list[str] = []
    for table in tables_of(rooms.projections):
        there, here = dump(source, table), dump(target, table)
        rows[table.name] = here.rows
        if there != here:
            different.append(f"{table.name} ({there.rows} rows, rebuilt {here.rows})")
    if different:
        raise CorruptionError(
            f"database {shown(source.url)}",
            expected="every table as its journal gives it again",
            got=", ".join(different),
            next_step="jinbao journal verify; the new database stays marked as unfinished",
        )
    return rows
