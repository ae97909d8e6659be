"""The trail is append-only, chained and sealed: what is altered, missing, cut off or written anew is named."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.audit.parts import CLEAR, sql, without_triggers

from jinbao.appliance.assembly import OpenZone, rfc3339
from jinbao.appliance.auditing import keep_trail, verify_trail
from jinbao.appliance.questions import Asked, dispatch
from jinbao.audit.persons import FILE, PersonKey
from jinbao.audit.tables import CUT, ENTRY
from jinbao.audit.verify import Fault, SealedHead, verify
from jinbao.model.audit import body_text, entry_hash
from jinbao.model.errors import LocalError

BODY = {"id": "i", "about": "", "outcome": "asked", "account": "a", "action": "line.pause"}


def chain(count: int, *, of: str = "a") -> list[dict[str, Any]]:
    """So many entries of an account, chained."""
    rows: list[dict[str, Any]] = []
    for number in range(1, count + 1):
        body = BODY | {"account": of, "id": str(number)}
        previous, at, text = (
            rows[-1]["hash"] if rows else "",
            f"2024-10-01T00:00:{number:02d}Z",
            body_text(body),
        )
        link = {"number": number, "previous": previous, "at": at, "body": text}
        rows.append(link | {"hash": entry_hash(previous, number, at, text)} | body)
    return rows


def sealed_at(rows: list[dict[str, Any]], *numbers: int) -> list[SealedHead]:
    """Heads at some of the entries."""
    return [SealedHead(seq, n, rows[n - 1]["hash"]) for seq, n in enumerate(numbers, 1)]


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 12), st.data())
def test_an_untouched_chain_has_no_fault(count: int, data: st.DataObject) -> None:
    """A trail as it was written verifies under whichever heads were sealed of it."""
    rows = chain(count)
    heads = data.draw(st.lists(st.integers(1, count), unique=True, max_size=4))

    assert list(verify(rows, sealed_at(rows, *heads))) == []


@pytest.mark.fault_row(13)
@settings(max_examples=200, deadline=None)
@given(st.integers(2, 12), st.data())
def test_any_change_of_any_entry_is_named(count: int, data: st.DataObject) -> None:
    """Whatever part of whichever entry is changed, the fault names that entry or the one after it."""
    rows = chain(count)
    at = data.draw(st.integers(0, count - 1))
    part = data.draw(st.sampled_from(["body", "at", "previous", "hash", "account", "action", "outcome"]))
    rows[at] |= {part: str(rows[at][part]) + "x"}

    faults = list(verify(rows, []))

    assert {fault.thing for fault in faults} & {f"entry {at + 1}", f"entry {at + 2}"}
    assert {fault.kind for fault in faults} == {"altered"}


@settings(max_examples=100, deadline=None)
@given(st.integers(3, 12), st.data())
def test_an_entry_taken_out_is_named(count: int, data: st.DataObject) -> None:
    """An entry taken out of the middle is missing by its number, even when nothing was sealed."""
    rows = chain(count)
    gone = data.draw(st.integers(1, count - 1))

    faults = list(verify([row for row in rows if row["number"] != gone], []))

    assert faults[0] == Fault(f"entry {gone}", "missing", f"expected entry {gone}, got entry {gone + 1}")


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 12), st.data())
def test_a_chain_written_anew_does_not_pass_its_seals(count: int, data: st.DataObject) -> None:
    """A whole other chain, sound in itself, differs from the first head that was sealed of the true one."""
    head = data.draw(st.integers(1, count))
    heads = sealed_at(chain(count), head)

    faults = list(verify(chain(count, of="another"), heads))

    assert [(fault.thing, fault.kind) for fault in faults] == [(f"entries up to {head}", "rewritten")]


@pytest.mark.fault_row(14)
@settings(max_examples=100, deadline=None)
@given(st.integers(2, 12), st.data())
def test_a_tail_cut_off_is_missed_by_its_seal(count: int, data: st.DataObject) -> None:
    """A trail that ends before what was sealed is said to have lost exactly those entries."""
    left = data.draw(st.integers(0, count - 1))

    faults = list(verify(chain(count)[:left], sealed_at(chain(count), count)))

    assert [(fault.thing, fault.kind) for fault in faults] == [(f"entries {left + 1}–{count}", "cut tail")]


def test_a_cut_needs_a_head_that_permits_it() -> None:
    """A trail that begins later is whole under a head that permits the cut, and not without."""
    rows = chain(5)
    cut = 2, rows[1]["hash"]
    permitted = [SealedHead(1, 4, rows[3]["hash"], *cut)]

    assert list(verify(rows[2:], permitted, cut)) == []
    assert [f.kind for f in verify(rows[2:], sealed_at(rows, 4), cut)] == ["cut"]
    assert [f.thing for f in verify(rows[2:], permitted)] == ["entry 1"]


# In real databases.


def busy(zone: OpenZone) -> None:
    """Four lines, the first two of them sealed."""
    for reason in ("one", "two"):
        dispatch(Asked(zone), "line.pause", {"peer": "100000", "reason": reason})
    keep_trail(zone)
    for reason in ("three", "four"):
        dispatch(Asked(zone), "library.show", CLEAR | {"reason": reason})


def kinds(zone: OpenZone) -> list[tuple[str, str]]:
    """Things and kinds of the faults of a trail."""
    return [(fault.thing, fault.kind) for fault in verify_trail(zone)[0]]


EDITS = {
    "update": "UPDATE audit_entry SET account = 'another' WHERE number = 3",
    "delete": "DELETE FROM audit_entry WHERE number = 3",
    "cut off": "DELETE FROM audit_entry WHERE number > 6",
    "empty": "DELETE FROM audit_entry",
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_the_database_refuses_to_change_the_trail(either: OpenZone, edit: str) -> None:
    """An UPDATE or DELETE by SQL, past the zone, is refused by the table itself."""
    busy(either)

    with pytest.raises(sa.exc.DatabaseError, match="append-only"):
        sql(either, edit)

    assert verify_trail(either) == ([], 1)


def test_an_entry_cannot_be_replaced(zone: OpenZone) -> None:
    """SQLite's INSERT OR REPLACE, which deletes without asking, is refused too."""
    busy(zone)

    with pytest.raises(sa.exc.DatabaseError, match="append-only"):
        sql(zone, "INSERT OR REPLACE INTO audit_entry SELECT * FROM audit_entry WHERE number = 2")


def test_what_the_triggers_no_longer_refuse_is_found(either: OpenZone) -> None:
    """With the triggers dropped an edit goes through, and verification names the entry."""
    busy(either)
    without_triggers(either)

    sql(either, EDITS["update"], "DELETE FROM audit_entry WHERE number = 5")

    assert kinds(either) == [("entry 3", "altered"), ("entry 5", "missing")]


def test_a_tail_cut_off_is_found_by_its_seal(either: OpenZone) -> None:
    """Entries that were sealed and are gone from the end of the table are said to be missing."""
    busy(either)
    without_triggers(either)

    sql(either, "DELETE FROM audit_entry WHERE number > 2")

    assert kinds(either) == [("entries 3–4", "cut tail")]


def test_a_whole_chain_written_anew_is_found(either: OpenZone) -> None:
    """Somebody who drops the triggers and computes every hash again does not pass the sealed heads."""
    busy(either)
    without_triggers(either)
    previous = ""

    with either.store.writer.connect() as connection, connection.begin():
        for row in connection.execute(sa.select(ENTRY).order_by(ENTRY.c.number)).all():
            text = body_text(json.loads(row.body) | {"account": "another"})
            digest = entry_hash(previous, row.number, row.at, text)
            changed = {"body": text, "account": "another", "previous": previous, "hash": digest}
            connection.execute(ENTRY.update().where(ENTRY.c.number == row.number).values(changed))
            previous = digest

    assert kinds(either) == [("entries up to 4", "rewritten")]


def test_a_forged_head_is_no_head(zone: OpenZone) -> None:
    """A sealed head that is altered in the database proves nothing and is named."""
    busy(zone)
    batch = zone.index.batches(zone.heads.stream)[0]
    signature = base64.b64encode(batch.signature).decode()
    other = signature[:-8] + "AAAAAAA="

    sql(zone, f"UPDATE journal_header SET envelope = replace(envelope, '{signature}', '{other}')")

    assert kinds(zone) == [("sealed head #1", "unprovable")]


@pytest.mark.parametrize(
    "forge", ["", "INSERT INTO audit_cut VALUES (2, '{}', '2024')"], ids=["none", "forged"]
)
def test_a_cut_nobody_sealed_is_found(either: OpenZone, forge: str) -> None:
    """Entries are deleted only below a recorded cut, and a cut that no head permits is named."""
    busy(either)
    if not forge:
        with pytest.raises(sa.exc.DatabaseError, match="append-only"):
            sql(either, "DELETE FROM audit_entry WHERE number <= 2")
        return

    sql(either, forge.format("e" * 64), "DELETE FROM audit_entry WHERE number <= 2")

    assert kinds(either)[0] == ("entries 1–2", "cut")


def test_what_is_too_old_is_cut_under_a_seal(either: OpenZone) -> None:
    """Entries past their retention go together with a sealed head that names the last of them; the rest verifies."""
    busy(either)
    last = either.trail.head()

    gone = either.heads.cut(rfc3339(either.ports.now() + timedelta(seconds=1)))
    dispatch(Asked(either), "line.resume", {"peer": "100000"})
    keep_trail(either)

    assert (gone, either.trail.cut_away()) == (last[0], last)
    assert [row["number"] for row in either.trail.rows()] == [last[0] + 1, last[0] + 2]
    assert verify_trail(either)[0] == []
    with either.store.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(CUT)).scalar_one() == 1


def test_what_must_be_kept_is_not_cut(zone: OpenZone) -> None:
    """A round of keeping the trail cuts nothing that is younger than the retention."""
    busy(zone)

    keep_trail(zone)

    assert zone.trail.cut_away() == (0, "")


def test_a_seal_covers_everything_once(zone: OpenZone) -> None:
    """After a round every entry is sealed, and a round with nothing new seals nothing."""
    busy(zone)

    waiting = zone.heads.unsealed()
    sealed = [keep_trail(zone), keep_trail(zone)]

    assert (waiting, zone.heads.unsealed(), sealed) == (4, 0, [True, False])


def test_a_damaged_key_is_refused(zone: OpenZone) -> None:
    """A key that others may read is not used."""
    directory = zone.settings.directory(zone.me.zone)
    assert (directory / FILE).stat().st_mode & 0o777 == 0o600
    (directory / FILE).chmod(0o640)

    with pytest.raises(LocalError, match=r"expected 32 bytes its own account alone may read, got .*640"):
        PersonKey(directory)
