"""Every file of a zone's directory rots in every way: it is named, or made again, and nothing else is lost by it."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.sim.conftest import MakeWorld, plans, quiet, settled_plan, silence  # noqa: F401  # fixtures of the simulator
from tests.sim.invariants import BrokenError, check_zone
from tests.sim.world import World

from jinbao.appliance.assembly import OpenZone
from jinbao.appliance.auditing import keep_trail
from jinbao.appliance.ending import FILE
from jinbao.journal.verify import verify_journal
from jinbao.model.errors import JinbaoError, LocalError
from jinbao.model.zone import Endpoint, Zone

PROVINCE = Endpoint("140000", Zone.EXCHANGE)


def flipped(content: bytes, rng: random.Random) -> bytes:
    """One bit somewhere is another."""
    at = rng.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]


def cut(content: bytes, rng: random.Random) -> bytes:
    """The end is missing."""
    return content[: rng.randrange(len(content))]


WAYS: dict[str, Callable[[bytes, random.Random], bytes | None]] = {
    "flipped": flipped,
    "cut": cut,
    "empty": lambda _content, _rng: b"",
    "missing": lambda _content, _rng: None,
}


LOST = {"trust.pem": "revocation list"}
"""What is named instead of a file whose content it is, and can be had without the file."""


@pytest.fixture
def world(quiet: MakeWorld) -> Iterator[World]:  # noqa: F811  # the fixture
    """A settled network whose province has scrubbed, attested and kept its trail."""
    with quiet(14) as made:
        zone = made.zones[PROVINCE]
        for _ in range(3):
            zone.scrub.step(lambda *_: False)
        keep_trail(zone, seal=True)
        made.settle()
        yield made


def home_of(world: World) -> Path:
    """The province's directory."""
    return world.settings[PROVINCE.node].directory(PROVINCE.zone)


def kinds(home: Path) -> dict[str, Path]:
    """One file of each kind in a zone's directory that is read when it starts, by what it is."""
    found: dict[str, Path] = {}
    for path in sorted(home.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.name != "lock":
            inside = path.relative_to(home)
            name = "segment" if path.suffix == ".parquet" else str(inside)
            found.setdefault(name, path)
    return found


def opens(world: World) -> str:
    """What keeps the province from opening; empty when it opens, whole but for what `verify` names."""
    try:
        world.open(PROVINCE)
    except JinbaoError as exc:
        return str(exc)
    return ""


@pytest.mark.fault_row(13)
@pytest.mark.fault_row(14)
@pytest.mark.parametrize("way", WAYS)
def test_a_rotten_file_is_named_or_made_again(world: World, way: str, tmp_path: Path) -> None:
    """Whatever file of a zone rots, it starts and names what is lost, or does not start and names the file."""
    home, rng = home_of(world), random.Random(way)
    world.zones[PROVINCE].close()
    shutil.copytree(home, tmp_path / "whole", symlinks=True)
    unnamed = {}
    for name, path in kinds(home).items():
        if name.startswith("zone.db"):
            continue  # of pages and of the log: below
        content = WAYS[way](path.read_bytes() or b"x", rng)
        path.unlink() if content is None else path.write_bytes(content)

        said = opens(world)

        if said:
            if not any(
                word in said for word in (path.name, path.parent.name, LOST.get(path.name, path.name))
            ):
                unnamed[name] = said
        else:
            zone = world.zones[PROVINCE]
            damaged = [d.thing for d in verify_journal(zone.store, zone.shelf)]
            if damaged != ([f"segment {path.stem}"] if name == "segment" else []):
                unnamed[name] = f"named {damaged}"
            if name != "segment":
                check_zone(world, zone)
            zone.close()
        shutil.rmtree(home)
        shutil.copytree(tmp_path / "whole", home, symlinks=True)
    world.open(PROVINCE)
    assert unnamed == {}


WEIGHTY = ("journal_act", "journal_header", "journal_mark", "journal_stream", "pension_macro__")
"""Tables that decide what is believed: all others are made of them, and compared with them by a drill."""


def rows_of(zone: OpenZone) -> dict[str, list[tuple[object, ...]]]:
    """Every row of the tables that decide, as it is read: SQLite's mark for bytes makes no other text of a text."""
    with zone.store.read() as connection:
        names = [n for n in sa.inspect(connection).get_table_names() if n.startswith(WEIGHTY)]
        found = {n: connection.execute(sa.text(f'SELECT * FROM "{n}"')).all() for n in names}
    return {n: [tuple(map(_as_read, row)) for row in rows] for n, rows in found.items()}


def _as_read(value: object) -> object:
    """Text for bytes that are one, as every reader of a column of texts has it."""
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value


def is_found(world: World, before: dict[str, list[tuple[object, ...]]]) -> bool:
    """Whether a start or a verification names what is wrong, where anything is."""
    if opens(world):
        return True
    zone = world.zones[PROVINCE]
    try:
        return (
            bool(verify_journal(zone.store, zone.shelf, indexes=True))
            or rows_of(zone) == before
            or not _is_attested(world)
        )
    except LocalError:  # SQLite itself found it, as late as it was read
        return True
    finally:
        zone.close()


def _is_attested(world: World) -> bool:
    """Whether the rows of every library are those their origin sealed."""
    try:
        check_zone(world, world.zones[PROVINCE])
    except BrokenError:
        return False
    return True


@pytest.mark.fault_row(13)
def test_a_rotten_page_of_the_database_is_never_believed(world: World) -> None:
    """Of forty flipped bits in the database each is in nobody's way, or found when the zone starts or is verified."""
    home, rng = home_of(world), random.Random(13)
    before = rows_of(world.zones[PROVINCE])
    world.zones[PROVINCE].close()
    whole = (home / "zone.db").read_bytes()
    found = []
    for _ in range(40):
        (home / "zone.db").write_bytes(flipped(whole, rng))
        (home / FILE).touch()  # as after a power loss
        found.append(is_found(world, before))
    (home / "zone.db").write_bytes(whole)
    world.open(PROVINCE)

    assert found == [True] * 40
