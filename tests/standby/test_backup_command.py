"""`jinbao backup`: the operator backs a node up while it runs, looks at it, and builds a zone from it on another day."""

from __future__ import annotations

import json
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.cli.conftest import Say
from tests.cli.harness import Net, spawn
from tests.conftest import Golden
from tests.postgres import fresh_database
from tests.sim.world import Plan
from tests.standby.network import standby_net

from jinbao.appliance.admin_server import AdminServer
from jinbao.appliance.assembly import open_zone
from jinbao.appliance.questions import Asked, dispatch
from jinbao.appliance.restoring import MARK
from jinbao.appliance.settings import load
from jinbao.model import acts
from jinbao.model.failpoint import ENVIRONMENT
from jinbao.model.zone import Zone

CITY, PROVINCE = "140100", "140000"


@pytest.fixture(scope="module")
def net(guarded_plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Net:
    """A network after a first submission; every zone is stopped."""
    return standby_net(guarded_plan, tmp_path_factory.mktemp("backup") / "net")


@pytest.fixture
def own(guarded_plan: Plan, tmp_path: Path) -> Net:
    """The same, of the test's own."""
    return standby_net(guarded_plan, tmp_path / "net")


@contextmanager
def running(net: Net, zone: Zone) -> Iterator[list[int]]:
    """A zone of the city that answers on its sockets and records all the while; how many acts it recorded so far."""
    node = load(Path(net.config(CITY)))
    opened, stop, recorded = open_zone(node, zone), threading.Event(), [0]

    def record() -> None:
        while not stop.wait(0.01):
            opened.ledger.record(acts.capture_asked(1))
            recorded[0] += 1

    server = AdminServer(
        node.run_directory(zone),
        lambda name, arguments, caller: dispatch(Asked(opened, caller=caller), name, arguments),
    )
    busy = threading.Thread(target=record)
    server.start()
    busy.start()
    try:
        yield recorded
    finally:
        stop.set()
        busy.join()
        server.stop()
        opened.close()


def names(found: str) -> list[tuple[str, str]]:
    """Zone and name of each backup of an answer."""
    return [(line["zone"], line["name"]) for line in json.loads(found)["backups"]]


@pytest.mark.database
def test_a_running_node_is_backed_up_and_comes_back(own: Net, say: Say, tmp_path: Path) -> None:
    """A zone that records all the while is backed up through its socket; restored on either database it is whole."""
    store, config, url = str(tmp_path / "backup"), own.config(CITY), fresh_database()
    with running(own, Zone.EXCHANGE) as recorded:
        made = say("backup", "create", store, "--config", config, "--json")
        assert made.code == 0, made.err
        assert say("backup", "verify", store, "--config", config).code == 0
        assert recorded[0] > 2
    zones = {line["zone"]: line for line in json.loads(made.out)["backups"]}
    assert list(zones) == [f"{CITY}/{zone}" for zone in load(Path(config)).zones]
    assert zones[f"{CITY}/production"]["captured_at"]

    target = tmp_path / "built" / "exchange"
    asked = ("backup", "restore", store, f"{CITY}/exchange", "--json", "--config", config)
    one = say(*asked, "--to", str(target))
    two = say(*asked, "--to", str(tmp_path / "other"), "--database", url)

    assert (one.code, two.code) == (0, 0), one.err + two.err
    first, second = json.loads(one.out), json.loads(two.out)
    assert (first["acts"], first["hash"], first["tables"]) == (
        second["acts"],
        second["hash"],
        second["tables"],
    )
    assert first["hash"] == zones[f"{CITY}/exchange"]["hash"]
    verified = say("journal", "verify", "--config", settled_in(own, target.parent))
    assert verified.code == 0, verified.out


@pytest.mark.database
def test_a_zone_on_postgresql_is_backed_up_and_comes_back_on_sqlite(
    own: Net, say: Say, tmp_path: Path
) -> None:
    """A zone restored on PostgreSQL is backed up from there, on from where its backup ended, and fits SQLite again."""
    store, config, url = str(tmp_path / "backup"), own.config(CITY), fresh_database()
    asked = ("--zone", "exchange", "--json")
    assert say("backup", "create", store, *asked, "--config", config).code == 0
    place = tmp_path / "server" / "exchange"
    restored = ("backup", "restore", store, f"{CITY}/exchange", "--json")
    moved = say(*restored, "--to", str(place), "--database", url, "--config", config)
    assert moved.code == 0, moved.err

    made = say("backup", "create", store, *asked, "--config", settled_in(own, place.parent, url))
    back = say(*restored, "--to", str(tmp_path / "file"), "--config", config)

    assert (made.code, back.code) == (0, 0), made.err + back.err
    [second], found = json.loads(made.out)["backups"], json.loads(back.out)
    assert (found["acts"], found["hash"]) == (second["acts"], second["hash"])
    assert second["new_acts"] == second["acts"] - json.loads(moved.out)["acts"] > 0
    assert say("backup", "verify", store, "--config", config).code == 0


def settled_in(net: Net, directory: Path, url: str = "") -> str:
    """Settings of the city in another directory, its exchange zone's identity there, and perhaps another database."""
    home = net.directory / CITY
    shutil.copytree(home / "exchange" / "identity", directory / "exchange" / "identity", symlinks=True)
    text = Path(net.config(CITY)).read_text(encoding="utf-8").replace(str(home), str(directory))
    if url:
        text = text.replace("[zones.exchange]", f'[zones.exchange]\ndatabase = "{url}"')
    config = directory / "node.toml"
    config.write_text(text, encoding="utf-8")
    return str(config)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_answers_are_the_golden_ones(
    net: Net, say: Say, golden: Golden, tmp_path: Path, lang: str
) -> None:
    """Create, list, verify and restore answer in the reader's language, and as JSON of the same names."""
    store, config = str(tmp_path / "backup"), ("--config", net.config(CITY))
    told = [
        say("backup", "create", store, "--zone", "exchange", *config, lang=lang),
        say("backup", "list", store, lang=lang),
        say("backup", "verify", store, *config, lang=lang),
        say("backup", "restore", store, f"{CITY}/exchange", "--to", f"{tmp_path}/a", *config, lang=lang),
        say("backup", "create", store, "--zone", "exchange", *config, "--json"),
        say("backup", "list", store, "--json"),
        say("backup", "verify", store, *config, "--json"),
        say("backup", "restore", store, f"{CITY}/exchange", "--to", f"{tmp_path}/b", *config, "--json"),
    ]
    assert [said.code for said in told] == [0] * len(told), [said.err for said in told]

    words = "".join(f"{said.out}\n" for said in told[:4])
    golden(f"{lang}/backup.txt", _normal(net, words.replace(str(tmp_path), "<tmp>")))
    golden("keys.txt", "".join(f"{line}\n" for said in told[4:] for line in _keys(json.loads(said.out))))


def _normal(net: Net, text: str) -> str:
    """An answer without what differs from run to run."""
    import re

    text = re.sub(r"\d{8}T\d{6}Z-\d{12}", "<backup>", net.normal(text))
    return re.sub(r"\d+(\.\d+)?(?=( bytes| s;| 字节| 秒|\s*$|  ))", "<n>", text, flags=re.MULTILINE)


def _keys(found: object, path: str = "") -> Iterator[str]:
    """Every name of a JSON answer, those of a list's items once."""
    if isinstance(found, dict):
        for key, value in found.items():
            yield f"{path}{key}"
            if key != "tables":
                yield from _keys(value, f"{path}{key}.")
    elif isinstance(found, list) and found:
        yield from _keys(found[0], path)


@pytest.mark.processes
@pytest.mark.parametrize(
    "failpoint", ["backup.after_segment:3", "backup.before_manifest", "backup.after_manifest"]
)
def test_a_killed_backup_goes_on_when_it_is_given_again(
    own: Net, say: Say, tmp_path: Path, failpoint: str
) -> None:
    """Killed by SIGKILL, a backup is not there or whole; given again, the command makes one, and all of it is proved."""
    store, config = str(tmp_path / "backup"), ("--config", own.config(CITY))
    killed = spawn("backup", "create", store, "--zone", "production", *config, **{ENVIRONMENT: failpoint})
    assert killed.code == -signal.SIGKILL, killed.err
    there = len(names(say("backup", "list", store, "--json").out)) if "after_m" in failpoint else 0

    again = say("backup", "create", store, "--zone", "production", *config, "--json")

    assert again.code == 0, again.err
    assert len(names(say("backup", "list", store, "--json").out)) == there + 1
    assert say("backup", "verify", store, *config).code == 0


@pytest.mark.processes
def test_a_killed_restore_goes_on_when_it_is_given_again(net: Net, say: Say, tmp_path: Path) -> None:
    """Killed by SIGKILL among the segments, the command given again ends as if nothing had been."""
    store, target, config = str(tmp_path / "backup"), tmp_path / "zone", ("--config", net.config(CITY))
    assert say("backup", "create", store, "--zone", "production", *config).code == 0
    asked = ("backup", "restore", store, f"{CITY}/production", "--to", str(target), *config)
    killed = spawn(*asked, **{ENVIRONMENT: "rebuild.after_segment:3"})
    assert killed.code == -signal.SIGKILL, killed.err
    assert (target / MARK).exists()

    again = say(*asked, "--json")

    assert again.code == 0, again.err
    assert not (target / MARK).exists()
    assert json.loads(again.out)["tables"]["source_captured"]


def test_damage_ends_with_a_code_of_its_own(own: Net, say: Say, tmp_path: Path) -> None:
    """Strays alone end a look with 3, damage with 1, a manifest that cannot be read ends the list with 3."""
    store, config = tmp_path / "backup", ("--config", own.config(CITY))
    assert say("backup", "create", str(store), "--zone", "production", *config).code == 0
    (store / "production" / "segments" / "photo").write_text("mine")
    strays = say("backup", "verify", str(store), *config)
    victim = max((store / "production" / "segments").rglob("*.parquet"), key=lambda p: p.stat().st_size)
    victim.unlink()
    damaged = say("backup", "verify", str(store), *config, lang="zh")
    told = say("backup", "verify", str(store), *config, "--json")
    [manifest] = (store / "production" / "backups").iterdir()
    manifest.write_text("{}")
    listed = say("backup", "list", str(store))

    assert (strays.code, damaged.code, told.code, listed.code) == (3, 1, 1, 3)
    assert "photo: stray" in strays.out
    assert f"{victim.stem}: 缺失" in damaged.out
    assert json.loads(told.out)["zones"][0]["damage"][0]["kind"] == "missing"
    assert "expected a sealed manifest" in listed.out


def test_roots_are_named_where_no_zone_is(net: Net, say: Say, tmp_path: Path) -> None:
    """On a host without the zone, roots prove its backups; without them, and with those of another network, nothing is."""
    store = str(tmp_path / "backup")
    assert say("backup", "create", store, "--zone", "exchange", "--config", net.config(CITY)).code == 0
    [root] = (net.directory / CITY / "exchange" / "identity").glob("current/anchors.pem")
    elsewhere = ("--config", net.config(PROVINCE))

    none = say("backup", "verify", store, *elsewhere)
    proved = say("backup", "verify", store, "--root", str(root), *elsewhere)
    (tmp_path / "bad.pem").write_text("no certificate")
    bad = say("backup", "verify", store, "--root", str(tmp_path / "bad.pem"), *elsewhere)

    assert (none.code, proved.code, bad.code) == (2, 0, 2)
    assert "name it: --root root.pem" in none.err
    assert "was not asked for its newest backup" in proved.err
    assert "expected certificates, PEM" in bad.err


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("list", "{0}/nowhere"), 2, "expected a repository of backups"),
        (("create", "{0}/full"), 1, "expected an empty one, or a repository of backups, got photo"),
        (("create", "{0}/backup", "--province"), 1, f"expected backups of node {PROVINCE}"),
        (("restore", "{0}/backup", "nowhere", "--to", "{0}/x"), 2, "NODE/ZONE"),
        (("restore", "{0}/backup", f"{PROVINCE}/exchange", "--to", "{0}/x"), 2, "one that has backups here"),
        (("restore", "{0}/backup", f"{CITY}/exchange", "--to", "{0}/full"), 1, "an empty one"),
        (("restore", "{0}/backup", f"{CITY}/exchange", "--to", "{0}/x", "--at", "noon"), 2, "a moment as"),
        (("verify", "{0}/backup", "--at", "2000-01-01T00:00:00Z"), 2, "or before"),
        (("verify", "{0}/backup", "--zone", "decision"), 2, "one that has backups here"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_is_in_the_way_is_said(
    net: Net,
    say: Say,
    tmp_path: Path,
    arguments: tuple[str, ...],
    code: int,
    text: str,
) -> None:
    """A wrong directory, node, zone, moment or place is named with what would do, and nothing is changed."""
    assert (
        say("backup", "create", f"{tmp_path}/backup", "--zone", "exchange", "--config", net.config()).code
        == 0
    )
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "photo").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    config = net.config(PROVINCE if "--province" in arguments else CITY)
    given = [part.format(tmp_path) for part in arguments if part != "--province"]
    more = () if given[0] == "list" else ("--config", config)

    said = say("backup", *given, *more)

    assert said.code == code, said.err
    assert text in said.err
    assert sorted(tmp_path.rglob("*")) == before
