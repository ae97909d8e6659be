"""A disk that fails closes its zone: nothing more is written, the process ends, and the next start looks first."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.link.parts import CITY, PROVINCE, listening
from tests.link.zones import TOPICS, Zones, accepted, seal, serving, zones
from tests.servers import await_

from jinbao.appliance.assembly import OpenZone, Ports, open_zone
from jinbao.appliance.ending import FILE
from jinbao.journal.verify import verify_journal
from jinbao.model import acts
from jinbao.model.errors import CorruptionError, DiskError, LocalError, SpaceError
from jinbao.store.files import Files
from jinbao.store.files import seal as seal_file


class Failing(Files):
    """A disk on which the n-th sync of a file fails, and every one after it seems to succeed."""

    def __init__(self, number: int, at: int = 0) -> None:
        super().__init__()
        self.number, self.at, self.synced = number, at, 0

    def sync(self, path: Path) -> None:
        """Fail once; as the kernel, say of what was lost that it is written the next time."""
        self.synced += 1
        if self.synced == self.at:
            raise OSError(self.number, "as the kernel says it", str(path))
        super().sync(path)


@contextmanager
def a_pair(directory: Path) -> Iterator[Zones]:
    """A city that listens and has sealed some batches."""
    with zones(directory, CITY) as opened:
        seal(opened[CITY], 4)
        address = opened.network.topology.address(CITY)
        with listening(opened.network, CITY, opened[CITY].counter, address=address):
            yield opened


def province(opened: Zones, files: Files) -> OpenZone:
    """The province on a disk."""
    return open_zone(opened.settings[PROVINCE.node], PROVINCE.zone, Ports(files=files))


@pytest.mark.fault_row(11)
@pytest.mark.fault_row(18)
@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS], ids=["failed", "read only"])
def test_a_zone_whose_disk_failed_ends_and_looks_before_it_goes_on(tmp_path: Path, number: int) -> None:
    """After one sync that failed nothing is recorded any more; started again on a whole disk, everything arrives once."""
    with a_pair(tmp_path / "network") as opened:
        files = Failing(number)
        zone = province(opened, files)
        files.at = files.synced + 5
        with serving(zone) as service:
            await_(service.stopped.is_set)
            last = zone.ledger.acts(after=0, limit=10_000)[-1].lsn
            with pytest.raises(DiskError, match="expected a disk that kept all it was told to"):
                zone.ledger.record(acts.paused(CITY, "a test"))
            synced = files.synced
            with pytest.raises(DiskError):
                seal_file(files, tmp_path / "network", tmp_path / "elsewhere")
            assert files.synced == synced
            assert zone.ledger.acts(after=0, limit=10_000)[-1].lsn == last
            assert isinstance(service.failure, DiskError)
            assert any("the zone ends: " in reason for reason in service.readiness())
            assert zone.metrics.registry.get_sample_value("jinbao_disks_failed_total") == 1
        marker = opened.settings[PROVINCE.node].directory(PROVINCE.zone) / FILE
        assert marker.exists()

        again = province(opened, Files())
        assert not again.ending.was_well
        with serving(again):
            await_(lambda: accepted(again) == {topic: [1, 2, 3, 4] for topic in TOPICS})
            assert verify_journal(again.store, again.shelf) == []
        assert not marker.exists()


@pytest.mark.fault_row(10)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT], ids=["no space", "quota"])
def test_a_full_disk_found_at_a_sync_is_no_failed_one(tmp_path: Path, number: int) -> None:
    """What was to be synced is thrown away and brought anew: nobody says twice of lost bytes that they are written."""
    with a_pair(tmp_path / "network") as opened:
        files = Failing(number)
        zone = province(opened, files)
        files.at = files.synced + 5
        with serving(zone) as service:
            await_(lambda: accepted(zone) == {topic: [1, 2, 3, 4] for topic in TOPICS})
            found = [
                zone.metrics.registry.get_sample_value(
                    "jinbao_steps_failed_total", {"worker": worker, "code": "space"}
                )
                for worker in service.workers
            ]
            assert [count for count in found if count] == [1]
            assert service.failure is None
            assert verify_journal(zone.store, zone.shelf) == []
            await_(lambda: not list(zone.shelf.incoming.iterdir()))  # but for what is being written


def test_a_full_disk_leaves_nothing_to_sync_twice(tmp_path: Path) -> None:
    """A file whose sync found no room is gone, and the latch stays open."""
    files = Failing(errno.ENOSPC, 1)
    temporary = tmp_path / "new"
    temporary.write_bytes(b"x")

    with pytest.raises(OSError, match="as the kernel says it"):
        seal_file(files, temporary, tmp_path / "final")

    assert list(tmp_path.iterdir()) == []
    assert files.latch.cause is None


def killed(tmp_path: Path) -> tuple[Zones, Path]:
    """A zone that was open when its process ended, and its database."""
    with zones(tmp_path / "network", CITY) as opened:
        seal(opened[CITY], 4)
    home = opened.settings[CITY.node].directory(CITY.zone)
    (home / FILE).touch()
    return opened, home / "zone.db"


@pytest.mark.fault_row(11)
@pytest.mark.fault_row(13)
def test_a_start_after_no_good_end_finds_an_altered_act(tmp_path: Path) -> None:
    """A zone that did not end well does not start over a journal whose chain is broken, and names the act."""
    opened, database = killed(tmp_path)
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE journal_act SET body = body || ' ' WHERE lsn = 3")
    connection.close()

    with pytest.raises(CorruptionError, match="act 3"):
        open_zone(opened.settings[CITY.node], CITY.zone)


@pytest.mark.fault_row(13)
def test_a_start_after_no_good_end_finds_a_rotten_page(tmp_path: Path) -> None:
    """A page of noise anywhere in the database keeps a zone that did not end well from starting, and the file is named."""
    opened, database = killed(tmp_path)
    whole = database.read_bytes()
    named = []
    for page in range(1, len(whole) // 4096, 7):
        database.write_bytes(whole[: page * 4096] + b"\xff" * 4096 + whole[(page + 1) * 4096 :])
        try:
            open_zone(opened.settings[CITY.node], CITY.zone).close()
        except LocalError as exc:
            named.append("zone.db" in str(exc) or "act " in str(exc))
        else:
            named.append(False)

    assert named
    assert all(named)


def test_a_good_end_is_looked_at_no_more(tmp_path: Path) -> None:
    """A zone that was closed well starts without reading its whole database."""
    with zones(tmp_path / "network", CITY) as opened:
        assert opened[CITY].ending.was_well
    again = open_zone(opened.settings[CITY.node], CITY.zone)
    try:
        assert again.ending.was_well
    finally:
        again.close()


def test_no_room_is_no_failed_disk() -> None:
    """Whoever waits for room is told so by another name than whoever must stop."""
    assert not issubclass(SpaceError, DiskError)
    assert not issubclass(DiskError, SpaceError)
