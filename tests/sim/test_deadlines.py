"""What is not said in time becomes evidence: the origin's record of silence, the receiver's word that it is late."""

from __future__ import annotations

from datetime import timedelta

from tests.sim.conftest import MakeWorld
from tests.sim.world import World

from jinbao.model import acts
from jinbao.model.receipt import Receipt, Stage, Step
from jinbao.model.stream import NOTICES, RECEIPTS, StreamId
from jinbao.model.zone import Endpoint, Zone

PRODUCTION, EXCHANGE = Endpoint("140100", Zone.PRODUCTION), Endpoint("140100", Zone.EXCHANGE)
PROVINCE, MINISTRY = Endpoint("140000", Zone.EXCHANGE), Endpoint("100000", Zone.EXCHANGE)
STREAM = StreamId(PRODUCTION, "pension_macro")


def _submit(world: World) -> int:
    """A change of business, sealed; the place of its manifest."""
    while not world.business[PRODUCTION].edit():
        pass
    world.capture_all()
    return world.zones[PRODUCTION].index.head(STREAM).seq


def _missing(world: World) -> set[tuple[str, str, int]]:
    found = world.zones[PRODUCTION].index.missing()
    return {(str(m.receiver), str(m.stage), m.seq) for m in found if m.stream == STREAM}


def test_nothing_is_missing_in_time(quiet: MakeWorld) -> None:
    """A network at rest has no deadline to speak of, however much later it is asked."""
    with quiet(0) as world:
        world.now += timedelta(days=400)

        moved = [zone.deadlines.step() for zone in world.zones.values()]

        assert moved == [False] * len(world.zones)


def test_silence_of_a_tier_is_recorded_once_and_answered_by_its_receipt(quiet: MakeWorld) -> None:
    """Acceptance is missed after a day and application after two, once each; a late receipt answers both."""
    with quiet(0) as world:
        seq = _submit(world)
        home = world.zones[PRODUCTION]
        world.now += timedelta(hours=23)
        early = home.deadlines.step()
        world.now += timedelta(hours=2)
        after_a_day = (home.deadlines.step(), _missing(world))
        world.now += timedelta(days=1)
        after_two = (home.deadlines.step(), _missing(world))
        again = home.deadlines.step()

        world.settle()

        tiers = [str(e) for e in (EXCHANGE, PROVINCE, MINISTRY)]
        assert not early
        assert after_a_day == (True, {(tier, "accepted", seq) for tier in tiers})
        assert after_two == (
            True,
            {(tier, stage, seq) for tier in tiers for stage in ("accepted", "applied")},
        )
        assert not again
        assert _missing(world) == set()
        late = [m for m in home.index.missing(answered=True) if m.stream == STREAM]
        assert len(late) == 6
        assert all(m.due_at < m.answered_at for m in late)


def test_a_receiver_signs_that_it_is_late(quiet: MakeWorld) -> None:
    """A province that accepts and does not apply says so after two days, signed, once, and the city reads it."""
    with quiet(0) as world:
        seq = _submit(world)
        world.follow(EXCHANGE, PRODUCTION)
        world.follow(PROVINCE, EXCHANGE)
        province = world.zones[PROVINCE]
        early = province.deadlines.step()
        world.now += timedelta(days=2, minutes=1)

        said, again = province.deadlines.step(), province.deadlines.step()
        province.receipts.step()
        for endpoint, other in ((EXCHANGE, PROVINCE), (PRODUCTION, EXCHANGE)):
            world.follow(endpoint, other)
            world.zones[endpoint].applier.step()

        assert (early, said, again) == (False, True, False)
        [overdue] = [
            r for r in world.zones[PRODUCTION].index.receipts(STREAM, seq) if r.stage is Stage.OVERDUE
        ]
        assert overdue.receiver == PROVINCE
        assert overdue.reason.startswith("applied: expected by ")
        assert province.index.head(StreamId(PROVINCE, NOTICES, "140100")).seq == 1
        world.settle()
        assert Stage.APPLIED in {r.stage for r in province.index.receipts(STREAM, seq)}


def test_stages_a_release_does_not_know_stop_nothing(quiet: MakeWorld) -> None:
    """A receipt whose stage comes from a later release is filed and read past, and the zone goes on."""
    with quiet(0) as world:
        zone = world.zones[EXCHANGE]
        known = zone.index.receipts(STREAM)
        receipt = Receipt(
            EXCHANGE, STREAM, known[-1].seq, known[-1].head, Stage.APPLIED, 0, "", "", known[-1].at
        )
        later = acts.receipt_json(receipt) | {"receiver": "999999/exchange", "stage": "notarised"}

        zone.ledger.record(acts.Act("receipt_due", later))

        assert zone.index.receipts(STREAM) == known
        assert not zone.submissions.attest()


def test_words_older_nodes_do_not_know_stay_out_of_the_topic_they_read(quiet: MakeWorld) -> None:
    """Only the stages of release 0.1 travel as `receipts`: its nodes end at another word in that topic."""
    with quiet(0) as world:
        _submit(world)
        world.follow(EXCHANGE, PRODUCTION)
        world.follow(PROVINCE, EXCHANGE)
        world.now += timedelta(days=3)
        world.zones[PROVINCE].deadlines.step()
        world.settle()

        for zone in world.zones.values():
            for mark in zone.index.streams():
                if mark.stream.topic == RECEIPTS:
                    for segment in (s for s in zone.index.segments() if s["stream"] == str(mark.stream)):
                        stages = set(zone.shelf.read(segment["sha256"]).get_column("stage"))
                        assert stages <= {"accepted", "applied", "refused"}
        zone = world.zones[EXCHANGE]
        notices = StreamId(PROVINCE, NOTICES, "140100")
        assert any(handler.wants(notices) for handler in zone.applier._handlers)


def test_a_stage_is_read_with_who_says_it() -> None:
    """Acceptance is a submission at the origin's own exchange zone, a relay between, and acceptance at the top."""
    steps = [
        Receipt(who, STREAM, 1, "", Stage.ACCEPTED, 0, "", "", "").step(is_top=who == MINISTRY)
        for who in (EXCHANGE, PROVINCE, MINISTRY)
    ]
    applied = Receipt(EXCHANGE, STREAM, 1, "", Stage.APPLIED, 0, "", "", "").step(is_top=False)

    assert [*steps, applied] == [Step.SUBMITTED, Step.RELAYED, Step.ACCEPTED, Step.APPLIED]
