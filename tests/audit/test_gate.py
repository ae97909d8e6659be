"""Nothing is done and nothing is shown in clear that is not in the trail first: fail-closed, in real databases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.audit.parts import CLEAR, LIBRARY, PERSON, TABLE, opened, settings_of, sql, told, trail
from tests.postgres import fresh_database

from jinbao.appliance.assembly import OpenZone, open_zone
from jinbao.appliance.auditing import keep_trail
from jinbao.appliance.questions import QUESTIONS, Asked, dispatch
from jinbao.journal.ledger import RECORD_AFTER, RECORD_BEFORE
from jinbao.model import failpoint
from jinbao.model.audit import Caller, Role, Way
from jinbao.model.errors import AuditError, RoleError, UsageError
from jinbao.model.zone import Zone

READER = Caller("clerk", 4711, Way.READ)
EXPORT = {"library": LIBRARY, "table": TABLE, "reason": "a request"}


def fill(zone: OpenZone) -> None:
    """No page of the database is left: SQLite says the disk is full."""
    with zone.store.writer.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    for size in (2000, 100):  # what room the last pages have goes too: first for long entries, then for short
        with pytest.raises(AuditError):
            _write(zone, size)


def _write(zone: OpenZone, size: int) -> None:
    for _ in range(200):
        zone.trail.ask(READER, "status", arguments="x" * size)


def make_read_only(zone: OpenZone, switch: str = "ON") -> None:
    """The database can be read, and not written."""
    raw = zone.store.writer.raw_connection()
    raw.driver_connection.execute(f"PRAGMA query_only = {switch}")  # type: ignore[union-attr]
    raw.close()


def take_away(zone: OpenZone) -> None:
    """The table of the trail is gone."""
    sql(zone, "DROP TABLE audit_entry")


@pytest.mark.parametrize("spoil", [fill, make_read_only, take_away], ids=["full", "read-only", "gone"])
def test_nothing_is_shown_that_cannot_be_recorded(zone: OpenZone, spoil: Any) -> None:
    """With a database that takes no entry, persons are not shown in clear, and the error says why."""
    spoil(zone)

    with pytest.raises(AuditError, match=r"audit of library\.show: expected a durable entry") as caught:
        dispatch(Asked(zone), "library.show", CLEAR)

    assert (caught.value.code, caught.value.exit_code) == ("audit", 1)
    assert caught.value.next_step == "nothing was done"


@pytest.mark.database
def test_a_database_that_is_gone_shows_nothing(tmp_path: Path) -> None:
    """The same holds of PostgreSQL once the table of the trail cannot be written."""
    with opened(tmp_path, database=fresh_database()) as zone:
        sql(zone, "ALTER TABLE audit_entry RENAME TO taken_away")

        with pytest.raises(AuditError, match="expected a durable entry before anything is done"):
            dispatch(Asked(zone), "library.show", CLEAR)


def test_nothing_is_done_that_cannot_be_recorded(zone: OpenZone, tmp_path: Path) -> None:
    """An act that reaches outside the database leaves nothing there when its entry cannot be made."""
    medium = tmp_path / "medium"
    medium.mkdir()
    make_read_only(zone)

    with pytest.raises(AuditError, match="nothing was done"):
        dispatch(Asked(zone), "line.export", {"peer": "100000", "directory": str(medium)})

    assert list(medium.iterdir()) == []


def test_masked_reads_go_on_without_a_trail(zone: OpenZone) -> None:
    """A read that shows nothing in clear leaves no entry, and needs no database that can be written."""
    make_read_only(zone)

    rows = dispatch(Asked(zone, caller=READER), "library.show", {"library": LIBRARY, "table": TABLE}).body[
        "rows"
    ]

    assert rows[0]["AAC002"] == "140105********1234"
    assert trail(zone) == []


def test_an_answer_whose_outcome_cannot_be_recorded_is_withheld(zone: OpenZone) -> None:
    """Persons shown are named in the outcome: without it the answer is withheld and its file removed."""
    condition = "WHEN NEW.outcome = 'done' BEGIN SELECT RAISE(ABORT, 'no room'); END"
    sql(zone, f"CREATE TRIGGER full BEFORE INSERT ON audit_entry {condition}")

    with pytest.raises(AuditError, match="what it shows is withheld"):
        dispatch(Asked(zone), "library.export", EXPORT)

    assert list(zone.shelf.incoming.iterdir()) == []
    assert trail(zone) == [("library.export", "asked")]


def test_whose_record_was_seen_is_found_by_their_number(zone: OpenZone) -> None:
    """Either number of a person finds who saw their record; another's finds nothing."""
    dispatch(Asked(zone), "library.show", CLEAR)

    found = {
        number: [(e["action"], e["reason"]) for e in _of(zone, number)]
        for number in (PERSON["AAC002"].lower(), PERSON["AAC001"], "140105199001011234")
    }

    mine = [("library.show", "asked by the insured")]
    assert [[line for line in lines if line[0] != "audit.list"] for lines in found.values()] == [
        mine,
        mine,
        [],
    ]


def _of(zone: OpenZone, number: str) -> list[dict[str, Any]]:
    body = dispatch(Asked(zone), "audit.list", {"person": number, "action": "library"}).body
    entries: list[dict[str, Any]] = body["entries"]
    return entries


def test_who_took_a_whole_table_is_found_for_everyone(zone: OpenZone) -> None:
    """An export names the table instead of persons, and is found for whichever person is looked for."""
    answer = dispatch(Asked(zone), "library.export", EXPORT)
    assert answer.attachment is not None
    answer.attachment.unlink()

    (entry,) = _of(zone, "140105199001011234")

    assert (entry["action"], entry["everyone"]) == (
        "library.export",
        "unemployment_monitor.insured of every origin",
    )


def test_many_persons_are_named_by_their_table(tmp_path: Path) -> None:
    """More persons than are named one by one are named together."""
    with opened(tmp_path, audit={"persons_max": 1}) as zone:
        dispatch(Asked(zone), "library.show", CLEAR)

        assert [(line["persons"], line["everyone"]) for line in told(zone)] == [([], "library.show")]


def test_no_personal_data_is_in_the_trail(zone: OpenZone, tmp_path: Path) -> None:
    """No number and no name of a person is in any file of the zone's database, wherever it was typed."""
    number = PERSON["AAC002"]
    for key in (number, PERSON["AAC001"]):
        dispatch(Asked(zone), "trace", {"key": key, "reason": f"{number} asked"})
    dispatch(Asked(zone), "library.show", CLEAR)
    dispatch(Asked(zone), "audit.list", {"person": number})
    dispatch(Asked(zone), "line.pause", {"peer": "100000", "reason": number})
    with pytest.raises(RoleError):
        dispatch(Asked(zone), "trace", {"key": number})

    rows = [str(dict(row)) for row in zone.trail.rows()]

    assert len(rows) == 11
    assert not [row for row in rows for value in PERSON.values() if value in row]
    assert any("140105********1234" in row for row in rows)


@pytest.mark.parametrize("question", ["library.show", "library.export", "trace", "report.sealed"])
def test_clear_data_needs_a_reason(zone: OpenZone, question: str) -> None:
    """Without a reason nothing is shown of a person, and the attempt is recorded."""
    arguments: dict[str, Any] = {
        "library.show": CLEAR | {"reason": " "},
        "library.export": EXPORT | {"reason": ""},
        "trace": {"key": "1"},
        "report.sealed": {},
    }[question]

    with pytest.raises(RoleError, match=f"{question}: expected --reason, got none"):
        dispatch(Asked(zone), question, arguments)

    assert trail(zone) == [(question, "refused")]


def test_whatever_needs_a_reason_can_be_given_one() -> None:
    """Each question that a zone refuses without a reason has an argument for it."""
    needing = [
        one
        for one in QUESTIONS.values()
        if one.role is Role.SECURITY or one.unmasks or (one.person and one.role is None)
    ]

    assert needing
    assert [one.name for one in needing if "reason" not in one.arguments.model_fields] == []


def test_an_outcome_is_recorded_however_it_ends(zone: OpenZone) -> None:
    """What was done, what failed and what was refused are each in the trail with their reason."""
    dispatch(Asked(zone), "line.pause", {"peer": "100000", "reason": "a moved cable"})
    with pytest.raises(UsageError):
        dispatch(Asked(zone), "line.pause", {"peer": "999999"})
    with pytest.raises(RoleError):
        dispatch(Asked(zone, caller=READER), "line.pause", {"peer": "100000"})

    lines = [(line["account"], line["outcome"], line["reason"], line["detail"]) for line in told(zone)]

    own = Asked(zone).caller.account
    assert lines == [
        (own, "done", "a moved cable", ""),
        (own, "failed", "", "usage"),
        ("clerk", "refused", "", "act line.pause: expected admin.sock, got read.sock"),
    ]


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("at", [RECORD_BEFORE, RECORD_AFTER], ids=["before it is durable", "after"])
def test_a_kill_leaves_no_act_without_its_entry(zone: OpenZone, at: str) -> None:
    """A process killed around its first entry has done nothing; with the entry durable the trail says `asked`."""
    failpoint.set_hook(lambda name: _kill(name, at))
    try:
        with pytest.raises(Killed):
            dispatch(Asked(zone), "line.pause", {"peer": "100000"})
    finally:
        failpoint.set_hook(None)

    assert zone.index.paused() == {}
    assert trail(zone) == ([("line.pause", "asked")] if at == RECORD_AFTER else [])


def _kill(name: str, at: str) -> None:
    if name == at:
        raise Killed


def test_being_refused_fills_no_disk(tmp_path: Path) -> None:
    """Beyond the rate refused attempts are counted: a thousand of them are a few entries."""
    with opened(tmp_path, audit={"refusals_per_minute_max": 3}) as zone:
        zone.trail._now = lambda: "2024-10-01T12:00:00.000Z"  # within one minute
        for _ in range(1000):
            with pytest.raises(RoleError):
                dispatch(Asked(zone, caller=READER), "line.pause", {})
        zone.trail.flush()

        lines = [(line["outcome"], line["count"]) for line in told(zone)]

    assert lines == [("refused", 1)] * 3 + [("counted", 997)]


def test_refused_peers_are_counted_by_code(zone: OpenZone) -> None:
    """What a hostile peer does becomes one entry per code and round, however often it does it."""
    for code in ["identity", "unprovable"] * 500:
        zone.observer.event("peer_refused", code=code, caller="140200/exchange", reason="another")
    zone.observer.event("stream_held", code="sequence_gap", stream="s", seq=1, reason="a gap")

    keep_trail(zone)

    lines = [(line["way"], line["action"], line["detail"], line["count"]) for line in told(zone)]
    assert lines == [
        ("line", "peer_refused", "identity", 500),
        ("line", "peer_refused", "unprovable", 500),
        ("line", "stream_held", "sequence_gap", 1),
    ]


def test_counts_that_cannot_be_recorded_are_kept(zone: OpenZone) -> None:
    """A round that cannot write loses no count: the next one records it."""
    zone.observer.event("peer_refused", code="identity", caller="", reason="")
    make_read_only(zone)
    with pytest.raises(AuditError):
        keep_trail(zone)

    make_read_only(zone, "OFF")
    keep_trail(zone)

    assert [(line["action"], line["count"]) for line in told(zone)] == [("peer_refused", 1)]


def test_what_is_counted_is_bounded(zone: OpenZone) -> None:
    """However many different things are counted within a minute, they are a bounded number of entries."""
    for n in range(1000):
        zone.trail.count(f"made up {n}", "x")
    zone.trail.flush()

    lines = told(zone)
    assert (len(lines), sum(line["count"] for line in lines)) == (65, 1000)


def test_an_entry_of_the_trail_is_no_act_to_be_shown(zone: OpenZone) -> None:
    """Whoever may read the journal does not read the trail there."""
    dispatch(Asked(zone), "library.show", CLEAR)
    place = zone.ledger.acts(kind="audited")[0].lsn

    with pytest.raises(UsageError, match="one that is no audit entry"):
        dispatch(Asked(zone, caller=READER), "journal.show", {"lsn": place})


def test_a_key_that_was_lost_finds_nobody_older(tmp_path: Path) -> None:
    """A zone whose key is gone makes a new one: its chain still verifies, older persons are not found by number."""
    settings = settings_of(tmp_path)
    first = open_zone(settings, Zone.EXCHANGE)
    mac = first.trail.key.mac("1")
    first.close()
    (settings.directory(Zone.EXCHANGE) / "audit.key").unlink()

    second = open_zone(settings, Zone.EXCHANGE)

    assert second.trail.key.mac("1") != mac
    second.close()
