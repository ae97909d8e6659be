"""The backup site has every act of the zones it protects, and nobody else is shown one (invariants 4 and 13)."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from tests.sim.conftest import MakeWorld
from tests.sim.world import World
from tests.standby.following import BACKUP, CITY, PROTECTED, PROVINCE, bring, copy_of, journal_of, name_of

from jinbao.appliance.guarding import exposure
from jinbao.appliance.housekeeping import retention_plan, sweep_shelf
from jinbao.appliance.restoring import Place, rebuild
from jinbao.flow import following
from jinbao.flow.following import (
    ACTS_MAX,
    PIECE_CHARACTERS,
    JournalSealer,
    cut_of,
    of_frame,
    to_frame,
)
from jinbao.journal.ledger import act_hash
from jinbao.journal.retention import REBUILD, plan
from jinbao.journal.verify import verify_journal
from jinbao.model import acts
from jinbao.model.acts import Act, Entry
from jinbao.model.batch import Header, Kind
from jinbao.model.errors import UnacceptableError, UnprovableError
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust.encoding import decode_header, encode_header


def entries(world: World, endpoint: Endpoint) -> list[Entry]:
    """Every act of a zone as its journal holds it."""
    return world.zones[endpoint].ledger.entries(0, 10**6, 1 << 40)


def act_of_many(world: World, endpoint: Endpoint, count: int, *beside: Act) -> list[str]:
    """Record a capture that names so many segments, each on the shelf and like no other; their hashes.

    Acts `beside` are recorded at once with it.
    """
    zone = world.zones[endpoint]
    run = zone.state.last_run()
    hashes = [zone.shelf.write(pl.DataFrame({"n": [run, at]}))[0] for at in range(count)]
    table = acts.CapturedTable("city", "AB01", hashes[0], 0, 0, 0, changes=tuple(enumerate(hashes[1:], 2)))
    zone.ledger.record(acts.captured(f"run-{run + 1:06d}", [table]), *beside)
    return hashes


@pytest.mark.parametrize("endpoint", PROTECTED, ids=lambda endpoint: f"{endpoint.node}-{endpoint.zone}")
def test_every_act_comes_to_the_backup_as_it_was_hashed(guarded: MakeWorld, endpoint: Endpoint) -> None:
    """What the backup chains of a zone at rest is that zone's journal, act by act, up to the seal of its last batch."""
    with guarded(1) as world:
        copied = list(copy_of(world.zones[BACKUP], endpoint).entries())

        own = entries(world, endpoint)
        assert copied == own[: len(copied)]
        assert [entry.kind for entry in own[len(copied) :]] == ["sealed"]
        assert world.zones[BACKUP].cuts.of(journal_of(endpoint)).hash == copied[-1].hash


def test_at_rest_nothing_is_sealed(guarded: MakeWorld) -> None:
    """The seals of batches of acts call for no further batch: a network at rest stays there."""
    with guarded(1) as world:
        assert not any(world.zones[endpoint].following.step() for endpoint in PROTECTED)
        assert not world.round()


def test_what_acts_name_is_at_the_backup(guarded: MakeWorld) -> None:
    """Every segment on a protected zone's shelf that an act names is on the backup's, captured tables included."""
    with guarded(1) as world:
        backup = world.zones[BACKUP]

        for endpoint in PROTECTED:
            zone = world.zones[endpoint]
            lost = [h for h in zone.shelf.stored() if not backup.shelf.has(name_of(endpoint, h))]
            newest = [
                line["sha256"]
                for line in zone.index.segments()
                if line["stream"] == str(journal_of(endpoint))
            ]
            assert set(lost) <= set(newest)
        production = Endpoint(CITY, Zone.PRODUCTION)
        captured = world.zones[production].state.captured_tables()
        assert captured
        names = [name_of(production, sha256) for table in captured for sha256 in table.segments]
        assert all(map(backup.shelf.has, names))


def test_a_node_nobody_protects_seals_no_acts(guarded: MakeWorld) -> None:
    """The ministry, which the backup does not protect, has no stream of acts."""
    with guarded(1) as world:
        ministry = world.zones[Endpoint("100000", Zone.EXCHANGE)]

        assert ministry.following.stream is None
        assert not ministry.following.step()


def test_a_batch_names_no_more_than_a_header_may(guarded: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """An act with more segments than one header may name comes in several batches, and all of them arrive."""
    endpoint = PROTECTED[0]
    with guarded(1) as world:
        zone = world.zones[endpoint]
        before = zone.index.head(journal_of(endpoint)).seq
        monkeypatch.setattr(following, "OBJECTS_MAX", 4)
        hashes = act_of_many(world, endpoint, 11)
        world.step("standby", endpoint, lambda zone: zone.following.step())
        bring(world, endpoint)

        batches = zone.index.batches(journal_of(endpoint))[before:]
        sizes = [len(decode_header(sealed.payload).segments) for sealed in batches]
        assert sizes == [4, 4, 4]
        assert all(world.zones[BACKUP].shelf.has(name_of(endpoint, sha256)) for sha256 in hashes)
        assert list(copy_of(world.zones[BACKUP], endpoint).entries())[-1].kind == "captured"


def test_many_acts_come_in_several_batches(guarded: MakeWorld) -> None:
    """More acts than one batch holds are sealed by further steps, in order and without a gap."""
    endpoint = PROTECTED[1]
    with guarded(1) as world:
        zone = world.zones[endpoint]
        peer = Endpoint(PROVINCE, Zone.EXCHANGE)
        for _ in range(ACTS_MAX // 2 + 1):
            world.now += timedelta(seconds=1)
            zone.ledger.record(acts.paused(peer, "a test"), acts.resumed(peer))
        steps = 0
        while world.step("standby", endpoint, lambda zone: zone.following.step()):
            steps += 1
        bring(world, endpoint)

        assert steps == 2
        copied = list(copy_of(world.zones[BACKUP], endpoint).entries())
        assert copied == entries(world, endpoint)[: len(copied)]


def test_what_was_recorded_at_once_is_in_one_batch(
    guarded: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch of acts ends where a record ended, though it has room for more: no copy ends within one."""
    endpoint = PROTECTED[1]
    with guarded(1) as world:
        monkeypatch.setattr(following, "ACTS_MAX", 5)
        zone, peer = world.zones[endpoint], Endpoint(PROVINCE, Zone.EXCHANGE)
        for _ in range(9):
            world.now += timedelta(seconds=1)
            zone.ledger.record(acts.paused(peer, "a test"), acts.resumed(peer), acts.paused(peer, "again"))
        before = zone.index.head(journal_of(endpoint)).seq
        while world.step("standby", endpoint, lambda zone: zone.following.step()):
            pass

        newest = zone.index.head(journal_of(endpoint)).seq
        ends = [zone.following.cut(journal_of(endpoint), seq) for seq in range(before + 1, newest + 1)]
        followed = [zone.ledger.entries(cut.lsn, 1, 1) for cut in ends]
        assert len(ends) > 3
        assert all(not after or after[0].at != cut.at for cut, after in zip(ends, followed, strict=True))


def test_a_record_longer_than_a_batch_is_in_one(guarded: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Acts recorded at once that are more, or name more, than a batch holds else come in one, their segments before it."""
    endpoint = PROTECTED[0]
    with guarded(1) as world:
        monkeypatch.setattr(following, "ACTS_MAX", 5)
        monkeypatch.setattr(following, "OBJECTS_MAX", 4)
        zone, peer = world.zones[endpoint], Endpoint(PROVINCE, Zone.EXCHANGE)
        world.now += timedelta(seconds=1)
        zone.ledger.record(acts.paused(peer, "before"))
        while zone.following.step():
            pass
        before = zone.index.head(journal_of(endpoint)).seq
        world.now += timedelta(seconds=1)
        hashes = act_of_many(world, endpoint, 11, *(acts.paused(peer, str(at)) for at in range(7)))
        world.now += timedelta(seconds=1)
        zone.ledger.record(acts.resumed(peer))
        end, _ = zone.index.newest_act()

        while zone.following.step():
            pass
        newest = zone.index.head(journal_of(endpoint)).seq
        cuts = {zone.following.cut(journal_of(endpoint), seq).lsn for seq in range(before, newest + 1)}
        assert end - 1 in cuts
        assert not cuts & set(range(end - 8, end - 1))
        bring(world, endpoint)
        assert all(world.zones[BACKUP].shelf.has(name_of(endpoint, sha256)) for sha256 in hashes)


@pytest.mark.parametrize("length", [2, PIECE_CHARACTERS, PIECE_CHARACTERS + 1, 5 * PIECE_CHARACTERS + 7])
def test_an_act_of_any_length_is_read_as_it_was(length: int) -> None:
    """An act's text is cut into cells and joined again, whatever its length and its characters."""
    rng = random.Random(length)
    text = "".join(rng.choice('aé中🙂"\\') for _ in range(length))
    given = [
        Entry(7, "held", text, "2024-11-05T00:00:00Z", "f" * 64),
        Entry(8, "created", "{}", "t", "e" * 64),
    ]

    assert of_frame(to_frame(given).sample(fraction=1.0, shuffle=True, seed=1)) == given


class Forging:
    """A ledger's acts with one of them altered where it is read for the backup."""

    def __init__(self, world: World, endpoint: Endpoint, alter: dict[str, object]) -> None:
        self._zone, self._alter = world.zones[endpoint], alter

    def entries(self, after: int, limit: int, bytes_max: int) -> list[Entry]:
        """The newest act beyond `after` is another than the journal's."""
        found = self._zone.ledger.entries(after, limit, bytes_max)
        if not found:
            return []
        return [*found[:-1], replace(found[-1], **self._alter)]  # type: ignore[arg-type]  # by name


def forged(world: World, endpoint: Endpoint, acts_read: Forging) -> None:
    """The zone seals what is read in place of its own acts, and the backup fetches it."""
    zone = world.zones[endpoint]
    JournalSealer(
        index=zone.index,
        ledger=zone.ledger,
        recorded=acts_read,
        shelf=zone.shelf,
        seal=zone.seal,
        epoch=lambda: 1,
        backup=lambda: BACKUP.node,
        now=zone.ports.now_text,
    ).step()
    bring(world, endpoint)


@pytest.mark.parametrize(
    "alter",
    [
        {"body": '{"peer":"140000/exchange","reason":"another"}'},
        {"kind": "resumed"},
        {"at": "2020-01-01T00:00:00Z"},
        {"hash": "0" * 64},
        {"lsn": 99999},
    ],
)
def test_acts_that_do_not_follow_are_found_where_a_copy_is_read(
    guarded: MakeWorld, alter: dict[str, object]
) -> None:
    """A copy whose acts are not the zone's chain is never built; up to the cut before it is read as it was."""
    endpoint = PROTECTED[1]
    with guarded(1) as world:
        backup = world.zones[BACKUP]
        before = backup.cuts.of(journal_of(endpoint))
        world.zones[endpoint].ledger.record(acts.paused(Endpoint(PROVINCE, Zone.EXCHANGE), "a test"))
        forged(world, endpoint, Forging(world, endpoint, alter))

        with pytest.raises(UnprovableError, match="act"):
            list(copy_of(backup, endpoint).entries())
        assert len(list(copy_of(backup, endpoint, before.lsn).entries())) == before.lsn


@pytest.mark.parametrize("said", [{"lsn": 1}, {"hash": "0" * 64}])
def test_a_cut_that_goes_back_holds_its_stream(
    guarded: MakeWorld, monkeypatch: pytest.MonkeyPatch, said: dict[str, object]
) -> None:
    """A zone that says less of its own acts than before is held, the cut stays, and other zones are cut on."""
    endpoint, other = PROTECTED[1], PROTECTED[3]
    with guarded(1) as world:
        cuts, zone = world.zones[BACKUP].cuts, world.zones[endpoint]
        before = cuts.of(journal_of(endpoint)), cuts.of(journal_of(other))
        last = zone.following.cut(journal_of(endpoint), before[0].seq)
        with monkeypatch.context() as patch:
            patch.setattr(JournalSealer, "_cut", lambda *_: replace(last, **said))
            zone.ledger.record(acts.paused(Endpoint(PROVINCE, Zone.EXCHANGE), "a test"))
            zone.following.step()
        world.zones[other].ledger.record(acts.paused(Endpoint(CITY, Zone.EXCHANGE), "a test"))
        world.zones[other].following.step()
        bring(world, endpoint)
        bring(world, other)

        assert [code for _, code, _ in world.zones[BACKUP].index.held().values()] == ["unprovable"]
        assert cuts.of(journal_of(endpoint)) == before[0]
        assert cuts.of(journal_of(other)).lsn > before[1].lsn


def test_a_cut_that_is_no_time_is_refused(guarded: MakeWorld) -> None:
    """A header whose cut says no moment is no message of the contract."""
    with guarded(1) as world:
        zone = world.zones[PROTECTED[1]]
        sealed = zone.index.batches(journal_of(PROTECTED[1]))[-1]
        header = decode_header(sealed.payload)
        assert header.cut is not None

        for moment in ("yesterday", "2024-11-05T00:00:00", ""):
            with pytest.raises(UnprovableError):
                decode_header(encode_header(replace(header, cut=replace(header.cut, at=moment))))


def test_a_batch_that_does_not_say_its_acts_is_refused() -> None:
    """A header without a cut is none of a journal."""
    header = Header(journal_of(PROTECTED[0]), 1, "a", 1, "", Kind.CHANGE, "2024-11-05T00:00:00Z")

    with pytest.raises(UnacceptableError, match="how far its acts go"):
        cut_of(header)


def test_files_wait_for_the_backup_and_then_go(guarded: MakeWorld) -> None:
    """What only a batch of acts names is kept until the backup said it has it, over a restart, and not longer."""
    endpoint = PROTECTED[0]
    with guarded(1) as world:
        first = act_of_many(world, endpoint, 2)
        act_of_many(world, endpoint, 2)  # the newest capture: the next run compares with it
        world.step("standby", endpoint, lambda zone: zone.following.step())

        def who() -> set[str]:
            zone = world.zones[endpoint]
            return {
                need for line in retention_plan(zone) if line.sha256 == first[0] for need in line.needed_by
            }

        assert BACKUP.node in who()
        bring(world, endpoint)
        bring(world, endpoint)
        assert BACKUP.node not in who()
        world.restart(endpoint)
        assert BACKUP.node in who()
        bring(world, endpoint)
        world.now = world.now.replace(year=world.now.year + 50)
        sweep_shelf(world.zones[endpoint])

        assert not world.zones[endpoint].shelf.has(first[0])
        kept = name_of(endpoint, first[0])
        assert world.zones[BACKUP].shelf.has(kept)
        assert {line.needed_by for line in retention_plan(world.zones[BACKUP]) if line.sha256 == kept} == {
            (REBUILD,)
        }
        assert verify(world, endpoint) == []


def test_a_backup_that_left_is_waited_for_no_more(guarded: MakeWorld) -> None:
    """Once the topology names another backup, or none, files wait for the old one no longer."""
    endpoint = PROTECTED[0]
    with guarded(1) as world:
        first = act_of_many(world, endpoint, 2)
        world.step("standby", endpoint, lambda zone: zone.following.step())
        zone, rows = world.zones[endpoint], world.plan.topology.rows
        without = replace(world.plan.topology, rows=tuple(row for row in rows if not row.protects))

        def who(topology: Topology) -> set[str]:
            lines = plan(zone.me, zone.store, zone.shelf, topology, ())
            return {need for line in lines if line.sha256 == first[0] for need in line.needed_by}

        assert who(world.plan.topology) == {BACKUP.node}
        assert who(without) == set()


def verify(world: World, endpoint: Endpoint) -> list[str]:
    """What is damaged in a zone's journal."""
    zone = world.zones[endpoint]
    return [damage.thing for damage in verify_journal(zone.store, zone.shelf)]


def test_storms_leave_the_backup_whole(guarded: MakeWorld) -> None:
    """After seeded crashes, cuts and clocks, fair weather brings every act of every protected zone to the backup."""
    crashes = 0
    for seed in (11, 12):
        with guarded(seed) as world:
            world.arm(hits=5, power=seed == 12)
            world.storm(100)
            world.settle()

            crashes += len(world.crashes)
            for endpoint in PROTECTED:
                copied = list(copy_of(world.zones[BACKUP], endpoint).entries())
                own = entries(world, endpoint)
                assert copied == own[: len(copied)], seed
                rest = [entry for entry in own[len(copied) :] if entry.kind != "sealed"]
                assert rest == [], seed
    assert crashes


NOT_AN_ACT = [
    {"body": "[]", "kind": "applied"},
    {"body": "{}", "kind": "applied"},
    {"body": '{"stream":7}', "kind": "rebased"},
    {"body": '{"quarantine":7,"findings":""}', "kind": "converted"},
]


@pytest.mark.parametrize("alter", NOT_AN_ACT)
def test_acts_that_are_none_are_named_where_a_zone_is_built(
    guarded: MakeWorld, alter: dict[str, str], tmp_path: Path
) -> None:
    """A zone that chains what no zone records cannot be built again beyond it: the act is named, nothing is left open."""
    endpoint = PROTECTED[1]
    with guarded(1) as world:
        zone, backup = world.zones[endpoint], world.zones[BACKUP]
        zone.ledger.record(acts.paused(Endpoint(PROVINCE, Zone.EXCHANGE), "a test"))

        class Chained(Forging):
            """Altered, and hashed again as if it had been recorded so."""

            def entries(self, after: int, limit: int, bytes_max: int) -> list[Entry]:
                found = super().entries(after, limit, bytes_max)
                if not found:
                    return []
                last, previous = found[-1], self._zone.ledger.entries(found[-1].lsn - 2, 1, 1)[0]
                digest = act_hash(previous.hash, last.lsn, last.kind, last.body, last.at)
                return [*found[:-1], replace(last, hash=digest)]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(following, "named", lambda _kind, _body: ())
            patch.setattr(following, "needed", lambda _kind, _body: ())
            forged(world, endpoint, Chained(world, endpoint, dict(alter)))
        copy = copy_of(backup, endpoint)

        with pytest.raises(UnprovableError, match=f"act {copy.held}: expected one that a zone records"):
            rebuild(copy, backup.settings, Place(tmp_path / "built"), lambda _done, _total: None)


def test_a_long_backlog_ends(guarded: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a backlog of more batches than a page holds acts, what is recorded next is sealed and counted."""
    endpoint = PROTECTED[1]
    with guarded(1) as world:
        monkeypatch.setattr(following, "ACTS_MAX", 4)
        zone, peer = world.zones[endpoint], Endpoint(PROVINCE, Zone.EXCHANGE)
        for _ in range(20):
            world.now += timedelta(seconds=1)
            zone.ledger.record(acts.paused(peer, "a test"), acts.resumed(peer))
        while zone.following.step():
            pass
        assert zone.following.waiting(journal_of(endpoint), zone.index.head(journal_of(endpoint)).seq) is None

        zone.ledger.record(acts.paused(peer, "the last"))
        while zone.following.step():
            pass
        bring(world, endpoint)

        kinds = [entry.kind for entry in copy_of(world.zones[BACKUP], endpoint).entries()]
        assert kinds[-1] == "paused" or "paused" in kinds[-6:]
        exposed = exposure(zone)
        bring(world, endpoint)
        assert exposed is not None
        assert exposure(zone) == replace(exposed, rpo_s=0.0, rows=0, bytes=0)


def test_a_backup_that_lost_its_disk_begins_again(guarded: MakeWorld) -> None:
    """After every zone swept its shelf, a backup with an empty directory gets every act again, and builds from it."""
    with guarded(1) as world:
        act_of_many(world, PROTECTED[0], 2)
        act_of_many(world, PROTECTED[0], 2)
        world.settle()
        world.settle()
        world.now = world.now.replace(year=world.now.year + 50)
        for endpoint in PROTECTED:
            sweep_shelf(world.zones[endpoint])
        world.now = world.now.replace(year=world.now.year - 50)
        before = {cut.stream: cut.lsn for cut in world.zones[BACKUP].cuts.all()}
        home = world.settings[BACKUP.node].directory(Zone.EXCHANGE)
        world.zones[BACKUP].close()
        for path in home.iterdir():
            if path.name != "identity":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        world.open(BACKUP)
        world.settle()

        after = {cut.stream: cut for cut in world.zones[BACKUP].cuts.all()}
        assert not world.zones[BACKUP].index.held()
        assert {stream: cut.lsn >= before[stream] for stream, cut in after.items()} == dict.fromkeys(
            before, True
        )
        assert [cut.missing for cut in after.values()] == [0] * len(PROTECTED)


def test_a_mark_of_another_past_frees_nothing(guarded: MakeWorld) -> None:
    """A backup that reports a mark of an incarnation the zone does not have is one of whom nothing is known."""
    endpoint = PROTECTED[1]
    with guarded(1) as world:
        zone, stream = world.zones[endpoint], journal_of(endpoint)
        real = zone.index.head(stream)
        zone.counter.headers(BACKUP, [real], 10)
        assert zone.counter.journals[stream] == real

        zone.counter.headers(BACKUP, [replace(real, incarnation="e" * 32)], 10)
        assert zone.counter.journals[stream].seq == 0


def test_a_zone_created_anew_is_followed_from_its_first_act(guarded: MakeWorld) -> None:
    """Once an operator re-based its stream, the acts of a zone that lost its store are cut from act 1, alone."""
    endpoint = PROTECTED[1]
    with guarded(1) as world:
        home = world.settings[CITY].directory(Zone.EXCHANGE)
        world.zones[endpoint].close()
        for path in home.iterdir():
            if path.name not in {"identity", "carrier"}:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        world.open(endpoint)
        zone, backup = world.zones[endpoint], world.zones[BACKUP]
        zone.ledger.record(acts.paused(Endpoint(PROVINCE, Zone.EXCHANGE), "a test"))
        zone.following.step()
        bring(world, endpoint)
        assert journal_of(endpoint) in backup.index.held()

        backup.ledger.record(
            acts.rebased(journal_of(endpoint), zone.index.incarnation(), 1, 0, "", "a new disk")
        )
        bring(world, endpoint)

        copied = list(copy_of(backup, endpoint).entries())
        assert copied == entries(world, endpoint)[: len(copied)]
        assert backup.cuts.of(journal_of(endpoint)).lsn == len(copied) >= 2
