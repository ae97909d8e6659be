"""A copy that was put back to an older one is seen from outside, and so is a zone that was."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from tests.sim.conftest import MakeWorld
from tests.sim.world import World
from tests.standby.following import BACKUP, CITY, PROTECTED, PROVINCE, bring, journal_of

from jinbao.appliance.questions import Asked, dispatch
from jinbao.model import acts
from jinbao.model.stream import CUTS, StreamId
from jinbao.model.zone import Endpoint, Zone
from jinbao.standby.cuts import Cut
from jinbao.standby.witnessing import CutSealer

MINISTRY = Endpoint("100000", Zone.EXCHANGE)
EXCHANGE = Endpoint(CITY, Zone.EXCHANGE)
WORD = StreamId(BACKUP, CUTS)


def kept_in(world: World, endpoint: Endpoint) -> Callable[[], None]:
    """Copy a zone's directory while it is closed; what is returned puts the copy back."""
    zone = world.settings[endpoint.node].directory(endpoint.zone)
    aside = world.directory / f"aside-{endpoint.node}"
    world.zones[endpoint].close()
    shutil.copytree(zone, aside, symlinks=True)
    world.open(endpoint)

    def put_back() -> None:
        world.zones[endpoint].close()
        shutil.rmtree(zone)
        shutil.copytree(aside, zone, symlinks=True)
        world.open(endpoint)

    return put_back


def go_on(world: World) -> None:
    """Something happens at the city, and the whole network comes to rest."""
    world.zones[EXCHANGE].ledger.record(acts.paused(Endpoint(PROVINCE, Zone.EXCHANGE), "a cable"))
    world.zones[EXCHANGE].ledger.record(acts.resumed(Endpoint(PROVINCE, Zone.EXCHANGE)))
    world.settle()


def test_the_parent_knows_how_far_the_backup_is(guarded: MakeWorld) -> None:
    """At rest the ministry has the backup's own word for every zone it protects, and it is what the backup has."""
    with guarded(4) as world:
        witnessed = {
            w.stream: (w.seq, w.head, w.went_back_at) for w in world.zones[MINISTRY].cuts.witnessed()
        }

        assert witnessed == {c.stream: (c.seq, c.head, "") for c in world.zones[BACKUP].cuts.all()}
        assert set(witnessed) == set(map(journal_of, PROTECTED))
        told = dispatch(Asked(world.zones[MINISTRY]), "standby.status", {}).body["witnessed"]
        assert [line["zone"] for line in told] == sorted(map(str, PROTECTED))


@pytest.mark.fault_row(56)
def test_a_backup_put_back_to_an_older_copy_is_held_by_its_parent(guarded: MakeWorld) -> None:
    """An old copy in the backup's place says less than its parent holds: its stream is held as a rollback."""
    with guarded(4) as world:
        put_back = kept_in(world, BACKUP)
        go_on(world)
        put_back()

        world.follow(MINISTRY, BACKUP)

        assert world.zones[MINISTRY].index.held()[WORD][1] == "rollback"


def saying(world: World, lines: Callable[[Sequence[Cut]], Sequence[Cut]]) -> None:
    """The backup seals other cuts than it has, and its parent hears of it."""
    zone = world.zones[BACKUP]
    sealer = CutSealer(
        index=zone.index,
        ledger=zone.ledger,
        cuts=lambda: lines(zone.cuts.all()),
        above=lambda: zone.topology.above(zone.me),
        seal=zone.seal,
        epoch=lambda: 1,
        now=zone.ports.now_text,
    )
    assert sealer.step()
    world.follow(MINISTRY, BACKUP)
    world.apply(MINISTRY)


@pytest.mark.parametrize("alter", [{"seq": 1}, {"head": "f" * 64}], ids=["fewer", "another"])
def test_less_than_was_said_is_told(guarded: MakeWorld, alter: dict[str, object]) -> None:
    """A backup with fewer batches of a journal, or with another at the same place, is told until it has more again."""
    with guarded(4) as world:
        before = {w.stream: w.seq for w in world.zones[MINISTRY].cuts.witnessed()}

        def less(cuts: Sequence[Cut]) -> list[Cut]:
            return [replace(cut, **alter) if cut.stream == journal_of(EXCHANGE) else cut for cut in cuts]  # type: ignore[arg-type]  # by name

        saying(world, less)
        told = {w.stream: w for w in world.zones[MINISTRY].cuts.witnessed()}
        assert [w.stream for w in told.values() if w.went_back_at] == [journal_of(EXCHANGE)]
        assert {stream: w.seq for stream, w in told.items()} == before

        go_on(world)
        assert not any(w.went_back_at for w in world.zones[MINISTRY].cuts.witnessed())


def sealer_of(world: World, endpoint: Endpoint, cuts: Sequence[Cut]) -> CutSealer:
    """Whoever seals these cuts as a zone's own word."""
    zone = world.zones[endpoint]
    return CutSealer(
        index=zone.index,
        ledger=zone.ledger,
        cuts=lambda: cuts,
        above=lambda: zone.topology.above(zone.me),
        seal=zone.seal,
        epoch=lambda: 1,
        now=zone.ports.now_text,
    )


def cut_of(node: int) -> Cut:
    """A cut of some node's exchange zone."""
    return Cut(replace(journal_of(EXCHANGE), origin=Endpoint(f"{node}", Zone.EXCHANGE)), 1, "a" * 64)


def test_the_word_is_given_once(guarded: MakeWorld) -> None:
    """While nothing comes, nothing is sealed; many zones take as many manifests as it needs, once."""
    with guarded(4) as world:
        zone = world.zones[BACKUP]
        assert not zone.cut_sealer.step()
        before = zone.index.head(WORD).seq
        sealer = sealer_of(world, BACKUP, [cut_of(140000 + number) for number in range(450)])

        assert sealer.step()
        assert zone.index.head(WORD).seq == before + 3
        assert not sealer.step()


def test_a_word_of_zones_it_does_not_protect_holds_a_backup(guarded: MakeWorld) -> None:
    """A backup that speaks of a zone of another province is held, and nothing of it is kept."""
    with guarded(4) as world:
        before = world.zones[MINISTRY].cuts.witnessed()
        sealer_of(world, BACKUP, [cut_of(310000)]).step()
        world.follow(MINISTRY, BACKUP)
        world.apply(MINISTRY)

        assert world.zones[MINISTRY].index.held()[WORD][1] == "unacceptable"
        assert world.zones[MINISTRY].cuts.witnessed() == before


def test_the_word_of_no_backup_is_passed_by(guarded: MakeWorld) -> None:
    """A city that speaks as a backup would fills nobody's tables and raises no alarm."""
    with guarded(4) as world:
        province = Endpoint(PROVINCE, Zone.EXCHANGE)
        sealer_of(world, EXCHANGE, [cut_of(140000 + number) for number in range(190)]).step()
        world.follow(province, EXCHANGE)
        world.apply(province)

        assert world.zones[province].cuts.witnessed() == []
        assert not world.zones[province].index.held()


@pytest.mark.fault_row(16)
def test_a_zone_put_back_to_an_older_copy_is_held_by_its_backup(guarded: MakeWorld) -> None:
    """A protected zone that has fewer acts than its backup saw is held as a rollback, and the copy stays as it was."""
    with guarded(4) as world:
        put_back = kept_in(world, EXCHANGE)
        go_on(world)
        cut = world.zones[BACKUP].cuts.of(journal_of(EXCHANGE))
        put_back()

        bring(world, EXCHANGE)

        assert world.zones[BACKUP].index.held()[journal_of(EXCHANGE)][1] == "rollback"
        assert world.zones[BACKUP].cuts.of(journal_of(EXCHANGE)) == cut
        line = next(
            line
            for line in dispatch(Asked(world.zones[BACKUP]), "standby.status", {}).body["protected"]
            if line["zone"] == str(EXCHANGE)
        )
        assert "rollback" in line["held"] or "140100" in line["held"]
