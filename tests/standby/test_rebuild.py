"""A lost zone is built again from what the backup site has, row by row and byte by byte."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.postgres import fresh_database
from tests.rebuild.busy import live
from tests.rebuild.test_replay import Dump, dump
from tests.sim.world import Plan, World, world
from tests.standby.following import BACKUP, PROTECTED, bring, copy_of, journal_of, name_of, objects_of

from jinbao.appliance.restoring import MARK, Place, rebuild
from jinbao.journal.segments import SegmentShelf
from jinbao.journal.tables import ACT
from jinbao.journal.verify import verify_journal
from jinbao.library import merging
from jinbao.model import failpoint
from jinbao.model.errors import CorruptionError, LocalError, SpaceError, UsageError
from jinbao.model.zone import Endpoint
from jinbao.standby.rebuilding import LAID, Copy
from jinbao.store.engine import Store
from jinbao.store.files import Files


def quiet(_done: int, _total: int) -> None:
    """Nobody is told."""


@pytest.fixture(scope="module")
def lost(
    guarded_plan: Plan, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[World, dict[Endpoint, Dump]]]:
    """A busy network with a backup site, and every row of each protected zone as of its newest cut."""
    with world(guarded_plan, tmp_path_factory.mktemp("lost") / "network", seed=5) as made:
        live(made)
        rows: dict[Endpoint, Dump] = {}
        for endpoint in PROTECTED:
            zone = made.zones[endpoint]
            rows[endpoint] = dump(zone.store)
            assert zone.following.step()
            bring(made, endpoint)
        yield made, rows


def built(world: World, copy: Copy, place: Place) -> None:
    """Build a copy as the backup's settings say."""
    rebuild(copy, world.settings[BACKUP.node], place, quiet)


@pytest.mark.database
@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
@pytest.mark.parametrize("endpoint", PROTECTED, ids=lambda endpoint: f"{endpoint.node}-{endpoint.zone}")
def test_every_kind_of_zone_is_built_again(
    lost: tuple[World, dict[Endpoint, Dump]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    endpoint: Endpoint,
    backend: str,
) -> None:
    """A zone's copy, built on either database, gives every row of every table, and nothing in it is damaged."""
    made, rows = lost
    monkeypatch.setattr(merging, "_APART_ROWS", 0)  # tables so small are loaded by one session else
    place = Place(tmp_path / "zone", "" if backend == "sqlite" else fresh_database())

    built(made, copy_of(made.zones[BACKUP], endpoint), place)

    with closing(Store(place.url.render_as_string(hide_password=False), tmp_path / "look")) as store:
        again = dump(store)
        damage = verify_journal(store, SegmentShelf(place.directory / "segments", Files()))
    assert [name for name in rows[endpoint] if again.get(name) != rows[endpoint][name]] == []
    assert again.keys() == rows[endpoint].keys()
    assert damage == []
    assert not (place.directory / MARK).exists()


def test_a_zone_is_built_as_it_was_at_an_act(
    lost: tuple[World, dict[Endpoint, Dump]], tmp_path: Path
) -> None:
    """Asked for an earlier act, a rebuild ends there, with that act's hash."""
    made, _ = lost
    endpoint, place = PROTECTED[1], Place(tmp_path / "zone")
    at = made.zones[BACKUP].cuts.of(journal_of(endpoint)).lsn // 2

    built(made, copy_of(made.zones[BACKUP], endpoint, at), place)

    query = sa.select(ACT.c.lsn, ACT.c.hash).where(ACT.c.lsn >= at).order_by(ACT.c.lsn)
    look = Store(f"sqlite:///{place.directory / 'zone.db'}", tmp_path / "look")
    with closing(look), look.read() as connection:
        last = [tuple(row) for row in connection.execute(query)]
    with made.zones[endpoint].store.read() as connection:
        original = tuple(connection.execute(query.limit(1)).one())
    assert last == [original]


def test_a_killed_rebuild_goes_on(lost: tuple[World, dict[Endpoint, Dump]], tmp_path: Path) -> None:
    """Killed among its segments or its acts, a rebuild made again in the same place comes to the same end."""
    made, rows = lost
    endpoint, place = PROTECTED[0], Place(tmp_path / "zone")
    copy = copy_of(made.zones[BACKUP], endpoint)

    class Killed(BaseException):
        pass

    for name, hits in ((LAID, 3), ("files.after_rename", 5)):
        left = [hits]

        def strike(passed: str, name: str = name, left: list[int] = left) -> None:
            left[0] -= passed == name
            if not left[0]:
                raise Killed

        failpoint.set_hook(strike)
        with pytest.raises(Killed):
            built(made, copy, place)
        assert (place.directory / MARK).exists()
    failpoint.set_hook(made._hook)  # the world's own, for who comes next
    told = [4]

    def stop(done: int, _total: int) -> None:
        told[0] -= done > 2
        if not told[0]:
            raise Killed

    with pytest.raises(Killed):
        rebuild(copy, made.settings[BACKUP.node], place, stop)
    built(made, copy, place)

    with closing(Store(f"sqlite:///{place.directory / 'zone.db'}", tmp_path / "look")) as store:
        assert dump(store) == rows[endpoint]


def test_nothing_is_built_over_anything(lost: tuple[World, dict[Endpoint, Dump]], tmp_path: Path) -> None:
    """A directory with a file in it, another zone's rebuild, and a database with tables are left as they are."""
    made, _ = lost
    copy = copy_of(made.zones[BACKUP], PROTECTED[0])
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "photo").write_text("mine")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / MARK).write_text(f"{journal_of(PROTECTED[1])}\n")

    for name in ("kept", "other"):
        with pytest.raises(LocalError, match="expected an empty one"):
            built(made, copy, Place(tmp_path / name))
    taken = f"sqlite:///{made.directory / 'taken.db'}"
    built(made, copy, Place(tmp_path / "first", taken))
    with pytest.raises(LocalError, match="expected an empty database"):
        built(made, copy, Place(tmp_path / "second", taken))

    assert (tmp_path / "kept" / "photo").read_text() == "mine"


def test_a_copy_is_not_believed(lost: tuple[World, dict[Endpoint, Dump]], tmp_path: Path) -> None:
    """An altered or missing segment of the copy is named, an act nobody has is refused, a full disk before it is filled."""
    made, _ = lost
    endpoint = PROTECTED[0]
    copy = copy_of(made.zones[BACKUP], endpoint)
    victim = max(objects_of(copy).values(), key=lambda ref: ref.bytes)
    path = made.zones[BACKUP].shelf.path(name_of(endpoint, victim.sha256))
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(CorruptionError, match=victim.sha256[:12]):
            built(made, copy, Place(tmp_path / "altered"))
        path.unlink()
        with pytest.raises(CorruptionError, match=victim.sha256[:12]):
            built(made, copy, Place(tmp_path / "missing"))
    finally:
        path.write_bytes(whole)
    with pytest.raises(UsageError, match="expected an act up to"):
        built(made, copy_of(made.zones[BACKUP], endpoint, 10**6), Place(tmp_path / "late"))
    settings = made.settings[BACKUP.node]
    limits = settings.limits.model_copy(update={"disk_reserve_bytes": 1 << 60})
    with pytest.raises(SpaceError):
        rebuild(copy, settings.model_copy(update={"limits": limits}), Place(tmp_path / "full"), quiet)
