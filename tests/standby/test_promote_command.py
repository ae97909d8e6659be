"""`jinbao standby plan` and `promote`: what would come back is shown, comes back, and what is in the way is said."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import Say
from tests.cli.harness import LOCALES, Said, spawn
from tests.conftest import Golden, Shaped
from tests.postgres import fresh_database
from tests.servers import await_
from tests.sim.world import Plan
from tests.standby.following import BACKUP, CITY, PROVINCE
from tests.standby.lost import ABOVE, REASON, WHY, Lost, ahead, lost

from jinbao.appliance.assembly import open_zone
from jinbao.appliance.network import AUTHORITIES, COPY_KEYS, write_settings
from jinbao.appliance.settings import Settings, load
from jinbao.authority.identity_files import load_identity
from jinbao.model import acts
from jinbao.model.failpoint import ENVIRONMENT
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust.identity import parse_identity

ZONES = ("decision", "exchange", "production")
EXCHANGE = Endpoint(CITY, Zone.EXCHANGE)


@pytest.fixture(scope="module")
def ahead_plan(guarded_plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A network whose province has batches of the city that its backup has not."""
    return ahead(guarded_plan, tmp_path_factory.mktemp("ahead") / "network")


@pytest.fixture
def city(ahead_plan: Plan, tmp_path: Path, say: Say) -> Lost:
    """The same, of the test's own."""
    return lost(ahead_plan, tmp_path / "net", say)


def planned(city: Lost, *more: str, lang: str = "en") -> Said:
    """What the backup says a promotion of the city would be."""
    return city.say("standby", "plan", CITY, "--config", city.net.config(BACKUP.node), *more, lang=lang)


def normal(city: Lost, text: str) -> str:
    """An answer without what differs from run to run."""
    text = re.sub(r"\d+(\.\d+)?(?= s;| 秒)", "<n>", city.net.normal(text))
    return re.sub(rf"(?m)^({CITY}/\S+  <time>)  .*$", r"\1  <numbers>", text)


@pytest.mark.parametrize("lang", LOCALES)
def test_plan_and_promotion_are_the_golden_ones(
    city: Lost, golden: Golden, tmp_path: Path, lang: str
) -> None:
    """Plan, promotion and the plan afterwards are worded in the reader's language, each step as done or to do."""
    place, told = city.place(), [planned(city, lang=lang)]
    grant = city.granted()
    city.know(grant)
    told.append(planned(city, lang=lang))
    with city.enrolling() as token, city.serving():
        told.append(city.say(*city.arguments(grant, place, "--token", str(token)), lang=lang))
    told.append(planned(city, lang=lang))

    assert [said.code for said in told] == [0] * 4, [said.err for said in told]
    words = "\n".join(said.out for said in told)
    golden(f"{lang}/promote.txt", normal(city, words.replace(str(tmp_path), "<tmp>")))


@pytest.mark.processes
def test_json_is_one_object_of_golden_names(city: Lost, shaped: Shaped) -> None:
    """With `--json` a plan and a promotion say one object on stdout and nothing else; the promotion has what came back."""
    plan = json.loads(planned(city, "--json").out)
    grant, place = city.granted(), city.place()
    city.know(grant)
    with city.enrolling() as token, city.serving():
        said = spawn(*city.arguments(grant, place, "--token", str(token), "--json"))

    assert said.code == 0, said.err
    body = json.loads(said.out)
    assert said.out.count("\n") == json.dumps(body, indent=2).count("\n") + 1 or said.out.count("\n") == 1
    assert (body["node"], body["epoch"], body["without"]) == (CITY, 2, [])
    zones = {zone["zone"]: zone for zone in body["zones"]}
    assert zones[f"{CITY}/production"]["batches"] > 0
    assert {one["peer"] for one in zones[f"{CITY}/exchange"]["returned"]} >= {str(ABOVE)}
    assert (plan["node"], plan["paused"]) == (CITY, [])
    shaped("standby promote", said)
    epochs = {
        zone: parse_identity(load_identity(place.parent / zone / "identity").seal_chain[0]).epoch
        for zone in ZONES
    }
    assert epochs == dict.fromkeys(ZONES, 2)


def test_a_zone_that_cannot_be_built_is_exit_code_3(city: Lost) -> None:
    """Where a backup has nothing of a zone, or holds its stream, the plan says so by its exit code, also as JSON."""
    zone = open_zone(city.settings(BACKUP.node), Zone.EXCHANGE)
    stream = next(cut.stream for cut in zone.cuts.all() if cut.stream.origin == EXCHANGE)
    zone.ledger.record(acts.held(stream, 7, "unprovable", "expected another head", []))
    zone.close()
    held, told = planned(city), planned(city, "--json")
    for file in (city.directory / BACKUP.node / "exchange").glob("zone.db*"):
        file.unlink()

    empty = planned(city)

    assert (held.code, told.code, empty.code) == (3, 3, 3), empty.err
    assert "expected another head" in held.out
    assert {line["zone"]: line["held"] for line in json.loads(told.out)["zones"]}[str(EXCHANGE)]
    assert "never drilled" in empty.out


def test_a_plan_is_asked_of_who_protects(city: Lost) -> None:
    """A node nobody protects here, and a zone that protects nobody, are told what there is."""
    config = ("--config", city.net.config(BACKUP.node))
    other = city.say("standby", "plan", "100000", *config)
    nobody = city.say("standby", "plan", CITY, "--config", city.net.config(PROVINCE))

    assert (other.code, nobody.code) == (2, 2)
    assert f"expected {PROVINCE} or {CITY}" in other.err
    assert "a backup site that protects some" in nobody.err


def test_only_what_was_declared_is_followed_again(city: Lost) -> None:
    """Of a lost node's zones the plan names as paused those that stand still by the declaration, and no other."""
    city.ask(BACKUP, "line.pause", peer=str(EXCHANGE), reason="a new switch")
    city.granted()

    plan = city.ask(BACKUP, "standby.plan", node=CITY)

    assert plan["paused"] == [f"{CITY}/production"]
    assert plan["done"]["declared"]


KILLS = (
    *("rebuild.after_segment:3", "promote.after_build:2", "promote.after_grant"),
    *("inbound.after_accept", "heal.after_take", "heal.before_end:2"),
)
"""Where the command is killed, in an order in which each is passed still; `test_promotion` strikes at every step."""


@pytest.mark.processes
def test_a_promotion_that_is_killed_is_made_again(city: Lost) -> None:
    """Killed by SIGKILL at one step after the other the command goes on where it was, and ends with all that came back."""
    grant, place = city.granted(), city.place()
    city.know(grant)
    with city.enrolling() as token, city.serving() as province:
        arguments = city.arguments(grant, place, "--token", str(token), "--json")
        for failpoint in KILLS:
            killed = spawn(*arguments, **{ENVIRONMENT: failpoint})
            assert killed.code == -signal.SIGKILL, (failpoint, killed)
            assert killed.out == ""
        said = spawn(*arguments)
        again = spawn(*arguments)
        theirs = {m.stream: m.seq for m in province.zone.index.marks() if m.stream.origin.node == CITY}

    assert (said.code, again.code) == (0, 0), said.err + again.err
    settings = load(place)
    for zone in settings.zones:
        opened = open_zone(settings, zone)
        assert opened.index.epoch() == 2
        assert len(opened.ledger.acts(kind="healed")) == 1
        heads = {mark.stream: mark.seq for mark in opened.index.streams() if mark.stream.origin == opened.me}
        assert all(heads[s] >= seq for s, seq in theirs.items() if s.origin == opened.me)
        opened.close()
    paused = city.ask(BACKUP, "standby.plan", node=CITY)["paused"]
    assert paused == []


def state(city: Lost) -> tuple[int, list[str]]:
    """What the backup recorded, and what lies anywhere beside it."""
    zone = open_zone(city.settings(BACKUP.node), Zone.EXCHANGE)
    grants = len(zone.trust.sealed_grants())
    zone.close()
    old = (city.directory / node for node in (CITY, PROVINCE, "100000", BACKUP.node, AUTHORITIES))
    left = [path for path in city.directory.iterdir() if path not in set(old)]
    return grants, sorted(str(p) for path in left for p in (path, *path.rglob("*")))


Case = Callable[[Lost, Path], tuple[str, ...]]


def _another_place(city: Lost, grant: Path) -> tuple[str, ...]:
    return city.arguments(grant, city.place("other", PROVINCE))


def _another_grant(city: Lost, grant: Path) -> tuple[str, ...]:
    del grant
    return city.arguments(city.granted(PROVINCE), city.place())


def _a_full_place(city: Lost, grant: Path) -> tuple[str, ...]:
    place = city.place()
    (place.parent / "production").mkdir()
    (place.parent / "production" / "photo").write_text("mine")
    return city.arguments(grant, place)


def _fewer_zones(city: Lost, grant: Path) -> tuple[str, ...]:
    place = city.place()
    found = load(place).model_dump(exclude_unset=True)
    del found["zones"][Zone.DECISION]
    write_settings(place.parent, Settings(**found))
    return city.arguments(grant, place)


def _token_before(city: Lost, grant: Path) -> tuple[str, ...]:
    city.introduce()
    assert city.say(*_token(city, "--address", "127.0.0.1:1")).code == 0
    return city.arguments(grant, city.place(), "--token", str(city.directory / "early"))


def _token_by_file(city: Lost, grant: Path) -> tuple[str, ...]:
    city.know(grant)
    assert city.say(*_token(city)).code == 0
    return city.arguments(grant, city.place(), "--token", str(city.directory / "early"))


def _token(city: Lost, *more: str) -> tuple[str, ...]:
    return (
        *("ca", "token", city.authority, "--node", CITY, *city.topology),
        *("--out", str(city.directory / "early"), *more),
    )


def _drill_key(city: Lost, grant: Path) -> tuple[str, ...]:
    arguments = city.arguments(grant, city.place())
    return tuple(word.replace("escrow.pem", "drill.pem") for word in arguments)


def _wrong_key(city: Lost, grant: Path) -> tuple[str, ...]:
    words, wrong = list[str](), str(city.directory / "wrong.pem")
    for name in ("first", "second"):
        path = city.directory / name
        path.write_text(f"words of {name}\n")
        path.chmod(0o600)
        words += ["--passphrase-file", str(path)]
    assert city.say("standby", "key", "create", "escrow", "--to", wrong, *words).code == 0
    right = str(city.directory / COPY_KEYS / "escrow.pem")
    arguments = city.arguments(grant, city.place())
    return (*(wrong if word == right else word for word in arguments), *words)


def _no_key(city: Lost, grant: Path) -> tuple[str, ...]:
    arguments = list(city.arguments(grant, city.place()))
    at = arguments.index("--key")
    return (*arguments[:at], *arguments[at + 2 :])


def _no_grant(city: Lost, grant: Path) -> tuple[str, ...]:
    grant.write_bytes((city.directory / "topology.sealed").read_bytes())
    return city.arguments(grant, city.place())


def _at_the_province(city: Lost, grant: Path) -> tuple[str, ...]:
    arguments = city.arguments(grant, city.place())
    return tuple(word.replace(f"{BACKUP.node}/node.toml", f"{PROVINCE}/node.toml") for word in arguments)


REFUSED: dict[str, tuple[Case, int, str]] = {
    "settings of another node": (_another_place, 2, f"expected node {CITY} with zones"),
    "a grant of another node": (_another_grant, 2, f"expected node {PROVINCE} with zones"),
    "settings without a zone": (_fewer_zones, 2, "with zones decision, exchange, production, got"),
    "a place with something in it": (_a_full_place, 1, "name another directory: nothing is ever written over"),
    "a token of the old epoch": (_token_before, 2, "jinbao ca grant, and then jinbao ca token"),
    "a token without an address": (_token_by_file, 2, "leave it out, and enrol the zones"),
    "the key of drills": (_drill_key, 2, "escrow"),
    "the escrow key of another network": (_wrong_key, 2, "escrow"),
    "no key": (_no_key, 1, "--key"),
    "no grant": (_no_grant, 1, "grant"),
    "at a node that is no backup": (_at_the_province, 2, "one that has a copy here"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_in_the_way_is_said_before_anything_is_changed(city: Lost, case: str) -> None:
    """A wrong grant, place, token, key or site is refused with what would do; nothing is built or recorded."""
    made, code, text = REFUSED[case]
    grant = city.granted()
    arguments = made(city, grant)
    before = state(city)

    said = city.say(*arguments, "--json")

    assert (said.code, said.out) == (code, ""), said.err
    assert text in said.err
    assert said.err.count("\n") == 1
    assert state(city) == before


@pytest.mark.database
def test_a_new_place_may_be_on_postgresql(city: Lost) -> None:
    """Built and healed on PostgreSQL the city has what came back, and a second command finds nothing left to do."""
    urls = {zone: fresh_database() for zone in ZONES}  # first: a server starts in the locale of this process
    grant, place = city.granted(), city.place()
    city.know(grant)
    found = load(place).model_dump(exclude_unset=True)
    for zone, settings in found["zones"].items():
        settings["database"] = urls[zone]
    write_settings(place.parent, Settings(**found))
    with city.enrolling() as token, city.serving():
        arguments = city.arguments(grant, place, "--token", str(token), "--json")
        first, again = city.say(*arguments), city.say(*arguments)

    assert (first.code, again.code) == (0, 0), first.err + again.err
    came = {zone["zone"]: zone["batches"] for zone in json.loads(first.out)["zones"]}
    assert came[f"{CITY}/production"] > 0
    assert {zone["batches"] for zone in json.loads(again.out)["zones"]} == {0}


def test_without_a_token_the_zones_enrol_by_themselves(city: Lost) -> None:
    """Without a token it builds and says how to enrol; enrolled by `jinbao enrol` it is made again, and ends."""
    grant, place = city.granted(), city.place()
    city.know(grant)
    with city.enrolling() as token, city.serving():
        first = city.say(*city.arguments(grant, place))
        enrolled = city.say("enrol", "--token", str(token), "--config", str(place))
        second = city.say(*city.arguments(grant, place, "--json"))

    assert (first.code, enrolled.code, second.code) == (2, 0, 0), second.err
    assert "then --token here, or jinbao enrol" in first.err
    assert json.loads(second.out)["epoch"] == 2


def test_a_disk_without_room_is_told_before_it_is_filled(city: Lost) -> None:
    """Where the disk's reserve would be broken nothing is laid down; with room the same command goes on."""
    grant, place = city.granted(), city.place()
    config = Path(city.net.config(BACKUP.node))
    whole = config.read_text(encoding="utf-8")
    body = load(config).model_dump(exclude_unset=True) | {"limits": {"disk_reserve_bytes": 1 << 60}}
    write_settings(config.parent, Settings(**body))

    full = city.say(*city.arguments(grant, place))
    config.write_text(whole, encoding="utf-8")
    again = city.say(*city.arguments(grant, place))

    assert (full.code, again.code) == (1, 2), again.err
    assert "bytes" in full.err
    assert "certificates of epoch 2" in again.err


def test_a_disk_that_is_full_where_it_goes_on_is_told(city: Lost) -> None:
    """A new place without room for what comes back is named while it is asked for; given room, the rest comes."""
    grant, place = city.granted(), city.place()
    city.know(grant)
    whole = place.read_text(encoding="utf-8")
    body = load(place).model_dump(exclude_unset=True) | {"limits": {"disk_reserve_bytes": 1 << 60}}
    write_settings(place.parent, Settings(**body))
    with city.enrolling() as token, city.serving():
        arguments = city.arguments(grant, place, "--token", str(token), "--json")
        full = city.say(*arguments)
        place.write_text(whole, encoding="utf-8")
        again = city.say(*arguments)

    assert (full.code, again.code) == (1, 0), full.err + again.err
    found = {zone["zone"]: zone for zone in json.loads(again.out)["zones"]}
    assert found[f"{CITY}/production"]["batches"] > 0


def test_a_copy_that_moved_is_declared_again(city: Lost) -> None:
    """A backup that follows on after the declaration has another copy than was signed: nothing is built from it."""
    grant, place = city.granted(), city.place()
    for peer in city.ask(BACKUP, "standby.plan", node=CITY)["paused"]:
        city.ask(BACKUP, "line.resume", peer=peer, **WHY)
    lsn = {line["zone"]: line["acts"] for line in city.ask(BACKUP, "standby.plan", node=CITY)["zones"]}
    with city.serving(EXCHANGE), city.serving(BACKUP):
        city.ask(EXCHANGE, "line.pause", **WHY)
        await_(lambda: _acts(city) > lsn[str(EXCHANGE)])
    before = state(city)

    said = city.say(*city.arguments(grant, place))

    assert said.code == 1
    assert "jinbao standby declare, again: the copy has moved since" in said.err
    assert state(city) == before


def _acts(city: Lost) -> int:
    found = city.ask(BACKUP, "standby.plan", node=CITY)["zones"]
    return next(int(line["acts"]) for line in found if line["zone"] == str(EXCHANGE))


def test_a_neighbour_that_is_down_is_waited_for_or_given_up(city: Lost) -> None:
    """One that does not answer is named with both ways on; once it answers the command goes on and builds nothing anew."""
    grant, place = city.granted(), city.place()
    city.know(grant)
    with city.enrolling() as token:
        arguments = city.arguments(grant, place, "--token", str(token), "--json")
        down = city.say(*arguments)
        built = {p: p.stat().st_mtime_ns for p in place.parent.glob("*/rebuilt.json")}
        refused = city.say("serve", "--config", str(place), "--zone", "exchange")
        with city.serving():
            up = city.say(*arguments)

    assert (down.code, refused.code, up.code) == (4, 1, 0), up.err
    assert f"what {CITY} had sent to {ABOVE}" in down.err
    assert "try again when it answers, or declare again --without it" in down.err
    assert "jinbao standby promote, once more" in refused.err
    assert len(built) == len(ZONES)
    assert {p: p.stat().st_mtime_ns for p in built} == built


def test_a_reason_is_needed(city: Lost) -> None:
    """Without a reason nothing begins: it goes into the trail of the backup."""
    arguments = [word for word in city.arguments(city.granted(), city.place()) if word not in REASON]

    said = city.say(*arguments)

    assert said.code == 2
    assert "--reason" in said.err
