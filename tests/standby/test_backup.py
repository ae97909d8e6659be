"""A lone node's backup: consistent while the zone writes, incremental, and built again row by row."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from tests.postgres import fresh_database
from tests.rebuild.busy import live
from tests.rebuild.test_replay import dump
from tests.sim.conftest import MakeWorld
from tests.sim.world import Plan, World, world
from tests.standby.backing import CITY, EXCHANGE, PRODUCTION, Saving, asking, quiet, rows_at
from tests.standby.following import BACKUP, PROTECTED

import jinbao.appliance.backing_up as module
from jinbao.appliance.assembly import utc_now
from jinbao.appliance.backing_up import COPIED, SEAL_BEFORE, SEALED, Made, restore
from jinbao.appliance.housekeeping import sweep_shelf
from jinbao.appliance.questions import Asked, dispatch
from jinbao.appliance.restored import FILE
from jinbao.appliance.restoring import MARK, Place
from jinbao.journal.segments import SegmentShelf
from jinbao.journal.verify import verify_journal
from jinbao.model import failpoint
from jinbao.model.errors import CorruptionError, LocalError, SpaceError, UnprovableError, UsageError
from jinbao.model.zone import Endpoint
from jinbao.standby import repository as repositories
from jinbao.standby.repository import MARKER, Repository
from jinbao.store.engine import Store
from jinbao.store.files import Files


@dataclass(frozen=True)
class Saved:
    """A busy network, and one backup of each zone."""

    world: World
    savings: dict[Endpoint, Saving]
    made: dict[Endpoint, Made]


@pytest.fixture(scope="module")
def saved(guarded_plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    """A busy network; every zone of city and province is backed up to a directory of its node."""
    directory = tmp_path_factory.mktemp("saved")
    with world(guarded_plan, directory / "network", seed=6) as network:
        live(network)
        savings = {e: Saving(network, directory / e.node, e) for e in PROTECTED}
        yield Saved(network, savings, {e: saving.create() for e, saving in savings.items()})


def restored(saving: Saving, place: Place, at: str = "") -> None:
    """Build the newest backup, or another, as the node's settings say."""
    backups = saving.backups
    manifest = backups.choose(at, saving.anchors)
    restore(backups, manifest, saving.world.settings[saving.endpoint.node], place, quiet)


@pytest.mark.database
@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
@pytest.mark.parametrize("endpoint", PROTECTED, ids=lambda e: f"{e.node}-{e.zone}")
def test_every_kind_of_zone_comes_back(
    saved: Saved, tmp_path: Path, endpoint: Endpoint, backend: str
) -> None:
    """A zone's backup, restored into either database, has every row as of its act, and nothing in it is damaged."""
    saving, made = saved.savings[endpoint], saved.made[endpoint]
    place = Place(tmp_path / "zone", "" if backend == "sqlite" else fresh_database())

    restored(saving, place)

    with closing(Store(place.url.render_as_string(hide_password=False), tmp_path / "look")) as store:
        again = dump(store)
        damage = verify_journal(store, SegmentShelf(place.directory / "segments", Files()))
    expected = rows_at(saving.zone, made.acts, tmp_path)
    assert [name for name in expected if again.get(name) != expected[name]] == []
    assert again.keys() == expected.keys()
    assert damage == []
    assert not (place.directory / MARK).exists()
    assert (place.directory / FILE).is_file()  # so that it seals nothing before it is told


def test_a_backup_is_whole_and_says_so(saved: Saved) -> None:
    """Every zone's backup is proved from the roots alone, down to each file, and nothing lies beside it."""
    for saving in saved.savings.values():
        found = saving.inspect()

        assert (found.damage, found.strays, found.backups) == ([], [], 1)
        assert found.segments >= saved.made[saving.endpoint].segments > 0


@pytest.mark.parametrize(("page", "rounds"), [(7, 6), (5000, 1)], ids=["many pages", "the last page"])
def test_a_zone_that_writes_meanwhile_is_consistent(
    guarded: MakeWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: int, rounds: int
) -> None:
    """While pages and files are copied, the zone captures and sweeps its shelf: what comes back is one moment of it."""
    monkeypatch.setattr("jinbao.appliance.questions.backup.ACTS_MAX", page)
    monkeypatch.setattr(
        "jinbao.source.kept.CHANGES_MAX", 1
    )  # each capture replaces what the one before wrote
    with guarded(8) as network:
        for _ in range(2):
            network.business[PRODUCTION].edit()
            network.capture(PRODUCTION)
        network.now += timedelta(days=3000)  # files are old enough to be swept as soon as nothing names them
        saving, busy = Saving(network, tmp_path / "backup"), [rounds]
        swept: list[int] = []

        def meanwhile(question: str) -> None:
            if question == "backup.acts" and busy[0]:
                busy[0] -= 1
                saving.change()
                swept.append(sweep_shelf(saving.zone)[1])

        made = saving.create(meanwhile)
        restored(saving, Place(tmp_path / "zone"))

        assert not busy[0]
        assert any(swept)
        with closing(Store(f"sqlite:///{tmp_path / 'zone' / 'zone.db'}", tmp_path / "look")) as store:
            assert dump(store) == rows_at(saving.zone, made.acts, tmp_path)
        shelf = SegmentShelf(tmp_path / "zone" / "segments", Files())
        tables = saving.zone.state.captured_tables()
        assert all(shelf.has(sha256) for table in tables for sha256 in table.segments)
        assert saving.inspect().damage == []


def test_only_what_is_new_is_written(guarded: MakeWorld, tmp_path: Path) -> None:
    """A second backup leaves every file of the first as it is and writes a fraction of its bytes; a third almost none."""
    with guarded(3) as network:
        saving = Saving(network, tmp_path / "backup")
        first = saving.create()
        before = {p: p.stat().st_mtime_ns for p in saving.directory.rglob("*.parquet")}
        saving.change()
        second, third = saving.create(), saving.create()

        assert all(path.stat().st_mtime_ns == mtime for path, mtime in before.items())
        assert first.new_bytes == first.bytes
        assert second.new_bytes < first.bytes / 3
        assert 0 < third.new_bytes < first.bytes / 20
        assert (third.new_acts, third.new_segments) == (third.acts - second.acts, 2)
        assert saving.backups.names() == [first.name, second.name, third.name]
        assert saving.inspect().damage == []


def test_any_backup_may_be_taken_away(
    guarded: MakeWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where lists are put together and old manifests removed, the newest stands alone; what nothing names is a stray."""
    monkeypatch.setattr(repositories, "LISTINGS_MAX", 2)
    with guarded(3) as network:
        saving = Saving(network, tmp_path / "backup")
        made = []
        for _ in range(5):
            made.append(saving.create())
            saving.change()
        newest = saving.backups.read(made[-1].name, saving.anchors)
        assert len(newest.listings) <= 2
        for older in made[:-1]:
            saving.backups.path(older.name).unlink()

        found = saving.inspect()
        restored(saving, Place(tmp_path / "zone"))

        assert (found.damage, found.backups) == ([], 1)
        assert {one.kind for one in found.strays} == {"stray"}
        with closing(Store(f"sqlite:///{tmp_path / 'zone' / 'zone.db'}", tmp_path / "look")) as store:
            assert dump(store) == rows_at(saving.zone, made[-1].acts, tmp_path)


def test_an_earlier_backup_is_chosen_by_name_or_moment(guarded: MakeWorld, tmp_path: Path) -> None:
    """A name, or a moment between two backups, gives the earlier one; a moment before all, or no word, is refused."""
    with guarded(3) as network:
        saving = Saving(network, tmp_path / "backup")
        first = saving.create()
        network.now += timedelta(hours=1)
        between = network.now.isoformat()
        network.now += timedelta(hours=1)
        saving.change()
        second = saving.create()
        choose = saving.backups.choose

        assert choose("", saving.anchors).name == second.name
        assert choose(first.name, saving.anchors).name == choose(between, saving.anchors).name == first.name
        restored(saving, Place(tmp_path / "zone"), between)
        with closing(Store(f"sqlite:///{tmp_path / 'zone' / 'zone.db'}", tmp_path / "look")) as store:
            assert dump(store) == rows_at(saving.zone, first.acts, tmp_path)
        for word, expected in {"2000-01-01T00:00:00Z": "or before", "yesterday": "a backup's name"}.items():
            with pytest.raises(UsageError, match=expected):
                choose(word, saving.anchors)


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.parametrize(
    ("name", "hits", "there"),
    [
        (COPIED, 1, 0),
        (COPIED, 4, 0),
        ("files.after_sync", 3, 0),
        ("files.after_rename", 6, 0),
        ("files.after_directory_sync", 30, 0),
        (SEAL_BEFORE, 1, 0),
        (SEALED, 1, 1),
    ],
)
def test_a_killed_backup_leaves_none_and_goes_on(
    guarded: MakeWorld, tmp_path: Path, name: str, hits: int, there: int
) -> None:
    """Killed anywhere before its manifest, a backup is not there; the next one takes what was copied, and is whole."""
    with guarded(4) as network:
        saving, left = Saving(network, tmp_path / "backup"), [hits]

        def strike(passed: str) -> None:
            left[0] -= passed == name
            if not left[0]:
                raise Killed

        failpoint.set_hook(strike)
        with pytest.raises(Killed):
            saving.create()
        failpoint.set_hook(network._hook)
        assert len(saving.backups.names()) == there
        files = [p for p in saving.directory.rglob("??/*.parquet") if saving.zone.shelf.has(p.stem)]
        copied = {path: path.stat().st_mtime_ns for path in files}

        made = saving.create()

        assert all(path.stat().st_mtime_ns == mtime for path, mtime in copied.items())
        assert len(saving.backups.names()) == there + 1
        found = saving.inspect()
        assert (found.damage, found.strays, made.passed_over) == ([], [], ())
        assert not [path for path in saving.backups.shelf.incoming.iterdir() if path.suffix == ".tmp"]


def test_a_repository_is_of_one_node_and_one_journal(guarded: MakeWorld, tmp_path: Path) -> None:
    """A directory with something in it, another node's repository, and a zone put back to an older state are refused."""
    with guarded(3) as network:
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "photo").write_text("mine")
        with pytest.raises(LocalError, match="expected an empty one, or a repository of backups, got photo"):
            Saving(network, tmp_path / "full")
        saving = Saving(network, tmp_path / "backup")
        with pytest.raises(LocalError, match="expected backups of node 140000, got those of 140100"):
            Saving(network, tmp_path / "backup", Endpoint("140000", EXCHANGE.zone))
        network.zones[PRODUCTION].close()
        home = network.settings[CITY].directory(PRODUCTION.zone)
        shutil.copytree(home, tmp_path / "older", symlinks=True)
        network.open(PRODUCTION)
        saving.change()
        first = saving.create()
        network.zones[PRODUCTION].close()
        shutil.rmtree(home)
        shutil.copytree(tmp_path / "older", home, symlinks=True)
        network.open(PRODUCTION)

        with pytest.raises(LocalError, match="as it was backed up, got a journal that ends before it"):
            saving.create()
        while saving.zone.index.overview().acts < first.acts:
            dispatch(Asked(saving.zone), "line.pause", {"peer": CITY, "reason": "another past"})
        with pytest.raises(LocalError, match=f"expected act {first.acts} with hash {first.hash[:12]}"):
            saving.create()

        assert saving.backups.names() == [first.name]
        assert [path.name for path in (tmp_path / "full").iterdir()] == ["photo"]


def test_a_zone_that_lacks_what_it_is_built_from_is_not_backed_up(guarded: MakeWorld, tmp_path: Path) -> None:
    """A lost segment that a rebuild opens is named with the next step, and no backup is made; found again, one is."""
    with guarded(3) as network:
        saving = Saving(network, tmp_path / "backup")
        zone = saving.zone
        quarantine = zone.ledger.acts(kind="converted")[0].act.body["findings"]
        path = zone.shelf.path(quarantine)
        whole = path.read_bytes()
        path.unlink()
        with pytest.raises(CorruptionError, match=f"the first {quarantine}; jinbao journal scrub"):
            saving.create()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(CorruptionError, match=quarantine[:12]):
            saving.create()
        assert (saving.backups.names(), [*saving.backups.shelf.root.rglob("draft*")]) == ([], [])

        path.write_bytes(whole)
        saving.create()

        found = saving.inspect()
        assert (found.damage, found.strays) == ([], [])


def test_a_backup_site_is_no_lone_node(saved: Saved, tmp_path: Path) -> None:
    """A zone whose shelf is full of others' copies is refused, and is told how it comes back."""
    saving = Saving(saved.world, tmp_path / "backup", BACKUP)

    with pytest.raises(UsageError, match=r"protects no other.*; after a loss it is created anew"):
        saving.create()

    assert saving.backups.names() == []


def test_two_at_once_are_one(guarded: MakeWorld, tmp_path: Path) -> None:
    """While one backup is made, another of the same zone is refused and changes nothing."""
    with guarded(3) as network:
        saving = Saving(network, tmp_path / "backup")
        refused: list[str] = []

        def again(question: str) -> None:
            if question == "backup.zone" and not refused:
                refused.append("")
                with pytest.raises(LocalError, match="expected nobody else who makes one") as told:
                    saving.create()
                refused[0] = str(told.value)

        saving.create(again)

        assert "try again when it is done" in refused[0]
        assert len(saving.backups.names()) == 1


def test_a_full_disk_is_said_before_it_is_filled(
    saved: Saved, guarded: MakeWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a backup nor a restore begins what has no room; where the disk fills in the middle, no backup is there."""
    saving = saved.savings[EXCHANGE]
    settings = saved.world.settings[CITY]
    limits = settings.limits.model_copy(update={"disk_reserve_bytes": 1 << 60})
    full = settings.model_copy(update={"limits": limits})
    manifest = saving.backups.choose("", saving.anchors)
    with pytest.raises(SpaceError):
        restore(saving.backups, manifest, full, Place(tmp_path / "zone"), quiet)
    assert not (tmp_path / "zone").exists()

    with guarded(3) as network:
        other = Saving(network, tmp_path / "backup")
        monkeypatch.setattr(Files, "free_bytes", lambda _self, _path: 10_000)
        with pytest.raises(SpaceError, match="it goes on"):
            other.create()
        monkeypatch.undo()
        opened = module._blocks

        def filled(path: Path, offset: int) -> Iterator[bytes]:
            yield from opened(path, offset)
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(module, "_blocks", filled)
        with pytest.raises(SpaceError, match="free space there"):
            other.create()
        monkeypatch.undo()
        assert other.backups.names() == []
        other.create()
        assert other.inspect().damage == []


def test_nothing_is_restored_over_anything(saved: Saved, tmp_path: Path) -> None:
    """A directory with a file in it and a database with tables are left as they are."""
    saving = saved.savings[PRODUCTION]
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "photo").write_text("mine")
    with pytest.raises(LocalError, match="expected an empty one"):
        restored(saving, Place(tmp_path / "kept"))
    taken = f"sqlite:///{tmp_path / 'taken.db'}"
    restored(saving, Place(tmp_path / "first", taken))
    with pytest.raises(LocalError, match="expected an empty database"):
        restored(saving, Place(tmp_path / "second", taken))

    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["photo"]


def test_a_killed_restore_goes_on(saved: Saved, tmp_path: Path) -> None:
    """Killed among its segments, a restore made again in the same place comes to the same end."""
    saving, place, left = saved.savings[PRODUCTION], Place(tmp_path / "zone"), [3]

    def strike(passed: str) -> None:
        left[0] -= passed == "rebuild.after_segment"
        if not left[0]:
            raise Killed

    failpoint.set_hook(strike)
    with pytest.raises(Killed):
        restored(saving, place)
    failpoint.set_hook(saved.world._hook)
    assert (place.directory / MARK).exists()

    restored(saving, place)

    with closing(Store(f"sqlite:///{place.directory / 'zone.db'}", tmp_path / "look")) as store:
        assert dump(store) == rows_at(saving.zone, saved.made[PRODUCTION].acts, tmp_path)


def test_a_clock_a_year_off_makes_no_backup(guarded: MakeWorld, tmp_path: Path) -> None:
    """A manifest that its zone's clock dates a year ahead of ours would prove nothing here: it is refused and not kept."""
    with guarded(3) as network:
        saving = Saving(network, tmp_path / "backup")
        network.skew[PRODUCTION] = timedelta(days=365)
        with pytest.raises(UnprovableError, match="clock: backup"):
            saving.create()
        assert saving.backups.names() == []

        network.skew[PRODUCTION] = timedelta()
        saving.create()

        assert saving.inspect().damage == []


def test_a_zone_seals_only_its_own_journal(guarded: MakeWorld, tmp_path: Path) -> None:
    """A manifest for an act the zone never recorded, or for another hash at its place, is not sealed."""
    with guarded(3) as network:
        ask = asking(network.zones[PRODUCTION])
        drafted = {"repository": "r", "captured_at": "", "listings": [], "new_acts": 1, "new_segments": 1}

        for acts, digest in ((10**6, "a" * 64), (1, "a" * 64)):
            with pytest.raises(LocalError, match="as it was backed up"):
                ask("backup.seal", **drafted, new_bytes=1, acts=acts, hash=digest)
            with pytest.raises(LocalError, match="as it was backed up"):
                ask("backup.made", repository="r", name="x", acts=acts, hash=digest)


def test_a_directory_that_is_no_repository_is_said_so(tmp_path: Path) -> None:
    """Nothing, another file, and a later release's format are named instead of read."""
    with pytest.raises(UsageError, match="expected a repository of backups"):
        Repository(tmp_path, Files(), utc_now)
    (tmp_path / MARKER).write_text("{}")
    with pytest.raises(UsageError, match="got another file"):
        Repository(tmp_path, Files(), utc_now)
    (tmp_path / MARKER).write_text('{"node": "140100", "id": "1", "format": 2}')
    with pytest.raises(UsageError, match="expected format 1, got 2"):
        Repository(tmp_path, Files(), utc_now)
