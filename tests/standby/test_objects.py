"""What the backup site holds is ciphertext: it cannot read it, proves it, and whoever has a key builds from it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.sim.conftest import MakeWorld
from tests.sim.world import Plan, World, world
from tests.standby.following import BACKUP, CITY, PROTECTED, bring, copy_of, journal_of, objects_of
from tests.standby.test_following import act_of_many
from tests.standby.test_scrub import scrub

from jinbao.appliance.guarding import guarded as guarded_cuts
from jinbao.appliance.network import COPY_KEYS
from jinbao.appliance.purging import may_go, purge
from jinbao.appliance.restoring import Place, rebuild
from jinbao.authority.copy_keys import ZoneKeys, create_copy_key, load_copy_key, recipient_of, zone_opens
from jinbao.flow import following
from jinbao.journal.verify import verify_journal
from jinbao.model import acts
from jinbao.model.batch import SegmentRef
from jinbao.model.errors import CorruptionError, LocalError, SpaceError, UsageError
from jinbao.model.stream import DOWNWARD, StreamId
from jinbao.model.zone import Endpoint, Zone
from jinbao.standby.objects import BackupShelf, ObjectGiver, Opener, is_object, read_object, read_ring
from jinbao.store.files import Files
from jinbao.trust.objects import MAGIC, object_size_max

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


def receive(shelf: BackupShelf, ref: SegmentRef, content: bytes) -> None:
    """Bring an object as the line does, in two pieces."""
    half = len(content) // 2
    shelf.receive(ref, lambda offset: iter((content[offset:half], content[max(offset, half) :])))


def test_nothing_in_clear_lies_at_the_backup(settled: World) -> None:
    """Every segment of every copy is ciphertext, but for what comes down the line to everyone, the topology above all."""
    backup = settled.zones[BACKUP]
    public = {
        line["sha256"] for line in backup.index.segments() if StreamId.parse(line["stream"]).topic in DOWNWARD
    }
    names = {ref.sha256 for e in PROTECTED for ref in copy_of(backup, e).objects()}
    assert len(names - public) > len(PROTECTED)

    for sha256 in names - public:
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
    """An honest object lies under the hash of what it holds, is whole, and its zone's keys are kept beside."""
    ref, taken, shelf = given

    receive(shelf, ref, taken.read_bytes())

    assert shelf.is_sealed(ref.sha256)
    assert shelf.examine(ref.sha256, ref.bytes) is None
    [ring] = shelf.rings.iterdir()
    assert read_ring(ring).holder == EXCHANGE
    assert taken.stat().st_size <= object_size_max(ref.bytes)


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
    assert not shelf.has(ref.sha256)
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
        receive(shelf, ref, giver.path(ref.sha256).read_bytes())


def test_two_objects_of_a_shelf_that_change_places_are_named(settled: World, tmp_path: Path) -> None:
    """Valid objects under each other's names are found by what their claims say, and so is one put back in time."""
    shelf = settled.zones[BACKUP].shelf
    first, second = sorted(
        objects_of(copy_of(settled.zones[BACKUP], EXCHANGE)).values(), key=lambda r: r.sha256
    )[:2]
    one, other = shelf.path(first.sha256), shelf.path(second.sha256)
    aside = tmp_path / "aside"
    shutil.copy(one, aside)
    try:
        shutil.copy(other, one)
        found = shelf.examine(first.sha256, first.bytes)
    finally:
        shutil.copy(aside, one)

    assert found is not None
    assert found.kind == "swapped"
    assert shelf.examine(first.sha256, first.bytes) is None


def test_acts_in_clear_are_refused(guarded: MakeWorld) -> None:
    """A zone that gives the backup what anybody could read is held, and no cut says that it is protected so."""
    with guarded(1) as made:
        zone, backup = made.zones[EXCHANGE], made.zones[BACKUP]
        before = backup.cuts.of(journal_of(EXCHANGE))
        zone.counter._sealed = None
        zone.ledger.record(acts.paused(PROVINCE, "a test"))
        zone.following.step()
        bring(made, EXCHANGE)

        assert backup.cuts.of(journal_of(EXCHANGE)) == before
        assert [code for _, code, _ in backup.index.held().values()] == ["unacceptable"]


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
            read_object(backup.shelf.path(ref.sha256)).claim.key
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
    guarded: MakeWorld, tmp_path: Path
) -> None:
    """Captures that later ones replaced are purged once they are old; the newest two, and all else, stay."""
    endpoint = PROTECTED[0]
    with guarded(1) as made:
        captures = captured_again(made, endpoint, 4)
        backup = made.zones[BACKUP]
        assert may_go(backup, 30) == []
        made.now += timedelta(days=31)

        spares = may_go(backup, 30)
        gone = {spare.sha256 for spare in spares}
        purge(backup, spares)

        assert {*captures[0], *captures[1]} <= gone
        assert not gone & {*captures[2], *captures[3]}
        assert verify_journal(backup.store, backup.shelf) == []
        rebuild(copy_of(backup, endpoint), backup.settings, Place(tmp_path / "built"), lambda *_: None)


def test_a_hold_and_the_settings_time_keep_everything(guarded: MakeWorld) -> None:
    """Of a node under legal hold nothing may go, and nobody may ask for less time than the settings keep."""
    endpoint = PROTECTED[0]
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
