"""`jinbao standby`: the operator sees the distance, builds a zone again, and is told what is in the way."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest
from tests.cli.conftest import Say
from tests.cli.harness import Net, spawn
from tests.conftest import Shaped
from tests.postgres import fresh_database
from tests.sim.world import Plan
from tests.standby.network import standby_net

from jinbao.appliance.network import COPY_KEYS
from jinbao.appliance.restoring import MARK
from jinbao.model.failpoint import ENVIRONMENT

BACKUP, CITY = "140000-backup", "140100"


@pytest.fixture(scope="module")
def net(guarded_plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Net:
    """A network with a backup site after a first submission; every zone is stopped."""
    return standby_net(guarded_plan, tmp_path_factory.mktemp("standby") / "net")


def escrow(net: Net) -> tuple[str, ...]:
    """The arguments by which a copy is opened, and where it is."""
    return ("--key", str(net.directory / COPY_KEYS / "escrow.pem"), "--config", net.config(BACKUP))


def test_the_backup_says_what_can_be_built(net: Net, say: Say) -> None:
    """Every protected zone is a line with its moment; all of them have one, so the exit code is 0; JSON says the same."""
    said = say("standby", "status", "--config", net.config(BACKUP))
    body = json.loads(say("standby", "status", "--json", "--config", net.config(BACKUP)).out)

    assert said.code == 0
    assert f"{CITY}/production" in said.out
    assert [line["zone"] for line in body["protected"]] == sorted(line["zone"] for line in body["protected"])
    assert len(body["protected"]) == 5
    assert all(line["restorable_to"] for line in body["protected"])
    assert "可重建到" in say("standby", "status", "--config", net.config(BACKUP), lang="zh").out


def test_a_stopped_zone_does_not_claim_to_be_protected(net: Net, say: Say) -> None:
    """Of a zone that does not run nobody knows what the backup has: it says unknown, and the capture's age apart."""
    said = say("standby", "status", "--zone", "production", "--config", net.config(CITY))

    assert said.code == 0
    assert f"{BACKUP} is behind this zone's journal by unknown s" in said.out
    assert "the source was captured" in said.out


@pytest.mark.database
def test_a_zone_is_built_from_the_command_line(net: Net, say: Say, tmp_path: Path) -> None:
    """A zone is built on either database with as many acts as the backup has, and its journal is whole."""
    url, target = fresh_database(), tmp_path / "built" / "exchange"
    first = say(
        "standby",
        "rebuild",
        f"{CITY}/exchange",
        "--to",
        str(target),
        "--json",
        *escrow(net),
    )
    second = say(
        *("standby", "rebuild", f"{CITY}/exchange", "--to", str(tmp_path / "other"), "--database", url),
        *("--json", *escrow(net)),
    )

    assert (first.code, second.code) == (0, 0), first.err + second.err
    one, two = json.loads(first.out), json.loads(second.out)
    assert (one["acts"], one["hash"], one["tables"]) == (two["acts"], two["hash"], two["tables"])
    assert one["tables"]["journal_act"] == one["acts"] > 20
    shutil.copytree(net.directory / CITY / "exchange" / "identity", target / "identity", symlinks=True)
    config = Path(net.config(CITY))
    text = config.read_text(encoding="utf-8").replace(str(net.directory / CITY), str(tmp_path / "built"))
    (tmp_path / "built.toml").write_text(text, encoding="utf-8")
    verified = say("journal", "verify", "--config", str(tmp_path / "built.toml"))
    assert verified.code == 0, verified.out


@pytest.mark.processes
def test_a_killed_command_goes_on_when_it_is_given_again(net: Net, say: Say, tmp_path: Path) -> None:
    """Killed among the segments, the command given again ends as if nothing had been."""
    target = tmp_path / "zone"
    arguments = (
        "standby",
        "rebuild",
        f"{CITY}/production",
        "--to",
        str(target),
        *escrow(net),
    )
    killed = spawn(*arguments, **{ENVIRONMENT: "rebuild.after_segment:3"})
    assert killed.code == -signal.SIGKILL, killed.err
    assert (target / MARK).exists()

    again = say(*arguments, "--json")

    assert again.code == 0, again.err
    assert not (target / MARK).exists()
    assert json.loads(again.out)["tables"]["source_captured"]


@pytest.mark.parametrize(
    ("zone", "code", "text"),
    [
        ("140999/exchange", 2, "one that has a copy here"),
        ("nowhere", 2, "NODE/ZONE"),
        (f"{CITY}/exchange", 1, "an empty one"),
    ],
)
def test_what_is_in_the_way_is_said(
    net: Net, say: Say, tmp_path: Path, zone: str, code: int, text: str
) -> None:
    """A zone without a copy and a place with something in it are named, with what would do."""
    (tmp_path / "photo").write_text("mine")

    said = say("standby", "rebuild", zone, "--to", str(tmp_path), "--config", net.config(BACKUP))

    assert said.code == code
    assert text in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["photo"]


def test_scrubbing_is_shown(net: Net, say: Say) -> None:
    """Before the first pass the command says so by empty lines, and by exit code 0: nothing is known to be damaged."""
    said = say("journal", "scrub", "--json", "--config", net.config(BACKUP))

    assert said.code == 0
    assert json.loads(said.out)["last_ended_at"] == ""


def test_a_copy_is_opened_by_who_has_a_key_for_it(net: Net, say: Say, shaped: Shaped, tmp_path: Path) -> None:
    """Without a key, or with the one of drills, nothing is built and the next step is said; the zones' own keys do."""
    keys = net.directory / COPY_KEYS
    rebuild = ("standby", "rebuild", f"{CITY}/exchange", "--config", net.config(BACKUP), "--to")

    without = say(*rebuild, str(tmp_path / "a"))
    drill = say(*rebuild, str(tmp_path / "b"), "--key", str(keys / "drill.pem"))
    zones = sorted(net.directory.glob("*/*/copy-keys"))
    named = (word for zone in zones for word in ("--key", str(zone)))
    own = say(*rebuild, str(tmp_path / "c"), *named, "--json")

    assert (without.code, drill.code, own.code) == (1, 2, 0), own.err
    assert "--key" in without.err
    assert "escrow:" in drill.err
    assert (tmp_path / "b" / MARK).exists()
    shaped("standby rebuild", own)


def test_a_key_is_tried_before_it_is_needed(net: Net, say: Say, shaped: Shaped, tmp_path: Path) -> None:
    """The escrow key opens every key of every zone and status names who does; another key opens none, exit code 3."""
    config = ("--config", net.config(BACKUP))
    stranger = tmp_path / "stranger.pem"
    assert say("standby", "key", "create", "drill", "--to", str(stranger)).code == 0

    tried = say("standby", "key", "check", *escrow(net))
    shut = say("standby", "key", "check", "--key", str(stranger), "--json", *config)
    lines = json.loads(say("standby", "status", "--json", *config).out)["protected"]

    assert tried.code == 0
    assert tried.out.count(f"{CITY}/") == 2  # of the decision zone exchange gives what is kept
    assert shut.code == 3
    assert all(line["opened"] == 0 and line["shut"] for line in json.loads(shut.out)["zones"])
    purposes = [[name.partition(":")[0] for name in line["opened_by"]] for line in lines]
    assert purposes == [["drill", "escrow"]] * 5
    shaped("standby key check", shut)


def test_keys_are_made_for_two_persons_and_for_drills(say: Say, tmp_path: Path) -> None:
    """An escrow key asks for two passphrases; each kind prints the line for the settings and is made once."""
    files = [tmp_path / "first", tmp_path / "second"]
    for file in files:
        file.write_text(f"words of {file.name}\n")
        file.chmod(0o600)
    escrow_file, drill_file = tmp_path / "escrow.pem", tmp_path / "drill.pem"
    persons = [word for file in files for word in ("--passphrase-file", str(file))]

    alone = say("standby", "key", "create", "escrow", "--to", str(escrow_file), *persons[:2])
    both = say("standby", "key", "create", "escrow", "--to", str(escrow_file), *persons)
    drill = say("standby", "key", "create", "drill", "--to", str(drill_file))
    again = say("standby", "key", "create", "drill", "--to", str(drill_file))

    assert (alone.code, both.code, drill.code, again.code) == (2, 0, 0, 1)
    assert both.out.startswith('escrow_key = "')
    assert drill.out.startswith('drill_key = "')
    assert escrow_file.stat().st_mode & 0o777 == 0o600
    assert "words of" not in alone.err + both.out


def test_a_zone_gets_another_key(net: Net, say: Say) -> None:
    """Asked for, a zone encrypts by another key from now on, says its name, and keeps the one before."""
    config = net.config(CITY)

    first = json.loads(say("standby", "key", "rotate", "--json", "--config", config).out)
    said = say("standby", "key", "rotate", "--config", config)

    assert first["key"].startswith(f"{CITY}/exchange#")
    assert f"{CITY}/exchange#" in said.out
    assert len(list((net.directory / CITY / "exchange" / "copy-keys").glob("*.key"))) == 3
