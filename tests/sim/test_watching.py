"""What alerts are made of: how long something waits, is late or is outdated, read from zones to which it happens."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from tests.sim.conftest import MakeWorld
from tests.sim.world import World

from jinbao.appliance.assembly import OpenZone
from jinbao.appliance.metrics import Sample
from jinbao.appliance.watching import Running, calendar_limit_s, outdated_libraries, present, stored
from jinbao.model import acts
from jinbao.model.stream import StreamId
from jinbao.model.zone import Endpoint, Zone

PRODUCTION, EXCHANGE = Endpoint("140100", Zone.PRODUCTION), Endpoint("140100", Zone.EXCHANGE)
PROVINCE, MINISTRY = Endpoint("140000", Zone.EXCHANGE), Endpoint("100000", Zone.EXCHANGE)
STREAM = StreamId(PRODUCTION, "pension_macro")
TIERS = [str(e) for e in (EXCHANGE, PROVINCE, MINISTRY)]

DAY_S = 86_400.0


def _by_label(samples: Iterable[Sample], name: str, label: str) -> dict[str, float]:
    """Values of one metric by one of its labels."""
    return {labels.get(label, ""): value for found, labels, value in samples if found == name}


def _waiting(world: World) -> dict[str, float]:
    """How long a submission of the stream waits, by receiver."""
    return {
        labels["receiver"]: value
        for name, labels, value in stored(world.zones[PRODUCTION])
        if name == "jinbao_stream_waiting_seconds" and labels["topic"] == STREAM.topic
    }


def _submit(world: World) -> None:
    while not world.business[PRODUCTION].edit():
        pass
    world.capture_all()


def _unapplied_s(world: World, endpoint: Endpoint) -> float:
    return _by_label(stored(world.zones[endpoint]), "jinbao_unapplied_oldest_age_seconds", "")[""]


def test_nothing_waits_in_a_network_at_rest(quiet: MakeWorld) -> None:
    """At rest no submission waits for an answer and no batch for its application, however much later it is asked."""
    with quiet(0) as world:
        world.now += timedelta(days=400)

        assert _waiting(world) == dict.fromkeys(TIERS, 0.0)
        assert [_unapplied_s(world, endpoint) for endpoint in world.zones] == [0.0] * len(world.zones)


def test_a_submission_waits_for_each_tier_until_it_answered(quiet: MakeWorld) -> None:
    """A submission waits for every tier above from its sealing on; each that answered is awaited no more."""
    with quiet(0) as world:
        _submit(world)
        world.now += timedelta(hours=5)
        alone = _waiting(world)
        world.follow(EXCHANGE, PRODUCTION)
        world.apply(EXCHANGE)
        world.follow(PRODUCTION, EXCHANGE)
        world.apply(PRODUCTION)
        beside = _waiting(world)
        world.settle()

        assert set(alone) == set(TIERS)
        assert all(age >= timedelta(hours=5).total_seconds() for age in alone.values())
        assert beside[TIERS[0]] == 0
        assert beside[TIERS[1]] >= timedelta(hours=5).total_seconds()
        assert _waiting(world) == dict.fromkeys(TIERS, 0.0)


def test_the_oldest_batch_that_waits_is_the_one_that_is_told(quiet: MakeWorld) -> None:
    """What was accepted first and not applied says how long applying stands still; once applied nothing does."""
    with quiet(0) as world:
        _submit(world)
        world.follow(EXCHANGE, PRODUCTION)
        world.now += timedelta(hours=1)
        first = _unapplied_s(world, EXCHANGE)
        _submit(world)
        world.follow(EXCHANGE, PRODUCTION)
        world.now += timedelta(hours=1)
        both = _unapplied_s(world, EXCHANGE)
        world.settle()

        assert first >= 3600
        assert both == pytest.approx(first + 3600, abs=60)
        assert _unapplied_s(world, EXCHANGE) == 0


@pytest.mark.parametrize(
    ("code", "metric"),
    [
        ("digest_mismatch", "jinbao_streams_mismatched"),
        ("equivocation", "jinbao_streams_contradicted"),
        ("rollback", "jinbao_streams_contradicted"),
        ("split_view", "jinbao_streams_contradicted"),
    ],
)
def test_a_held_stream_is_counted_by_why(quiet: MakeWorld, code: str, metric: str) -> None:
    """A hold counts for the alert of its code, and for no other."""
    both = {"jinbao_streams_mismatched", "jinbao_streams_contradicted"}
    with quiet(0) as world:
        zone = world.zones[PROVINCE]
        zone.ledger.record(acts.held(STREAM, 99, code, "a test", []))

        found = {name: value for name, _, value in stored(zone) if name in both}

    assert found == dict.fromkeys(both, 0) | {metric: 1}


def test_a_receipt_that_is_missing_is_counted_until_it_comes(quiet: MakeWorld) -> None:
    """Receipts that did not come in time are counted, and are not once they came after all."""
    with quiet(0) as world:
        _submit(world)
        world.now += timedelta(hours=25)
        world.zones[PRODUCTION].deadlines.step()
        missed = _by_label(stored(world.zones[PRODUCTION]), "jinbao_receipts_missing", "")[""]
        world.settle()

        assert missed == len(world.zones[PRODUCTION].index.missing(answered=True))
        assert missed > 0
        assert _by_label(stored(world.zones[PRODUCTION]), "jinbao_receipts_missing", "")[""] == 0


def test_a_new_zone_has_its_time_for_a_first_run(quiet: MakeWorld) -> None:
    """Scheduled work that never went well counts from the zone's first act; a capture that did, from its own moment."""
    with quiet(0) as world:
        zone = world.zones[PRODUCTION]
        began = zone.ledger.acts(after=0)[0].at
        when = _by_label(stored(zone), "jinbao_task_last_success_timestamp_seconds", "task")

        assert when["capture"] == datetime.fromisoformat(zone.state.captured_at()).timestamp()
        assert when["scrub"] == datetime.fromisoformat(began).timestamp()
        assert "drill" not in when


@pytest.mark.parametrize(
    ("cron", "limit_s"),
    [
        ("30 1 * * *", 2 * DAY_S + 3600),
        ("0 3 * * 0", 14 * DAY_S + 3600),
        ("0 6,20 * * *", 28 * 3600 + 3600),
        ("0 0 1 * *", 62 * DAY_S + 3600),
        ("0 0 30 2 *", math.inf),
    ],
    ids=["nightly", "on Sundays", "twice a day, the longer gap", "monthly, the longest month", "never"],
)
def test_a_calendar_says_itself_when_it_is_late(cron: str, limit_s: float) -> None:
    """Work by a calendar is late after two of its longest gaps and an hour."""
    assert calendar_limit_s(cron, 2) == limit_s


def test_a_standard_is_outdated_by_the_word_of_the_tier_above(quiet: MakeWorld) -> None:
    """A library the tier above holds in another version is outdated; one it does not name is not."""
    with quiet(0) as world:
        standards = world.zones[EXCHANGE].standards
        own = standards["pension_macro"]
        newer = replace(own, version="9.9").id

        assert outdated_libraries(standards, [newer]) == {"pension_macro"}
        assert outdated_libraries(standards, [s.id for s in standards.values()]) == set()
        assert outdated_libraries(standards, ()) == set()
        assert outdated_libraries(standards, [replace(own, version="0.9").id]) == set()
        told = _by_label(
            present(world.zones[EXCHANGE], Running(standards=[newer])), "jinbao_standard_outdated", "library"
        )
        assert told["pension_macro"] == 1
        assert sum(told.values()) == 1


def test_a_neighbour_is_named_by_its_side(quiet: MakeWorld) -> None:
    """The age of a contact says whether the neighbour is above or below; each limit of the settings stands beside it."""
    with quiet(0) as world:
        zone = world.zones[EXCHANGE]
        samples = list(present(zone, Running(contacts={PROVINCE: 7.0, PRODUCTION: 3.0})))

        sides = _by_label(samples, "jinbao_peer_contact_age_seconds", "side")
        limits = _by_label(samples, "jinbao_peer_silent_limit_seconds", "")
        assert sides == {"above": 7.0, "below": 3.0}
        assert limits == {"": zone.settings.watch.silent_s}


def test_a_round_counts_for_its_task(quiet: MakeWorld) -> None:
    """A worker with a time of its own is a task whose limit follows from its interval; others are none."""
    with quiet(0) as world:
        zone = world.zones[EXCHANGE]
        running = Running(
            rounds={"retention": 100.0, "apply": 5.0}, intervals={"retention": 3600.0, "apply": 1.0}
        )
        samples = list(present(zone, running))

        when = _by_label(samples, "jinbao_task_last_success_timestamp_seconds", "task")
        assert when == {"retention": world.now.timestamp() - 100}
        assert _by_label(samples, "jinbao_task_limit_seconds", "task") == {"retention": 7500.0}


LARGE = ("journal_act", "journal_header", "journal_receipt", "journal_segment")
"""Tables that grow with every batch."""


def _plans(zone: OpenZone) -> list[str]:
    """How the database looks up each question of a scrape, a line each step."""
    asked: list[tuple[str, Any]] = []

    def note(*seen: Any) -> None:
        asked.append((seen[2], seen[3]))

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        list(stored(zone))
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
    with zone.store.read() as connection:
        plans = [
            connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", given).all() for text, given in asked
        ]
    return [str(step[3]) for plan in plans for step in plan]


@pytest.mark.parametrize("endpoint", [PRODUCTION, EXCHANGE, PROVINCE], ids=str)
def test_a_scrape_reads_no_large_table_through(quiet: MakeWorld, endpoint: Endpoint) -> None:
    """Whatever waits, each question of a scrape is a look-up by key, so that years of batches make it no slower."""
    with quiet(0) as world:
        _submit(world)
        world.follow(EXCHANGE, PRODUCTION)
        world.follow(PROVINCE, EXCHANGE)

        steps = _plans(world.zones[endpoint])

    assert len(steps) > 5
    assert [step for step in steps if step.startswith("SCAN") and step.split()[1] in LARGE] == []
