"""`jinbao standby diverged`, `review`, `rejoin`: an old node gives up its place, and a person sees what only it had."""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.cli.conftest import Say
from tests.cli.harness import Net, Said, spawn
from tests.conftest import Golden, Shaped
from tests.postgres import fresh_database
from tests.sim.business import Business
from tests.sim.world import PERIOD, Plan
from tests.standby.leaving import CITY, PARENT, envelope, granted_away, place_of, tell
from tests.standby.network import standby_net

from jinbao.appliance.admin_server import AdminServer
from jinbao.appliance.assembly import open_zone
from jinbao.appliance.questions import Asked, dispatch
from jinbao.appliance.set_aside import NOTE
from jinbao.appliance.settings import load
from jinbao.appliance.zone_lock import Purpose
from jinbao.model import acts
from jinbao.model.batch import SealedBatch
from jinbao.model.errors import LocalError
from jinbao.model.failpoint import ENVIRONMENT
from jinbao.model.zone import Zone
from jinbao.standby.divergence import Place
from jinbao.store.engine import Store

ZONES = [Zone.DECISION, Zone.EXCHANGE, Zone.PRODUCTION]
REASON = ("--reason", "promotion after the fire")
KEPT = [*(f"{CITY}-{zone}.divergence" for zone in ZONES), f"{CITY}.grant"]
LAST = 3
"""Acts the old node records after the cut."""


@dataclass(frozen=True)
class Old:
    """A network whose city was granted away; its parent knows, and each zone has a tail."""

    net: Net
    grant: SealedBatch

    @property
    def home(self) -> Path:
        """The old node's data."""
        return self.net.directory / CITY

    @property
    def config(self) -> tuple[str, str]:
        """Its settings, as an option."""
        return "--config", self.net.config(CITY)

    @property
    def parent(self) -> tuple[str, str]:
        """Those of its parent."""
        return "--config", self.net.config(PARENT.node)

    def grant_file(self, directory: Path) -> str:
        """The grant as a file."""
        path = directory / "grant.bin"
        path.write_bytes(envelope(self.grant))
        return str(path)

    def tell(self, *zones: Zone) -> None:
        """Let zones record the grant."""
        for zone in zones:
            opened = open_zone(load(Path(self.net.config(CITY))), zone, purpose=Purpose.QUESTION)
            tell(opened, self.grant)
            opened.close()


def left_behind(net: Net, *, captures: bool = False) -> Old:
    """Grant the city away as of now, let its zones go on, perhaps by a capture too, and tell its parent."""
    settings, cuts = load(Path(net.config(CITY))), dict[Zone, Place]()
    for zone in ZONES:
        opened = open_zone(settings, zone, purpose=Purpose.QUESTION)
        cuts[zone] = place_of(opened.index)
        opened.ledger.record(*(acts.capture_asked(run) for run in range(LAST)))
        if captures and opened.outbound is not None:
            Business(net.directory / CITY / "business.db", random.Random(1)).edit()
            assert opened.outbound.step(PERIOD)
        opened.close()
    parent = open_zone(load(Path(net.config(PARENT.node))), PARENT.zone, purpose=Purpose.QUESTION)
    grant = granted_away(parent, cuts)
    tell(parent, grant)
    parent.close()
    return Old(net, grant)


@pytest.fixture
def old(guarded_plan: Plan, tmp_path: Path) -> Old:
    """An old node of the test's own whose production zone knows of the grant, and no other zone of it does."""
    made = left_behind(standby_net(guarded_plan, tmp_path / "net"))
    made.tell(Zone.PRODUCTION)
    return made


@pytest.fixture(scope="module")
def told(guarded_plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Old:
    """The same for tests that change nothing."""
    made = left_behind(standby_net(guarded_plan, tmp_path_factory.mktemp("told") / "net"))
    made.tell(*ZONES)
    return made


def rejoin(say: Say, old: Old, keep: Path, *more: str) -> Said:
    """Give the command."""
    return say("standby", "rejoin", "--keep", str(keep), *REASON, *old.config, "--json", *more)


def names(directory: Path) -> list[str]:
    """What lies in a directory."""
    return sorted(path.name for path in directory.iterdir())


def test_an_old_node_gives_up_its_place(old: Old, say: Say, tmp_path: Path) -> None:
    """Each zone's tail is kept, its directory has another name, and its place is empty; given again nothing changes."""
    before = names(old.home)
    said = rejoin(say, old, tmp_path / "keep")
    assert said.code == 0, said.err

    zones = json.loads(said.out)["zones"]
    assert [zone["body"]["zone"] for zone in zones] == [f"{CITY}/{zone}" for zone in ZONES]
    assert names(tmp_path / "keep") == KEPT
    assert [zone["body"]["kinds"]["capture_asked"] for zone in zones] == [LAST] * 3
    aside = {f"{name}.superseded-e1" if name in (*ZONES, "carrier") else name for name in before}
    assert set(names(old.home)) == aside
    assert all(Path(zone["directory"], NOTE).is_file() for zone in zones)
    assert all(zone["database"] == "" for zone in zones)

    again = rejoin(say, old, tmp_path / "keep")

    assert (again.code, json.loads(again.out)["zones"]) == (0, zones)
    assert set(names(old.home)) == aside
    reviewed = say("standby", "review", zones[1]["file"], *old.parent, "--json")
    assert json.loads(reviewed.out)["zone"] == f"{CITY}/exchange", reviewed.err


def test_who_asked_for_it_and_why_is_in_the_file(old: Old, say: Say, tmp_path: Path) -> None:
    """The reviewer reads in the file itself who set the node aside, and the reason given."""
    zones = json.loads(rejoin(say, old, tmp_path / "keep").out)["zones"]

    found = json.loads(say("standby", "review", zones[0]["file"], *old.parent, "--json").out)

    deed = next(deed for deed in found["deeds"] if deed["action"] == "standby.rejoin")
    assert deed["reason"] == REASON[1]


@pytest.mark.processes
@pytest.mark.parametrize(
    "failpoint",
    [
        "diverge.after_begin:1",
        "diverge.after_begin:2",
        "diverge.before_rename:2",
        "diverge.after_rename:1",
        "diverge.after_rename:2",
        "diverge.before_aside",
        "diverge.after_aside:1",
        "diverge.after_aside:2",
    ],
)
def test_a_killed_rejoin_goes_on_when_it_is_given_again(
    old: Old, say: Say, tmp_path: Path, failpoint: str
) -> None:
    """Killed between any two steps, the command given again ends as if nothing had been, and every file is whole."""
    keep = tmp_path / "keep"
    asked = ("standby", "rejoin", "--keep", str(keep), *REASON, *old.config)
    killed = spawn(*asked, **{ENVIRONMENT: failpoint})
    assert killed.code == -signal.SIGKILL, killed.err
    kept = {path.name: path.read_bytes() for path in keep.glob("*.divergence")}

    said = rejoin(say, old, keep)

    assert said.code == 0, said.err
    zones = json.loads(said.out)["zones"]
    assert [zone["body"]["kinds"]["capture_asked"] for zone in zones] == [LAST] * 3
    assert {name: (keep / name).read_bytes() for name in kept} == kept
    assert names(keep) == KEPT
    for zone in zones:
        assert Path(zone["directory"]).name.endswith(".superseded-e1")
        reviewed = say("standby", "review", zone["file"], *old.parent, "--json")
        assert reviewed.code in {0, 3}, reviewed.err
    assert not any((old.home / zone).exists() for zone in ZONES)


def test_a_node_nobody_could_tell_takes_the_grant_itself(
    guarded_plan: Plan, say: Say, tmp_path: Path
) -> None:
    """Without a grant nothing is touched; handed in, it is proved, and does for every zone."""
    old = left_behind(standby_net(guarded_plan, tmp_path / "net"))
    before = names(old.home)
    refused = rejoin(say, old, tmp_path / "keep")
    photo = tmp_path / "photo"
    photo.write_bytes(b"mine")
    forged = rejoin(say, old, tmp_path / "keep", "--grant", str(photo))

    assert (refused.code, forged.code) == (1, 1)
    assert "--grant FILE" in refused.err
    assert names(old.home) == before
    assert names(tmp_path / "keep") == []
    assert rejoin(say, old, tmp_path / "keep", "--grant", old.grant_file(tmp_path)).code == 0


def test_a_running_zone_is_not_moved(old: Old, say: Say, tmp_path: Path) -> None:
    """While one zone runs no zone is touched, and who runs it is said."""
    running = open_zone(load(Path(old.net.config(CITY))), Zone.EXCHANGE, purpose=Purpose.SERVE)
    try:
        before = names(old.home)
        said = rejoin(say, old, tmp_path / "keep")
    finally:
        running.close()

    assert said.code == 1
    assert "stop it first" in said.err
    assert names(old.home) == before


def test_a_zone_that_runs_refuses_to_be_set_aside(told: Old) -> None:
    """The question that writes the file is answered by a stopped zone alone."""
    settings = load(Path(told.net.config(CITY)))
    opened = open_zone(settings, Zone.EXCHANGE, purpose=Purpose.QUESTION)
    try:
        asked = Asked(opened, running=Running())  # type: ignore[arg-type]
        with pytest.raises(Exception, match="a stopped zone"):
            dispatch(asked, "standby.rejoin", {"keep": str(told.home), "reason": "x"})
    finally:
        opened.close()


class Running:
    """A process that serves."""


def test_a_file_that_was_altered_stops_it(old: Old, say: Say, tmp_path: Path) -> None:
    """A file in the way that is not the zone's whole divergence is named and never written over; no zone is moved."""
    keep = tmp_path / "keep"
    assert rejoin(say, old, keep).code == 0
    for zone in ZONES:
        (old.home / f"{zone}.superseded-e1").rename(old.home / zone)
    file = keep / f"{CITY}-exchange.divergence"
    body = bytearray(file.read_bytes())
    body[-2000] ^= 1
    file.write_bytes(body)

    said = rejoin(say, old, keep)

    assert said.code == 1
    assert "move it away" in said.err
    assert file.read_bytes() == body
    assert all((old.home / zone).is_dir() for zone in ZONES)


def test_what_was_recorded_since_an_earlier_file_is_in_the_next(old: Old, say: Say, tmp_path: Path) -> None:
    """A file that an earlier run left and that lacks acts of the zone is written anew, with all of them."""
    keep = tmp_path / "keep"
    assert rejoin(say, old, keep).code == 0
    for zone in ZONES:
        (old.home / f"{zone}.superseded-e1").rename(old.home / zone)
    opened = open_zone(load(Path(old.net.config(CITY))), Zone.EXCHANGE, purpose=Purpose.QUESTION)
    opened.ledger.record(acts.capture_asked(9))
    opened.close()

    zones = json.loads(rejoin(say, old, keep).out)["zones"]

    assert [zone["body"]["kinds"]["capture_asked"] for zone in zones] == [LAST, LAST + 1, LAST]


def test_what_is_kept_does_not_move_with_the_zones(old: Old, say: Say) -> None:
    """A directory within a zone's own is refused: it would get another name itself."""
    said = rejoin(say, old, old.home / "exchange" / "keep")

    assert said.code == 2
    assert not (old.home / "exchange" / "keep").exists()


def test_a_name_that_is_taken_stops_it(old: Old, say: Say, tmp_path: Path) -> None:
    """Where a directory has the name one is to get, no directory is touched."""
    (old.home / "production.superseded-e1").mkdir()

    said = rejoin(say, old, tmp_path / "keep")

    assert said.code == 1
    assert "production.superseded-e1" in said.err
    assert all((old.home / zone).is_dir() for zone in ZONES)


def test_a_lost_file_is_asked_for(old: Old, say: Say, tmp_path: Path) -> None:
    """Given again with another directory, the command says where the files are."""
    assert rejoin(say, old, tmp_path / "keep").code == 0

    said = rejoin(say, old, tmp_path / "other")

    assert said.code == 1
    assert str(tmp_path / "keep") in said.err


@pytest.mark.database
def test_the_old_database_on_a_server_is_not_opened_again(old: Old, say: Say, tmp_path: Path) -> None:
    """A database on a server stays, is named without its password, and no zone opens it again under the old name."""
    url, home = fresh_database(), old.home
    converted = say("database", "convert", "--zone", "exchange", "--to", url, *old.config)
    assert converted.code == 0, converted.err
    config = Path(old.net.config(CITY))
    text = config.read_text(encoding="utf-8")
    config.write_text(
        text.replace("[zones.exchange]", f'[zones.exchange]\ndatabase = "{url}"'), encoding="utf-8"
    )

    zones = json.loads(rejoin(say, old, tmp_path / "keep").out)["zones"]

    exchange = next(zone for zone in zones if zone["body"]["zone"].endswith("exchange"))
    assert exchange["database"].startswith("postgresql+psycopg://")
    shutil.copytree(
        home / "exchange.superseded-e1" / "identity", home / "exchange" / "identity", symlinks=True
    )
    with pytest.raises(LocalError, match="the database of the superseded zone"):
        open_zone(load(config), Zone.EXCHANGE, purpose=Purpose.QUESTION)
    Store(url, tmp_path / "stage").close()


def test_the_old_database_put_back_is_not_opened_again(old: Old, say: Say, tmp_path: Path) -> None:
    """A copy of the old database in the zone's new place is known by its last act, and refused; an empty place is not."""
    assert rejoin(say, old, tmp_path / "keep").code == 0
    aside, place = old.home / "exchange.superseded-e1", old.home / "exchange"
    shutil.copytree(aside / "identity", place / "identity", symlinks=True)
    open_zone(load(Path(old.net.config(CITY))), Zone.EXCHANGE, purpose=Purpose.QUESTION).close()
    shutil.rmtree(place)
    shutil.copytree(aside, place, symlinks=True)

    with pytest.raises(LocalError, match="the database of the superseded zone"):
        open_zone(load(Path(old.net.config(CITY))), Zone.EXCHANGE, purpose=Purpose.QUESTION)


# Diverged and review.


def test_a_running_zone_gives_its_file(told: Old, say: Say, shaped: Shaped, tmp_path: Path) -> None:
    """A superseded zone that runs gives its file through its socket, private, and it is reviewed at the parent."""
    settings, out = load(Path(told.net.config(CITY))), tmp_path / "out"
    opened = open_zone(settings, Zone.PRODUCTION, purpose=Purpose.SERVE)
    server = AdminServer(
        settings.run_directory(Zone.PRODUCTION),
        lambda name, arguments, caller: dispatch(Asked(opened, caller=caller), name, arguments),
    )
    server.start()
    try:
        said = say("standby", "diverged", "--zone", "production", "--out", str(out), *told.config, "--json")
    finally:
        server.stop()
        opened.close()

    assert said.code == 0, said.err
    assert out.stat().st_mode & 0o777 == 0o600
    found = json.loads(say("standby", "review", str(out), *told.parent, "--json").out)
    assert (found["zone"], found["statement"]) == (f"{CITY}/production", "")
    assert found["acts"] == json.loads(said.out)["acts"] >= LAST
    shaped("standby diverged", said)


def test_a_zone_that_holds_its_identity_gives_none(told: Old, say: Say, tmp_path: Path) -> None:
    """The parent, whose identity is its own, has no divergence and says what that means."""
    said = say("standby", "diverged", "--out", str(tmp_path / "out"), *told.parent)

    assert said.code == 1
    assert "has no divergence" in said.err
    assert names(tmp_path) == []


def test_an_altered_file_is_refused_by_the_command(told: Old, say: Say, tmp_path: Path) -> None:
    """The command shows nothing of a file that is not what was sealed."""
    out = tmp_path / "out"
    assert say("standby", "diverged", "--out", str(out), *told.config).code == 0
    body = bytearray(out.read_bytes())
    body[len(body) // 2] ^= 1
    out.write_bytes(body)

    said = say("standby", "review", str(out), "--to", str(tmp_path / "clear"), *told.parent)

    assert (said.code, said.out) == (1, "")
    assert not (tmp_path / "clear").exists()


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_answers_are_the_golden_ones(
    guarded_plan: Plan, say: Say, golden: Golden, shaped: Shaped, tmp_path: Path, lang: str
) -> None:
    """Diverged, review and rejoin answer in the reader's language, and as JSON of the same names."""
    old = left_behind(standby_net(guarded_plan, tmp_path / "net"), captures=True)
    old.tell(*ZONES)
    out, keep = str(tmp_path / "out"), str(tmp_path / "keep")
    said = [
        say("standby", "diverged", "--zone", "production", "--out", out, *old.config, lang=lang),
        say("standby", "review", out, "--to", str(tmp_path / "clear"), *old.parent, lang=lang),
        say("standby", "review", out, *old.parent, "--json"),
        say("standby", "rejoin", "--keep", keep, *REASON, *old.config, lang=lang),
        say("standby", "rejoin", "--keep", keep, *REASON, *old.config, "--json"),
    ]
    assert [one.code for one in said] == [0, 3, 3, 0, 0], [one.err for one in said]

    words = "".join(f"{one.out}\n" for one in (said[0], said[1], said[3])).replace(str(tmp_path), "<tmp>")
    words = re.sub(r"\b[0-9a-f]{12}\b", "<head>", old.net.normal(words))
    golden(f"{lang}/rejoin.txt", re.sub(r"\d+(?= bytes| 字节)", "<n>", words))
    shaped("standby review", said[2])
    shaped("standby rejoin", said[4])
