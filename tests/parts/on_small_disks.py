"""A province on small file systems of its own, in a mount namespace: where they are full nothing is lost, and it goes on.

`unshare --user --map-root-user --mount python -m tests.parts.on_small_disks PLACE KIND SEED DIRECTORY` prints `whole`
at the end of a scenario, or fails on the way. PLACE is segments, database, stage or log; KIND bytes, inodes or
reserve. Real file systems, a real zone that serves, and a city that it follows over the line.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog
from tests.library.parts import open_library
from tests.link.parts import CITY, MINISTRY, PROVINCE, dialling, listening
from tests.link.zones import TOPICS, Zones, accepted, seal, serving, zones
from tests.servers import await_

from jinbao.appliance.assembly import open_zone
from jinbao.appliance.observers import configure_logging
from jinbao.appliance.questions import Asked, dispatch
from jinbao.appliance.serve import ZoneService
from jinbao.appliance.settings import Settings
from jinbao.journal.verify import verify_journal
from jinbao.model.batch import Kind
from jinbao.model.errors import SpaceError

SIZE = 24 << 20
FILES = 400
ROUND = 6


def mount(directory: Path, kind: str) -> Path:
    """A file system of its own at a directory."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    limit = f"size={SIZE},nr_inodes={FILES if kind == 'inodes' else 100_000}"
    command = ["mount", "-t", "tmpfs", "-o", f"{limit},mode=700", "jinbao", str(directory)]
    subprocess.run(command, check=True)
    return directory


@contextmanager
def filled(directory: Path, kind: str, spare: int) -> Iterator[None]:
    """Nothing more goes into a file system meanwhile, but a few bytes."""
    junk = directory / "junk"
    junk.mkdir()
    if kind == "inodes":
        with suppress(OSError):
            for number in range(FILES * 2):
                (junk / str(number)).touch()
    else:
        with (junk / "0").open("wb", buffering=0) as file:
            with suppress(OSError):
                while file.write(bytes(64 << 10)):
                    pass
            file.truncate(max(0, file.tell() - spare))
    try:
        yield
    finally:
        for path in junk.iterdir():
            path.unlink()
        junk.rmdir()


def placed(settings: Settings, place: str, kind: str, directory: Path) -> tuple[Settings, Path]:
    """The province with a small file system where it keeps segments, its database or stages."""
    home = settings.directory(PROVINCE.zone)
    limits = {"disk_reserve_bytes": 1}
    body = settings.model_dump(exclude_unset=True)
    if place == "database":
        disk = mount(directory / "database", kind)
        found = settings.zones[PROVINCE.zone].model_dump(exclude_unset=True)
        body["zones"] = body["zones"] | {PROVINCE.zone: found | {"database": f"sqlite:///{disk / 'zone.db'}"}}
    else:
        disk = mount(home / place if place != "log" else directory / "log", kind)
    return Settings(**body | {"limits": limits | body.get("limits", {})}), disk


def is_told(service: ZoneService, code: str = "space") -> bool:
    """Whether a worker waits for room, aloud."""
    errors = [worker.last_error for worker in service.workers.values()]
    return any(error is not None and error.code == code for error in errors)


def can_be_asked(opened: Zones, service: ZoneService, has_any: bool = True) -> None:
    """The parent pulls what there is, and a person is answered."""
    address = opened.network.topology.address(PROVINCE)
    with dialling(opened.network, MINISTRY, PROVINCE, address) as client:
        found = client.headers([], 10, 0.0)
        assert found or not has_any
    assert dispatch(Asked(service.zone, service), "report.line", {}).body
    assert b"jinbao_disk_free_bytes" in service.zone.metrics.text()


def has_all(service: ZoneService, count: int) -> Callable[[], bool]:
    """Whether everything the city sealed is accepted, each once and in order."""
    return lambda: accepted(service.zone) == {topic: list(range(1, count + 1)) for topic in TOPICS}


def full(place: str, kind: str, seed: int, directory: Path) -> None:
    """A disk is full for a while, again and again: nothing is taken meanwhile, and all of it afterwards, by itself."""
    rng = random.Random(seed)
    with zones(directory / "network", CITY) as opened:
        settings, disk = placed(opened.settings[PROVINCE.node], place, kind, directory)
        city = opened.network.topology.address(CITY)
        with (
            listening(opened.network, CITY, opened[CITY].counter, address=city),
            serving(open_zone(settings, PROVINCE.zone)) as service,
        ):
            if place == "log":
                _log_to(disk / "log.jsonl")
            told = 0
            for count in (ROUND, 2 * ROUND, 3 * ROUND):
                has_them = has_all(service, count)
                with filled(disk, kind, 0 if place == "log" else rng.randrange(12_288)):
                    seal(opened[CITY], ROUND)
                    await_(lambda: is_told(service) or has_them())  # noqa: B023  # called before the next
                    told += is_told(service)
                    can_be_asked(opened, service, count > ROUND)
                await_(has_them)
            await_(lambda: not is_told(service))
            assert service.failure is None, service.failure
            assert verify_journal(service.zone.store, service.zone.shelf) == []
            assert told == 3 or place == "log" or (place, kind) == ("database", "inodes")
            if place == "log":
                seal(opened[CITY], ROUND)  # with room again, there is something to tell
                await_(has_all(service, 4 * ROUND))
                _lost_lines(service, disk / "log.jsonl")


def _lost_lines(service: ZoneService, path: Path) -> None:
    """Lines were lost, counted, and others came after them."""
    assert service.zone.metrics.registry.get_sample_value("jinbao_log_lines_lost_total")
    await_(lambda: len(path.read_text(encoding="utf-8").splitlines()) > 1)
    *_, before, _cut = path.read_text(encoding="utf-8").splitlines()  # the last one may be half written
    assert json.loads(before)["event"]


def stage(kind: str, directory: Path) -> None:
    """Rows that find no room for their stage are not applied, and are once there is."""
    disk = mount(directory / "stage", kind)
    library = open_library(f"sqlite:///{directory / 'zone.db'}", directory)
    rows = {f"{n:06d}": ("张三", n) for n in range(20_000)}
    with filled(disk, kind, 4096):
        try:
            library.apply("140100", Kind.SNAPSHOT, rows)
        except SpaceError:
            library.seqs.clear()
        else:
            raise AssertionError("expected no room for a stage, got one")
        assert library.library.submissions() == []
    library.apply("140100", Kind.SNAPSHOT, rows)
    assert library.library.origins("pay", "person") == {"140100": len(rows)}
    assert not list(disk.iterdir())
    library.store.close()


def _log_to(path: Path) -> None:
    """What the zone tells goes into a file on the small disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 2)
    structlog.reset_defaults()
    configure_logging()


def reserve(directory: Path) -> None:
    """A disk that is full but for its reserve takes no batch, and lets a person make room by the product's own means."""
    with zones(directory / "network", CITY) as opened:
        settings = opened.settings[PROVINCE.node]
        home, aside = settings.directory(PROVINCE.zone), directory / "aside"
        shutil.copytree(home, aside, symlinks=True)
        disk = mount(home, "bytes")
        shutil.copytree(aside, disk, symlinks=True, dirs_exist_ok=True)
        body = settings.model_dump(exclude_unset=True)
        small = Settings(**body | {"limits": body.get("limits", {}) | {"disk_reserve_bytes": 8 << 20}})
        city = opened.network.topology.address(CITY)
        with (
            listening(opened.network, CITY, opened[CITY].counter, address=city),
            serving(open_zone(small, PROVINCE.zone)) as service,
        ):
            seal(opened[CITY], ROUND)
            await_(has_all(service, ROUND))
            _superseded(service, disk)
            seal(opened[CITY], ROUND)
            await_(lambda: is_told(service))
            assert has_all(service, ROUND)()
            can_be_asked(opened, service)
            sweep = Asked(service.zone, service)
            freed = dispatch(sweep, "journal.retention", {"apply": True}).body["freed_bytes"]
            assert freed > 1 << 20
            await_(has_all(service, 2 * ROUND))
            assert service.failure is None
            assert verify_journal(service.zone.store, service.zone.shelf) == []


def _superseded(service: ZoneService, disk: Path) -> None:
    """Files that nobody needs any more fill the disk down to its reserve."""
    shelf, number = service.zone.shelf, 0
    while service.zone.ports.files.free_bytes(disk) > 8 << 20:
        temporary = shelf.temporary(f"old-{number}")
        temporary.write_bytes(random.Random(number).randbytes(1 << 20))
        sha256, _ = shelf.add(temporary)
        os.utime(shelf.path(sha256), (0, 0))
        number += 1


def main() -> None:
    """Play one scenario."""
    configure_logging()
    place, kind, seed, directory = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
    try:
        if kind == "reserve":
            reserve(directory)
        elif place == "stage":
            stage(kind, directory)
        else:
            full(place, kind, seed, directory)
    except BaseException:
        traceback.print_exc(file=sys.stdout)  # stderr may be on the small disk
        raise
    sys.stdout.write("whole\n")


if __name__ == "__main__":
    main()
