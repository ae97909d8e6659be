"""What an operator is told of the distance to the backup, and what is not known is never shown as nothing."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest
from tests.sim.conftest import MakeWorld
from tests.standby.following import BACKUP, CITY, PROTECTED, PROVINCE, bring, journal_of

from jinbao.appliance.guarding import capture_age_s, exposure
from jinbao.appliance.questions import Asked, dispatch
from jinbao.model import acts
from jinbao.model.errors import UsageError
from jinbao.model.zone import Endpoint, Zone

PRODUCTION, EXCHANGE = Endpoint(CITY, Zone.PRODUCTION), Endpoint(CITY, Zone.EXCHANGE)


def test_what_would_be_lost_is_unknown_then_nothing_then_counted(guarded: MakeWorld) -> None:
    """Until the backup asked, the distance is infinite; with all of it there, nothing; then the age of what waits."""
    with guarded(2) as world:
        unknown = exposure(world.zones[EXCHANGE])
        assert unknown is not None
        assert (unknown.rpo_s, unknown.rows, unknown.bytes) == (math.inf, math.inf, math.inf)
        assert dispatch(Asked(world.zones[EXCHANGE]), "standby.status", {}).body["own"]["rpo_s"] is None

        bring(world, EXCHANGE)
        none = exposure(world.zones[EXCHANGE])
        assert none is not None
        assert (none.rpo_s, none.rows, none.bytes) == (0.0, 0, 0)

        world.business[PRODUCTION].edit()
        world.capture_all()
        world.follow(EXCHANGE, PRODUCTION)
        taken = world.zones[EXCHANGE].index.recorded_after(0)
        world.now += timedelta(seconds=90)
        some = exposure(world.zones[EXCHANGE])
        assert some is not None
        assert 90 <= some.rpo_s < 120
        assert 0 < some.rows < taken[0]
        assert 0 < some.bytes < taken[1]


def test_a_zone_nobody_protects_has_no_distance(guarded: MakeWorld) -> None:
    """The ministry has no backup here, and says so instead of showing nothing to lose."""
    with guarded(2) as world:
        ministry = world.zones[Endpoint("100000", Zone.EXCHANGE)]

        assert exposure(ministry) is None
        assert dispatch(Asked(ministry), "standby.status", {}).body["own"]["backup"] == ""


def test_the_source_has_a_point_of_its_own(guarded: MakeWorld) -> None:
    """The age of the newest capture is the production zone's alone, and grows while nothing is captured."""
    with guarded(2) as world:
        before = capture_age_s(world.zones[PRODUCTION])
        world.now += timedelta(hours=5)
        after = capture_age_s(world.zones[PRODUCTION])

        assert before is not None
        assert after is not None
        assert 4.9 * 3600 < after - before <= 5 * 3600
        assert capture_age_s(world.zones[EXCHANGE]) is None


def test_the_backup_lists_every_zone_it_protects(guarded: MakeWorld) -> None:
    """Each protected zone is a line with the moment it can be built up to; one whose copy lacks a segment has none."""
    with guarded(2) as world:
        backup = world.zones[BACKUP]
        lines = {
            line["zone"]: line for line in dispatch(Asked(backup), "standby.status", {}).body["protected"]
        }
        assert list(lines) == sorted(map(str, PROTECTED))
        assert all(line["restorable_to"] and line["acts"] for line in lines.values())

        cut = backup.cuts.of(journal_of(EXCHANGE))
        backup.ledger.record(
            acts.followed(
                stream=cut.stream,
                seq=cut.seq,
                head=cut.head,
                lsn=cut.lsn,
                digest=cut.hash,
                at=cut.at,
                captured_at=cut.captured_at,
                missing=2,
            )
        )
        lines = {
            line["zone"]: line for line in dispatch(Asked(backup), "standby.status", {}).body["protected"]
        }
        assert lines[str(EXCHANGE)]["missing"] == 2
        assert lines[str(EXCHANGE)]["restorable_to"] == ""


@pytest.mark.parametrize("wrong", ["140999/exchange", "nowhere", "100000/exchange", f"{PROVINCE}/production"])
def test_a_copy_of_a_zone_that_has_none_is_refused(guarded: MakeWorld, wrong: str) -> None:
    """Asked for a zone that is not protected here, the answer names those that are."""
    with guarded(2) as world, pytest.raises(UsageError, match="zone: expected"):
        dispatch(Asked(world.zones[BACKUP]), "standby.copy", {"protected": wrong})
