"""A production zone put back from a copy that is older than what it had sealed, at every tier."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.sim.conftest import MakeWorld
from tests.sim.forging import keep_copy, restore
from tests.sim.world import World

from jinbao.appliance.questions import Asked, dispatch
from jinbao.appliance.restored import FILE, Restored, note_restored
from jinbao.model.errors import LASTING, OutdatedError, UntoldError, UsageError
from jinbao.model.stream import StreamId
from jinbao.model.zone import Endpoint, Zone
from jinbao.store.files import Files

CITY, EXCHANGE = Endpoint("140100", Zone.PRODUCTION), Endpoint("140100", Zone.EXCHANGE)
DECISION = Endpoint("140100", Zone.DECISION)
PROVINCE, MINISTRY = Endpoint("140000", Zone.EXCHANGE), Endpoint("100000", Zone.EXCHANGE)
STREAMS = [StreamId(CITY, library) for library in ("pension_macro", "unemployment_monitor")]

STEPS_MAX = 2 * 3 * len(STREAMS)
"""A release and a re-base of each stream at each tier."""

EDITS_MAX = 50
"""Many times what a library needs until one of its rows is another."""


def submit(world: World) -> None:
    """Business goes on until the city has something more to submit in each stream; nobody has fetched it."""
    before = heads(world)
    for _ in range(EDITS_MAX):
        if all(now > then for now, then in zip(heads(world), before, strict=True)):
            return
        world.business[CITY].edit()
        world.capture_all()
    pytest.fail(
        f"expected a submission in each stream after {EDITS_MAX} edits, got {before}, then {heads(world)}"
    )


def lose_carriers(world: World) -> None:
    """What lay on the city's disks between its exchange and its decision zone is gone too."""
    settings = world.settings[CITY.node]
    for writer, reader in ((Zone.EXCHANGE, Zone.DECISION), (Zone.DECISION, Zone.EXCHANGE)):
        shutil.rmtree(settings.carrier_directory(writer, reader), ignore_errors=True)


def put_back(world: World, endpoint: Endpoint, copy: Path) -> None:
    """A copy takes the place of a zone, as `jinbao backup restore` leaves it."""
    restore(world, endpoint, copy)
    home = world.settings[endpoint.node].directory(endpoint.zone)
    world.zones[endpoint].close()
    note_restored(Files(), home, 1)
    world.open(endpoint)


def heads(world: World) -> list[int]:
    """Seq of the city's newest batch in each stream, as the city has it."""
    return [world.zones[CITY].index.head(stream).seq for stream in STREAMS]


def holds(world: World) -> list[tuple[Endpoint, StreamId, str]]:
    """What the exchange zones hold of the city, from below, with the codes."""
    return [
        (endpoint, stream, code)
        for endpoint in (EXCHANGE, PROVINCE, MINISTRY)
        for stream, (_, code, _) in world.zones[endpoint].index.held().items()
        if stream in STREAMS
    ]


def go_on_anew(world: World) -> None:
    """Make the production zone anew; then do at each tier, from below, what its own refusals say, until none holds."""
    home = world.settings[CITY.node].directory(CITY.zone)
    world.zones[CITY].close()
    for path in home.iterdir():
        if path.name != "identity":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    world.open(CITY)
    world.capture_all()
    world.settle()
    for _ in range(STEPS_MAX):
        if not (found := holds(world)):
            return
        endpoint, stream, code = found[0]
        asked, said = Asked(world.zones[endpoint]), {"stream": str(stream), "reason": "disk lost, report 7"}
        if code in LASTING:
            with pytest.raises(UsageError, match="then jinbao line release here"):
                dispatch(asked, "line.rebase", said | {"apply": True})
            dispatch(asked, "line.release", said)
        else:
            dispatch(asked, "line.rebase", said | {"apply": True})
        world.settle()
    pytest.fail(f"expected streams that go on after {STEPS_MAX} steps, got {holds(world)}")


def check_equal(world: World) -> None:
    """Every tier has the city's rows as the city sealed them, and the city's next rows too."""
    for _ in range(2):
        for stream in STREAMS:
            sealed = {
                t["table"]: (t["rows"], t["digest"]) for t in world.zones[CITY].state.sealed(stream.topic)
            }
            for endpoint in (EXCHANGE, PROVINCE, MINISTRY):
                found = world.zones[endpoint].library.digests(stream.topic, CITY.node)
                assert {t: (d.rows, d.root) for t, d in found.items()} == sealed
        submit(world)
        world.settle()


@pytest.mark.fault_row(16)
@pytest.mark.parametrize("is_relay_old", [False, True], ids=["relay has all", "whole node is old"])
def test_a_production_zone_put_back_seals_nothing_before_it_is_told(
    quiet: MakeWorld, is_relay_old: bool
) -> None:
    """It waits for its exchange zone, which waits for its parent if it was put back too, and is found to be old."""
    with quiet(5) as world:
        copies = {e: keep_copy(world, e, "old") for e in (CITY, EXCHANGE, DECISION)}
        submit(world)
        world.settle()
        put_back(world, CITY, copies[CITY])
        if is_relay_old:
            put_back(world, EXCHANGE, copies[EXCHANGE])
            put_back(world, DECISION, copies[DECISION])
            lose_carriers(world)
        before = heads(world)

        world.business[CITY].edit()
        world.capture(CITY)
        world.follow(EXCHANGE, CITY)
        world.capture(CITY)

        assert heads(world) == before

        world.follow(PROVINCE, EXCHANGE)
        world.follow(EXCHANGE, CITY)
        world.capture(CITY)

        assert heads(world) == before
        with pytest.raises(OutdatedError, match="make the zone anew"):
            world.zones[CITY].outdated.require_newest()
        assert "equivocation" not in {code for _, _, code in holds(world)}

        go_on_anew(world)

        check_equal(world)


def home(world: World) -> Path:
    """The directory of the city's production zone."""
    return world.settings[CITY.node].directory(CITY.zone)


@pytest.mark.fault_row(16)
def test_a_zone_put_back_from_its_newest_copy_goes_on_once_told(quiet: MakeWorld) -> None:
    """The first call of its exchange zone ends the wait for good, and what it then seals is taken in everywhere."""
    with quiet(5) as world:
        put_back(world, CITY, keep_copy(world, CITY, "newest"))
        before = heads(world)
        world.business[CITY].edit()
        world.capture(CITY)
        assert heads(world) == before

        world.follow(EXCHANGE, CITY)

        assert not (home(world) / FILE).exists()
        world.restart(CITY)
        submit(world)
        world.settle()
        assert holds(world) == []
        check_equal(world)


@pytest.mark.fault_row(16)
def test_only_a_zone_that_was_put_back_waits(quiet: MakeWorld) -> None:
    """A zone that started on its own directory seals though nobody calls it, however long its line is down."""
    with quiet(5) as world:
        world.restart(CITY)
        before = heads(world)

        submit(world)

        assert all(now > then for now, then in zip(heads(world), before, strict=True))


@pytest.mark.fault_row(16)
def test_a_person_lets_it_go_on_without_the_word(quiet: MakeWorld) -> None:
    """With a reason it seals though nobody told it; a zone that waits for nobody has nothing to be let go on with."""
    with quiet(5) as world:
        put_back(world, CITY, keep_copy(world, CITY, "newest"))
        before = heads(world)

        with pytest.raises(UsageError, match="expected --reason, got none"):
            dispatch(Asked(world.zones[CITY]), "line.proceed", {"reason": ""})
        said = dispatch(Asked(world.zones[CITY]), "line.proceed", {"reason": "the exchange zone is lost"})

        assert said.body == {"zone": str(CITY), "not_waited_for": str(EXCHANGE)}
        submit(world)
        assert all(now > then for now, then in zip(heads(world), before, strict=True))
        with pytest.raises(UsageError, match="got one that waits for none"):
            dispatch(Asked(world.zones[CITY]), "line.proceed", {"reason": "once more"})


def waiting(world: World, epoch: int = 1) -> Restored:
    """The city's production zone, as put back from a copy of the first epoch, with an identity of `epoch`."""
    note_restored(Files(), home(world), 1)
    zone = world.zones[CITY]
    return Restored(
        CITY,
        home(world),
        topology=lambda: zone.topology,
        epoch=lambda: epoch,
        incarnation=zone.index.incarnation,
        observer=zone.observer,
    )


@pytest.mark.fault_row(16)
def test_not_every_word_ends_the_wait(quiet: MakeWorld) -> None:
    """Neither another zone's call, nor one that knows nothing of us, nor one that knows another store of ours."""
    with quiet(5) as world:
        restored, mark = waiting(world), world.zones[CITY].index.head(STREAMS[0])

        for caller, marks in (
            (DECISION, [mark]),
            (EXCHANGE, []),
            (EXCHANGE, [replace(mark, incarnation="0f" * 16)]),
        ):
            restored.hear(caller, marks, is_empty=False)
            with pytest.raises(UntoldError, match=f"expected a call of {EXCHANGE}"):
                restored.require_told()

        restored.hear(EXCHANGE, [mark], is_empty=False)
        restored.require_told()


def test_a_newer_epoch_waits_for_nobody(quiet: MakeWorld) -> None:
    """A zone that was built for a promotion takes back what was sent before; it has no word to wait for."""
    with quiet(5) as world:
        assert waiting(world).awaited == EXCHANGE
        assert waiting(world, epoch=2).awaited is None


@pytest.mark.fault_row(47)
@pytest.mark.parametrize("is_relay_old", [False, True], ids=["relay has all", "whole node is old"])
def test_two_pasts_that_were_sealed_end_with_a_new_store(quiet: MakeWorld, is_relay_old: bool) -> None:
    """Where both pasts came to somebody, a store made anew goes on at every tier, and both signed heads stay as proof."""
    with quiet(5) as world:
        copies = {e: keep_copy(world, e, "old") for e in (CITY, EXCHANGE, DECISION)}
        submit(world)
        world.settle()
        for endpoint in copies if is_relay_old else (CITY,):
            restore(world, endpoint, copies[endpoint])
        if is_relay_old:
            lose_carriers(world)
        submit(world)
        submit(world)
        world.settle()
        accuser = PROVINCE if is_relay_old else EXCHANGE
        assert [code for endpoint, _, code in holds(world) if endpoint == accuser] == ["equivocation"] * 2

        go_on_anew(world)

        check_equal(world)
        for stream in STREAMS:
            acts = world.zones[accuser].ledger.acts(kind="held", limit=1000)
            kept = [a.act.body for a in acts if a.act.body["stream"] == str(stream)]
            proofs = [body for body in kept if body["code"] == "equivocation"]
            assert [len(body["evidence"]) for body in proofs] == [2]
