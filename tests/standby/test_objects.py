"""What the backup site holds is ciphertext: it cannot read it, proves it, and whoever has a key builds from it."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from tests.cli.conftest import Say
from tests.conftest import Shaped
from tests.sim.conftest import MakeWorld
from tests.sim.world import Plan, World, world
from tests.standby.following import BACKUP, CITY, PROTECTED, bring, copy_of, journal_of, name_of, objects_of
from tests.standby.network import standby_net
from tests.standby.test_following import act_of_many
from tests.standby.test_scrub import scrub

from jinbao.appliance import purging
from jinbao.appliance.guarding import guarded as guarded_cuts
from jinbao.appliance.network import COPY_KEYS, write_settings
from jinbao.appliance.purging import may_go, purge
from jinbao.appliance.restoring import Place, rebuild
from jinbao.appliance.settings import Settings, load
from jinbao.authority.copy_keys import ZoneKeys, create_copy_key, load_copy_key, recipient_of, zone_opens
from jinbao.flow import following
from jinbao.journal.verify import verify_journal
from jinbao.model import acts
from jinbao.model.batch import SealedBatch, SegmentRef
from jinbao.model.errors import (
    CorruptionError,
    IdentityError,
    LocalError,
    SettingsError,
    SpaceError,
    UnprovableError,
    UsageError,
)
from jinbao.model.zone import Endpoint, Zone
from jinbao.standby import objects
from jinbao.standby.objects import (
    BackupShelf,
    ObjectGiver,
    Opener,
    is_object,
    read_object,
    read_ring,
    ring_path,
)
from jinbao.store.files import Files
from jinbao.trust.objects import MAGIC, Claim, object_name, object_size_max, seal_claim

EXCHANGE = Endpoint(CITY, Zone.EXCHANGE)
PROVINCE = Endpoint("140000", Zone.EXCHANGE)


@pytest.fixture(scope="module")
def settled(guarded_plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A network with a backup site at rest; every test leaves it as it was."""
    with world(guarded_plan, tmp_path_factory.mktemp("objects") / "network", seed=7) as made:
        yield made


@pytest.fixture
def given(settled: World, tmp_path: Path) -> tuple[SegmentRef, Path, BackupShelf]:
    """A segment of the city's, its object as the city gives it, and an empty shelf of the backup's kind."""
    zone, backup = settled.zones[EXCHANGE], settled.zones[BACKUP]
    ref = next(ref for ref in objects_of(copy_of(backup, EXCHANGE)).values() if ref.table == "acts")
    taken = tmp_path / "object"
    shutil.copy(zone.giver.path(ref.sha256), taken)
    shelf = BackupShelf(tmp_path / "shelf", Files(), backup.shelf._verify, tmp_path / "rings")
    return ref, taken, shelf


def receive(shelf: BackupShelf, ref: SegmentRef, content: bytes, node: str = CITY) -> str:
    """Bring an object as the line does, in two pieces; the name it lies under."""
    half, kept = len(content) // 2, replace(ref, sha256=object_name(node, ref.sha256))
    shelf.receive(kept, lambda offset: iter((content[offset:half], content[max(offset, half) :])))
    return kept.sha256


def test_nothing_in_clear_lies_at_the_backup(settled: World) -> None:
    """Every segment of every copy is ciphertext, also where the backup has it in clear, as the topology, for itself."""
    backup = settled.zones[BACKUP]
    names = {name_of(e, ref.sha256) for e in PROTECTED for ref in copy_of(backup, e).objects()}
    assert len(names) > len(PROTECTED)

    for sha256 in names:
        content = backup.shelf.path(sha256).read_bytes()
        assert content.startswith(MAGIC)
        assert b"PAR1" not in content
        assert b"AAC001" not in content


def test_an_object_is_opened_by_escrow_by_drill_and_by_its_zone(settled: World) -> None:
    """Each of the three keys reads the same acts; without one nothing is read, and it is said which to name."""
    backup, home = settled.zones[BACKUP], settled.plan.directory
    keys = settled.settings[BACKUP.node].topology_file.parent / COPY_KEYS
    copy = copy_of(backup, EXCHANGE)
    own = settled.settings[CITY].directory(Zone.EXCHANGE) / "copy-keys"
    assert home

    found = [
        list(replace(copy, opener=Opener(opens, backup.shelf.rings)).entries())
        for opens in (
            load_copy_key(keys / "escrow.pem", (), ("escrow",)).key,
            load_copy_key(keys / "drill.pem", (), ("drill",)).key,
            zone_opens(own),
        )
    ]

    assert found[0] == found[1] == found[2] != []
    with pytest.raises(LocalError, match="--key"):
        list(replace(copy, opener=Opener()).entries())


@pytest.mark.fault_row(56)
def test_a_wrong_key_is_refused_by_name(settled: World, tmp_path: Path) -> None:
    """Another's private key, the drill key outside a drill, and another zone's own keys open nothing."""
    backup = settled.zones[BACKUP]
    keys = settled.settings[BACKUP.node].topology_file.parent / COPY_KEYS
    copy = copy_of(backup, EXCHANGE)
    stranger = create_copy_key(tmp_path / "stranger.pem", (), "escrow")

    for opens in (
        stranger.key,
        load_copy_key(keys / "drill.pem", (), ("escrow",)).key,
        zone_opens(settled.settings[CITY].directory(Zone.PRODUCTION) / "copy-keys"),
    ):
        with pytest.raises(UsageError, match="140100/exchange#1"):
            list(replace(copy, opener=Opener(opens, backup.shelf.rings)).entries())


def test_an_object_is_taken_as_it_was_given(given: tuple[SegmentRef, Path, BackupShelf]) -> None:
    """An honest object lies under a name of its own, is whole, and its zone's keys are kept beside."""
    ref, taken, shelf = given

    name = receive(shelf, ref, taken.read_bytes())

    assert name != ref.sha256
    assert not shelf.has(ref.sha256)
    assert shelf.examine(name, ref.bytes) is None
    claim = read_object(shelf.path(name)).claim
    assert set(read_ring(ring_path(shelf.rings, EXCHANGE)).values()) == set(claim.keys)
    assert taken.stat().st_size <= object_size_max(ref.bytes)


@pytest.mark.fault_row(56)
@pytest.mark.parametrize("harm", ["bit", "claim", "cut", "more", "another", "empty", "magic"])
def test_an_object_that_is_not_what_its_zone_sealed_is_not_taken(
    given: tuple[SegmentRef, Path, BackupShelf], settled: World, harm: str
) -> None:
    """Changed anywhere, cut, longer, of another segment or empty: refused, and nothing of it stays."""
    ref, taken, shelf = given
    whole = taken.read_bytes()
    end = read_object(taken).end
    other = next(
        r for r in objects_of(copy_of(settled.zones[BACKUP], EXCHANGE)).values() if r.sha256 != ref.sha256
    )
    content = {
        "bit": whole[:20] + bytes([whole[20] ^ 1]) + whole[21:],
        "claim": whole[: end + 30] + bytes([whole[end + 30] ^ 1]) + whole[end + 31 :],
        "cut": whole[:-40],
        "more": whole + bytes(1 << 17),
        "another": settled.zones[EXCHANGE].giver.path(other.sha256).read_bytes(),
        "empty": b"",
        "magic": b"X" + whole[1:],
    }[harm]

    with pytest.raises(CorruptionError):
        receive(shelf, ref, content)
    assert not shelf.has(object_name(CITY, ref.sha256))
    assert not list(shelf.incoming.iterdir())


def test_a_claim_of_a_zone_nobody_protects_here_is_refused(settled: World, tmp_path: Path) -> None:
    """The ministry, which this backup does not protect, cannot put an object onto its shelf, though its seal is proved."""
    ministry, backup = settled.zones[Endpoint("100000", Zone.EXCHANGE)], settled.zones[BACKUP]
    city = settled.zones[EXCHANGE]
    ref = next(iter(objects_of(copy_of(backup, EXCHANGE)).values()))
    key = create_copy_key(tmp_path / "k.pem", (), "escrow")
    giver = ObjectGiver(
        ministry.me,
        city.shelf,
        tmp_path / "objects",
        keys=ZoneKeys(ministry.me, tmp_path / "keys"),
        recipients=[recipient_of("escrow", key.public_text)],
        signer=lambda: ministry.identity,
        files=Files(),
        now=ministry.ports.now_text,
        reserve_bytes=0,
    )
    shelf = BackupShelf(tmp_path / "shelf", Files(), backup.shelf._verify, tmp_path / "rings")

    with pytest.raises(CorruptionError, match="a zone of 140000, 140100"):
        receive(shelf, ref, giver.path(ref.sha256).read_bytes(), ministry.me.node)


@pytest.mark.fault_row(56)
def test_two_objects_of_a_shelf_that_change_places_are_named(settled: World, tmp_path: Path) -> None:
    """Valid objects under each other's names are found by what their claims say, and so is one put back in time."""
    shelf = settled.zones[BACKUP].shelf
    first, second = sorted(
        objects_of(copy_of(settled.zones[BACKUP], EXCHANGE)).values(), key=lambda r: r.sha256
    )[:2]
    name = name_of(EXCHANGE, first.sha256)
    one, other = shelf.path(name), shelf.path(name_of(EXCHANGE, second.sha256))
    aside = tmp_path / "aside"
    shutil.copy(one, aside)
    try:
        shutil.copy(other, one)
        found = shelf.examine(name, first.bytes)
    finally:
        shutil.copy(aside, one)

    assert found is not None
    assert found.kind == "swapped"
    assert shelf.examine(name, first.bytes) is None


def test_what_is_given_in_clear_is_not_taken(guarded: MakeWorld) -> None:
    """A zone that gives the backup what anybody could read is held and nothing of it stays; mended, it is followed on."""
    with guarded(1) as made:
        zone, backup = made.zones[EXCHANGE], made.zones[BACKUP]
        before, stored = backup.cuts.of(journal_of(EXCHANGE)), set(backup.shelf.stored())
        honest, zone.counter._sealed = zone.counter._sealed, None
        zone.ledger.record(acts.paused(PROVINCE, "a test"))
        zone.following.step()
        bring(made, EXCHANGE)

        assert backup.cuts.of(journal_of(EXCHANGE)) == before
        assert journal_of(EXCHANGE) in backup.index.held()
        assert set(backup.shelf.stored()) == stored
        zone.counter._sealed = honest
        bring(made, EXCHANGE)
        assert backup.cuts.of(journal_of(EXCHANGE)).lsn > before.lsn


def test_what_the_backup_reads_itself_comes_in_clear_whoever_is_asked_first(guarded: MakeWorld) -> None:
    """A topology that a city had first, and gave as ciphertext, is still taken in from the parent, in clear."""
    with guarded(1) as made:
        made.announce()
        made.now += timedelta(seconds=10)
        others = [endpoint for endpoint in made.zones if endpoint != BACKUP]
        for _ in range(6):
            for me, peer in made.edges():
                if me != BACKUP:
                    made.follow(me, peer)
            for endpoint in others:
                made.apply(endpoint)
                made.step("standby", endpoint, lambda zone: zone.following.step())
        backup = made.zones[BACKUP]
        for endpoint in made.plan.topology.protected(BACKUP):
            made.follow(BACKUP, endpoint)
        for me, peer in made.edges():
            if me == BACKUP:
                made.follow(me, peer)
        made.apply(BACKUP)

        assert backup.topology.version == made.topology.version > made.plan.topology.version
        assert not backup.index.held()


def test_neither_time_nor_trust_takes_a_copy_away(guarded: MakeWorld) -> None:
    """A clock a year off, a node protected no longer, a certificate that ended: what came once is whole as it was."""
    with guarded(1) as made:
        backup = made.zones[BACKUP]
        names = {name_of(e, ref.sha256): ref.bytes for e in PROTECTED for ref in copy_of(backup, e).objects()}

        def refused(_sealed: SealedBatch) -> Claim:
            raise IdentityError("claim", expected="somebody else", got="nobody")

        backup.shelf._verify = refused
        made.now -= timedelta(days=400)

        assert {backup.shelf.examine(name, size) for name, size in names.items()} == {None}


def test_a_zone_taken_over_cannot_spoil_what_it_gave_before(settled: World, tmp_path: Path) -> None:
    """Bad wraps under the names of older keys change nothing: what is known of a key stays, and is tried by its print."""
    city, backup = settled.zones[EXCHANGE], settled.zones[BACKUP]
    ref = next(iter(objects_of(copy_of(backup, EXCHANGE)).values()))
    honest = read_object(city.giver.path(ref.sha256))
    bad = [replace(k, wrapped=bytes(80)) for k in honest.claim.keys]
    shelf = BackupShelf(tmp_path / "shelf", Files(), lambda _sealed: honest.claim, tmp_path / "rings")
    receive(shelf, ref, honest.path.read_bytes())
    shelf._keep_ring(replace(honest.claim, keys=tuple(bad)))

    keys = settled.settings[BACKUP.node].topology_file.parent / COPY_KEYS
    key = load_copy_key(keys / "escrow.pem", (), ("escrow",))
    kept = tuple(read_ring(ring_path(shelf.rings, EXCHANGE)).values())
    assert key.key(honest.claim.key, (*bad, *kept))
    assert kept == honest.claim.keys


def test_an_escrow_of_before_a_lost_disk_stays(settled: World, tmp_path: Path) -> None:
    """A zone that begins again with new keys takes nothing away from the ring: old objects open by the newest escrow."""
    city = settled.zones[EXCHANGE]
    claim = read_object(
        city.giver.path(next(iter(objects_of(copy_of(settled.zones[BACKUP], EXCHANGE)))))
    ).claim
    shelf = BackupShelf(tmp_path / "shelf", Files(), lambda _sealed: claim, tmp_path / "rings")
    shelf._keep_ring(claim)
    again = ZoneKeys(EXCHANGE, tmp_path / "again")
    again.newest()
    key = recipient_of("escrow", create_copy_key(tmp_path / "k.pem", (), "escrow").public_text)
    shelf._keep_ring(replace(claim, keys=again.wrapped([key])))

    found = read_ring(ring_path(shelf.rings, EXCHANGE))

    assert set(claim.keys) < set(found.values())
    assert len(found) == len(claim.keys) + 1


@pytest.mark.parametrize(
    "alter",
    [
        {"key": "140000/exchange#1-" + "0" * 32},
        {"keys": ()},
        {"key": "140100/exchange#9-" + "0" * 32},
    ],
    ids=["another's key", "no key", "a key that is not wrapped"],
)
def test_a_claim_whose_key_nobody_could_open_is_refused(settled: World, alter: dict[str, object]) -> None:
    """A claim must name a key of its own holder and have it wrapped for an escrow, or its object is not taken."""
    city, backup = settled.zones[EXCHANGE], settled.zones[BACKUP]
    ref = next(iter(objects_of(copy_of(backup, EXCHANGE)).values()))
    claim = replace(read_object(city.giver.path(ref.sha256)).claim, **alter)  # type: ignore[arg-type]  # by name

    with pytest.raises(UnprovableError, match="a key of its holder"):
        backup.shelf._verify(seal_claim(claim, city.identity))


def test_a_bomb_among_acts_is_not_unpacked(guarded: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment of acts with more rows than its header says is refused by its footer, before it is decoded."""
    with guarded(1) as made:
        zone, backup = made.zones[EXCHANGE], made.zones[BACKUP]
        zone.ledger.record(acts.paused(PROVINCE, "a test"))
        honest = following.to_frame
        monkeypatch.setattr(following, "to_frame", lambda chosen: pl.concat([honest(chosen)] * 50))
        real = SegmentRef

        def lying(table: str, sha256: str, size: int, rows: int) -> SegmentRef:
            return real(table, sha256, size, 1 if table == "acts" else rows)

        monkeypatch.setattr(following, "SegmentRef", lying)
        zone.following.step()
        bring(made, EXCHANGE)

        with pytest.raises(UnprovableError, match="acts"):
            list(copy_of(backup, EXCHANGE).entries())


def test_a_zone_gives_no_more_than_a_bound_at_once(settled: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the backup asks for, the oldest ciphertexts make room for the newest."""
    giver = settled.zones[EXCHANGE].giver
    refs = list(objects_of(copy_of(settled.zones[BACKUP], EXCHANGE)).values())[:5]
    monkeypatch.setattr(objects, "GIVEN_BYTES_MAX", 1)
    giver.sweep(math.inf)

    for ref in refs:
        path = giver.path(ref.sha256)
        assert [p for p in path.parent.iterdir() if p.suffix == ".object"] == [path]


def test_a_rotated_key_encrypts_and_older_copies_stay_readable(guarded: MakeWorld, tmp_path: Path) -> None:
    """After a new zone key and a new escrow, that escrow reads all of the copy, what older keys encrypted included."""
    with guarded(1) as made:
        zone, backup = made.zones[EXCHANGE], made.zones[BACKUP]
        made.now += timedelta(days=1)
        renewed = create_copy_key(tmp_path / "new.pem", (), "escrow")
        zone.giver._recipients = (recipient_of("escrow", renewed.public_text),)
        name = zone.giver.rotate()
        zone.ledger.record(acts.paused(PROVINCE, "a test"))
        zone.following.step()
        bring(made, EXCHANGE)

        copy = replace(copy_of(backup, EXCHANGE), opener=Opener(renewed.key, backup.shelf.rings))
        found = list(copy.entries())
        used = {
            read_object(backup.shelf.path(name_of(EXCHANGE, ref.sha256))).claim.key
            for ref in copy.objects()
            if ref.table == "acts"
        }

        assert found[-1].kind == "paused" or "paused" in [entry.kind for entry in found[-4:]]
        assert name in used
        assert len(used) == 2


def test_a_giver_without_recipients_or_room_gives_nothing(settled: World, tmp_path: Path) -> None:
    """Where nobody could open it, or the disk has no room, no object is made and the reason says what to do."""
    city = settled.zones[EXCHANGE]
    ref = next(iter(objects_of(copy_of(settled.zones[BACKUP], EXCHANGE)).values()))
    key = recipient_of("escrow", create_copy_key(tmp_path / "k.pem", (), "escrow").public_text)
    for recipients, reserve, error in (((), 0, LocalError), ((key,), 1 << 60, SpaceError)):
        giver = ObjectGiver(
            city.me,
            city.shelf,
            tmp_path / "objects",
            keys=ZoneKeys(city.me, tmp_path / "keys"),
            recipients=recipients,
            signer=lambda: city.identity,
            files=Files(),
            now=city.ports.now_text,
            reserve_bytes=reserve,
        )
        with pytest.raises(error):
            giver.path(ref.sha256)
        assert not list((tmp_path / "objects").iterdir())


def test_what_was_given_is_kept_while_it_is_fetched(settled: World) -> None:
    """One object is made once, given again as it was, and gone once nobody asked for it for long."""
    giver = settled.zones[EXCHANGE].giver
    ref = next(iter(objects_of(copy_of(settled.zones[BACKUP], EXCHANGE)).values()))
    path = giver.path(ref.sha256)
    content = path.read_bytes()

    assert giver.path(ref.sha256).read_bytes() == content
    assert is_object(path)
    assert giver.sweep(path.stat().st_mtime - 10) == 0
    assert giver.sweep(path.stat().st_mtime + 10) >= 1
    assert not path.exists()


def captured_again(made: World, endpoint: Endpoint, count: int) -> list[list[str]]:
    """So many captures of a table that each replace the one before, all at the backup; their segments."""
    found = []
    for _ in range(count):
        found.append(act_of_many(made, endpoint, 2))
        made.step("standby", endpoint, lambda zone: zone.following.step())
        bring(made, endpoint)
    return found


def test_spares_go_after_their_time_and_a_zone_is_built_all_the_same(
    guarded: MakeWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Captures that later ones replaced are purged once they are old; the newest, what just came, and all else stay."""
    endpoint = PROTECTED[0]
    monkeypatch.setattr(purging, "KEPT_BATCHES", 2)
    with guarded(1) as made:
        captures = captured_again(made, endpoint, 4)
        backup = made.zones[BACKUP]
        assert may_go(backup, 30) == []
        made.now += timedelta(days=31)

        spares = may_go(backup, 30)
        gone = {spare.sha256 for spare in spares}
        assert purge(backup, spares) == 0
        for spare in spares:
            os.utime(backup.shelf.path(spare.sha256), (0, 0))
        assert purge(backup, spares) == sum(spare.bytes for spare in spares)

        names = [{name_of(endpoint, sha256) for sha256 in capture} for capture in captures]
        assert names[0] | names[1] <= gone
        assert not gone & (names[2] | names[3])
        assert verify_journal(backup.store, backup.shelf) == []
        rebuild(copy_of(backup, endpoint), backup.settings, Place(tmp_path / "built"), lambda *_: None)


def test_what_may_go_keeps_its_shape(
    guarded_plan: Plan, say: Say, shaped: Shaped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `standby purge` tells programs is as it was: what may go, what is under hold, what came free."""
    monkeypatch.setattr(purging, "KEPT_BATCHES", 2)
    with closing(World(guarded_plan, tmp_path / "world", seed=1)) as made:
        captured_again(made, PROTECTED[0], 4)
    net = standby_net(replace(guarded_plan, directory=tmp_path / "world"), tmp_path / "net")
    config = Path(net.config(BACKUP.node))
    body = load(config).model_dump(exclude_unset=True)
    body["copies"] = body.get("copies", {}) | {"hold": (PROTECTED[-1].node,)}
    write_settings(config.parent, Settings(**body))

    asked = (
        "standby",
        "purge",
        "--older-than",
        "30",
        "--reason",
        "a test",
        "--json",
        "--config",
        str(config),
    )
    shown, gone = say(*asked), say(*asked, "--apply")

    assert gone.code == 0, gone.err
    assert json.loads(gone.out)["may_go"] == json.loads(shown.out)["may_go"] != []
    shaped("standby purge", shown, gone)


def test_a_hold_and_the_settings_time_keep_everything(
    guarded: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a node under legal hold nothing may go, nobody may ask for less time than the settings keep, or hold nobody."""
    endpoint = PROTECTED[0]
    monkeypatch.setattr(purging, "KEPT_BATCHES", 2)
    with guarded(1) as made:
        captured_again(made, endpoint, 4)
        backup = made.zones[BACKUP]
        made.now += timedelta(days=100)
        assert may_go(backup, 90)

        held = backup.settings.copies.model_copy(update={"hold": (CITY,)})
        backup.settings = backup.settings.model_copy(update={"copies": held})

        assert may_go(backup, 90) == []
        with pytest.raises(UsageError, match="keep_days"):
            may_go(backup, 29)
        typo = backup.settings.copies.model_copy(update={"hold": ("140199",)})
        backup.settings = backup.settings.model_copy(update={"copies": typo})
        with pytest.raises(SettingsError, match="140199"):
            may_go(backup, 90)


def test_a_segment_that_did_not_come_is_missing_until_it_is_brought(
    guarded: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a zone is built from and could not be fetched leaves no moment to build at, and one again once it came."""
    endpoint = PROTECTED[1]
    with guarded(1) as made:
        zone, backup = made.zones[endpoint], made.zones[BACKUP]
        stream = journal_of(endpoint)
        monkeypatch.setattr(following, "CONTINUES", frozenset())
        path = zone.shelf.path(act_of_many(made, endpoint, 3)[1])
        zone.following.step()
        whole = path.read_bytes()
        path.unlink()
        bring(made, endpoint)

        missing = next(cut.missing for cut in guarded_cuts(backup) if cut.stream == stream)
        path.write_bytes(whole)
        scrub(made, BACKUP)

        assert missing == 1
        assert next(cut.missing for cut in guarded_cuts(backup) if cut.stream == stream) == 0
