"""A lost node is declared at its backup and granted by its parent: real zones, and nothing less than two persons."""

from __future__ import annotations

import base64
import itertools
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from tests.rebuild.busy import all_acts
from tests.sim.conftest import MakeWorld
from tests.sim.world import World
from tests.standby.declarations import PERSONS, signed_by, unsigned
from tests.standby.following import BACKUP, CITY, PROVINCE, bring, copy_of, journal_of, name_of, objects_of

from jinbao.appliance import granting
from jinbao.appliance.assembly import OpenZone
from jinbao.appliance.granting import grant
from jinbao.appliance.questions import Asked, dispatch
from jinbao.appliance.questions.registry import Contact
from jinbao.appliance.settings import PromotionSettings, Settings
from jinbao.flow.pace import Pace, PaceLimits, Worker
from jinbao.model import acts
from jinbao.model.errors import JinbaoError, LocalError, RoleError, UnprovableError, UsageError
from jinbao.model.grant import GrantedCut
from jinbao.model.zone import Endpoint, Zone
from jinbao.standby.declaring import Declaration, Signed, read
from jinbao.trust.encoding import decode_envelope
from jinbao.trust.grants import open_grant

PARENT, MINISTRY = Endpoint(PROVINCE, Zone.EXCHANGE), Endpoint("100000", Zone.EXCHANGE)
PRODUCTION, EXCHANGE = Endpoint(CITY, Zone.PRODUCTION), Endpoint(CITY, Zone.EXCHANGE)
DECISION = Endpoint(CITY, Zone.DECISION)
WHY = {"reason": "fire in the data centre"}
SOME = {"node": CITY, "addresses": {"exchange": "10.9.0.5:7443"}} | WHY


def know_persons(world: World, node: str = PROVINCE, **more: Any) -> None:
    """The settings of a node name the persons."""
    body = world.settings[node].model_dump(exclude_unset=True)
    body["promotion"] = {"persons": PERSONS} | more
    world.settings[node] = Settings(**body)
    world.restart(Endpoint(node, Zone.EXCHANGE))


def declared(world: World, **changed: Any) -> Signed:
    """What the backup declares, signed by nobody."""
    text = dispatch(Asked(world.zones[BACKUP]), "standby.declare", SOME | changed).body["declaration"]
    return Signed(text, read(text))


def asked(world: World, signed: Signed, at: Endpoint = PARENT) -> dict[str, Any]:
    """What a zone answers whoever asks for a grant."""
    content = base64.b64encode(signed.content().encode()).decode()
    return dispatch(Asked(world.zones[at]), "standby.grant", {"content": content} | WHY).body


def epochs(world: World, at: Endpoint = PARENT) -> tuple[int, int]:
    """The city's epoch as a zone knows it, and how many grants it holds."""
    zone = world.zones[at]
    return zone.topology.by_node[CITY].epoch, len(zone.trust.sealed_grants())


def changed(declaration: Declaration, **parts: Any) -> Signed:
    """Another declaration, signed by two."""
    return signed_by("wang", "li", signed=unsigned(declaration, **parts))


def test_two_persons_grant_a_city(guarded: MakeWorld) -> None:
    """Declared at the backup and signed by two, the next epoch is granted by the parent, and its neighbours believe it."""
    with guarded(2) as world:
        know_persons(world)
        signed = signed_by("wang", "li", signed=declared(world))

        found = asked(world, signed)

        assert (found["node"], found["epoch"], found["signed_by"]) == (CITY, 2, ["wang", "li"])
        assert epochs(world) == (2, 1)
        parent = world.zones[PARENT]
        assert parent.topology.address(EXCHANGE) == "10.9.0.5:7443"
        ministry = world.zones[MINISTRY]
        sealed = decode_envelope(base64.b64decode(found["content"]))
        opened = open_grant(sealed, ministry.trust.book(), ministry.topology, world.now)
        assert opened.declaration == signed.content()
        assert (opened.cuts, opened.without) == (signed.declaration.cuts, ())
        assert epochs(world, MINISTRY) == (1, 0)
        world.settle()
        assert epochs(world, MINISTRY) == epochs(world, EXCHANGE) == (2, 1)


def test_a_granted_file_is_imported_like_any_document(guarded: MakeWorld) -> None:
    """The backup is no neighbour of the parent: it takes the grant in as a file, once."""
    with guarded(2) as world:
        know_persons(world)
        content = asked(world, signed_by("wang", "li", signed=declared(world)))["content"]

        arguments = {"name": "140100.grant", "content": content} | WHY
        first = dispatch(Asked(world.zones[BACKUP]), "trust.import", arguments).body
        again = dispatch(Asked(world.zones[BACKUP]), "trust.import", arguments).body

        assert first["documents"] == [{"kind": "grant", "name": CITY, "number": 2}]
        assert (first["learned"], again["learned"]) == (True, False)
        assert epochs(world, BACKUP) == (2, 1)


def test_a_declaration_is_granted_once(guarded: MakeWorld) -> None:
    """Asked again, later and after a restart, the answer is the same bytes; nothing more is recorded or sealed."""
    with guarded(2) as world:
        know_persons(world)
        signed = signed_by("wang", "li", signed=declared(world))
        first = asked(world, signed)
        world.now += timedelta(hours=100)
        world.restart(PARENT)

        again = asked(world, signed)
        others = asked(world, signed_by("买买提·艾力", signed=signed))

        assert first["content"] == again["content"] == others["content"]
        assert epochs(world) == (2, 1)
        with pytest.raises(UsageError, match="1 lack"):
            asked(world, replace(signed, signatures=signed.signatures[:1]))


def test_a_grant_that_nobody_could_be_shown_is_not_made(
    guarded: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A grant too long for a refused holder to be shown is refused before it is sealed, with what to make shorter."""
    monkeypatch.setattr(granting, "PROOF_BYTES_MAX", 1_000)
    with guarded(2) as world:
        know_persons(world)
        signed = signed_by("wang", "li", signed=declared(world))

        with pytest.raises(UsageError, match=r"at most 1000 bytes .* a shorter --reason"):
            asked(world, signed)
        assert epochs(world) == (1, 0)


def test_another_declaration_of_a_granted_epoch_is_refused(guarded: MakeWorld) -> None:
    """Once an epoch is granted, another text of it is refused and told the next epoch."""
    with guarded(2) as world:
        know_persons(world)
        signed = signed_by("wang", "li", signed=declared(world))
        asked(world, signed)

        with pytest.raises(UsageError, match="epoch: expected 3, got 2"):
            asked(world, changed(signed.declaration, reason="another"))
        assert epochs(world) == (2, 1)


@pytest.mark.parametrize("names", [(), ("wang",), ("wang", "stranger"), ("stranger",)], ids=str)
def test_less_than_two_known_persons_grant_nothing(guarded: MakeWorld, names: tuple[str, ...]) -> None:
    """A stolen single signature, and one beside a stranger's, are refused; the topology stays as it was."""
    with guarded(2) as world:
        know_persons(world)

        with pytest.raises(UsageError, match="declaration: expected"):
            asked(world, signed_by(*names, signed=declared(world)))
        assert epochs(world) == (1, 0)


def test_the_same_person_twice_grants_nothing(guarded: MakeWorld) -> None:
    """One person's signature twice, under the own name or under another's, is refused by both ways."""
    with guarded(2) as world:
        know_persons(world)
        once = signed_by("wang", signed=declared(world))
        twice = replace(once, signatures=once.signatures * 2)
        renamed = replace(once, signatures=(*once.signatures, replace(once.signatures[0], person="li")))
        known = replace(renamed.signatures[1], key=PERSONS["li"])

        with pytest.raises(UsageError, match="wang twice"):
            asked(world, twice)
        with pytest.raises(UnprovableError, match="signature of li"):
            asked(world, renamed)
        with pytest.raises(UnprovableError, match="signature of li"):
            asked(world, replace(renamed, signatures=(once.signatures[0], known)))
        assert epochs(world) == (1, 0)


def test_signatures_of_another_declaration_grant_nothing(guarded: MakeWorld) -> None:
    """Two good signatures laid beside another text are refused."""
    with guarded(2) as world:
        know_persons(world)
        signed = signed_by("wang", "li", signed=declared(world))
        other = unsigned(signed.declaration, addresses=((Zone.EXCHANGE, "6.6.6.6:1"),))

        with pytest.raises(UnprovableError, match="signature of wang"):
            asked(world, replace(other, signatures=signed.signatures))
        assert epochs(world) == (1, 0)


def test_where_nobody_is_known_nothing_is_granted(guarded: MakeWorld) -> None:
    """A node whose settings name no persons grants nothing, whoever signed."""
    with guarded(2) as world:
        know_persons(world, persons={})
        with pytest.raises(UsageError, match="signatures of nobody"):
            asked(world, signed_by("wang", "li", signed=declared(world)))
        assert epochs(world) == (1, 0)


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({"trust_domain": "other.example"}, "trust domain: expected"),
        ({"node": "149900"}, "node: expected one of the topology"),
        ({"node": PROVINCE}, "expected to be asked of 100000/exchange"),
        ({"node": "100000"}, "nobody: the root node has no parent"),
        ({"epoch": 1}, "epoch: expected 2, got 1"),
        ({"epoch": 3}, "epoch: expected 2, got 3"),
        ({"backup": "150000-backup"}, "backup: expected 140000-backup"),
        (
            {"cuts": (GrantedCut(Zone.EXCHANGE, 1, "a" * 64),)},
            "cuts: expected decision, exchange, production",
        ),
        ({"without": (Endpoint("100000", Zone.EXCHANGE),)}, "without: expected of 140000/exchange"),
        ({"without": (EXCHANGE,)}, "without: expected of 140000/exchange"),
        ({"made_at": "2024-11-01T00:00:00Z"}, "expected made between"),
        ({"made_at": "2024-11-07T00:00:00Z"}, "expected made between"),
    ],
    ids=lambda part: next(iter(part)) if isinstance(part, dict) else "",
)
def test_what_does_not_fit_is_not_granted(guarded: MakeWorld, parts: dict[str, Any], text: str) -> None:
    """Two persons' word that does not fit network, node, epoch, neighbours or time is refused and says what would."""
    with guarded(2) as world:
        know_persons(world)
        declaration = declared(world).declaration

        with pytest.raises(UsageError, match=text):
            asked(world, changed(declaration, **parts))
        assert epochs(world) == (1, 0)


def test_an_address_of_a_zone_the_node_has_not_is_not_granted(guarded: MakeWorld) -> None:
    """A province without a production zone is given no address for one, at the backup and at the ministry alike."""
    with guarded(2) as world:
        know_persons(world, "100000")
        declaration = declared(world, node=PROVINCE).declaration

        with pytest.raises(UsageError, match="addresses: expected of decision, exchange, got production"):
            asked(world, changed(declaration, addresses=((Zone.PRODUCTION, "a:1"),)), MINISTRY)
        with pytest.raises(UsageError, match="addresses: expected of decision, exchange, got production"):
            declared(world, node=PROVINCE, addresses={"production": "a:1"})
        assert asked(world, changed(declaration), MINISTRY)["epoch"] == 2


def test_an_old_declaration_is_granted_within_its_time(guarded: MakeWorld) -> None:
    """A declaration counts for as long as the settings say, and no hour longer."""
    with guarded(2) as world:
        know_persons(world, declared_within_hours=5)
        signed = signed_by("wang", "li", signed=declared(world))

        world.now += timedelta(hours=5, minutes=1)
        with pytest.raises(UsageError, match="expected made between"):
            asked(world, signed)
        world.now -= timedelta(minutes=2)
        assert asked(world, signed)["epoch"] == 2


@pytest.mark.parametrize("content", ["%", base64.b64encode(b"{}").decode(), ""])
def test_anything_else_is_no_declaration(guarded: MakeWorld, content: str) -> None:
    """What is no declaration, or not base64, is refused by name."""
    with (
        guarded(2) as world,
        pytest.raises(UsageError, match=r"content: expected base64|declaration: expected"),
    ):
        dispatch(Asked(world.zones[PARENT]), "standby.grant", {"content": content} | WHY)


@pytest.mark.parametrize("name", ["standby.declare", "standby.grant"])
def test_both_acts_need_a_reason(guarded: MakeWorld, name: str) -> None:
    """Neither is done without a reason, and both are in the audit trail."""
    arguments = {"standby.declare": {"node": CITY}, "standby.grant": {"content": ""}}[name]
    with guarded(2) as world, pytest.raises(RoleError, match="--reason"):
        dispatch(Asked(world.zones[BACKUP]), name, arguments)


def test_two_who_ask_at_once_get_one_grant(guarded: MakeWorld) -> None:
    """Of two declarations of one epoch that come at the same time one is granted, and the other is refused."""
    with guarded(2) as world:
        know_persons(world)
        signed = declared(world)
        rivals = [changed(signed.declaration, reason=reason) for reason in ("one", "another")]
        start, said = threading.Barrier(2), list[bytes | JinbaoError]()

        def ask(one: Signed) -> None:
            start.wait()
            try:
                said.append(grant(world.zones[PARENT], one))
            except JinbaoError as exc:
                said.append(exc)

        threads = [threading.Thread(target=ask, args=(one,)) for one in rivals]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(type(answer) is bytes for answer in said) == [False, True]
        assert epochs(world) == (2, 1)


# Declaring.


def test_a_declared_node_stands_still(guarded: MakeWorld) -> None:
    """Each followed zone of the node is paused with the reason, no other is, and the cuts are those of the copies."""
    with guarded(2) as world:
        backup = world.zones[BACKUP]

        signed = declared(world)

        assert backup.index.paused() == dict.fromkeys([EXCHANGE, PRODUCTION], f"declared: {WHY['reason']}")
        cuts = {
            e.zone: backup.cuts.of(journal_of(e))
            for e in (EXCHANGE, PRODUCTION, Endpoint(CITY, Zone.DECISION))
        }
        assert signed.declaration.cuts == tuple(
            GrantedCut(zone, cuts[zone].lsn, cuts[zone].hash) for zone in sorted(cuts)
        )
        assert signed.declaration.epoch == 2
        assert (signed.declaration.node, signed.declaration.backup) == (CITY, BACKUP.node)


def test_asked_again_a_declaration_has_the_same_cuts(guarded: MakeWorld) -> None:
    """While the node stands still cuts do not move, nothing is paused twice, and line resume takes it back."""
    with guarded(2) as world:
        backup = world.zones[BACKUP]
        first = declared(world)

        world.now += timedelta(minutes=5)
        again = declared(world)

        assert again.declaration.cuts == first.declaration.cuts
        assert again.declaration.made_at > first.declaration.made_at
        assert sum(act.act.kind == "paused" for act in all_acts(backup)) == 2
        dispatch(Asked(backup), "line.resume", {"peer": CITY})
        assert backup.index.paused() == {}


@pytest.mark.parametrize("node", ["149900", "100000", BACKUP.node, "nowhere"])
def test_a_node_nobody_protects_here_is_not_declared(guarded: MakeWorld, node: str) -> None:
    """A node that is not protected here is refused with those that are."""
    with guarded(2) as world:
        with pytest.raises(UsageError, match=r"node: expected one that is protected here: .*140100"):
            declared(world, node=node)
        with pytest.raises(UsageError, match="protected here: none"):
            dispatch(Asked(world.zones[PARENT]), "standby.declare", SOME)
        assert world.zones[BACKUP].index.paused() == {}


def objects_named(backup: OpenZone, origin: Endpoint) -> set[str]:
    """Names of what a copy needs; of segments with the same rows two zones have one object."""
    return {name_of(origin, sha256) for sha256 in objects_of(copy_of(backup, origin))}


@pytest.mark.parametrize("wrong", ["none", "missing", "held", "damaged"])
def test_a_copy_that_cannot_be_built_from_is_not_declared(guarded: MakeWorld, wrong: str) -> None:
    """A zone without a copy, with missing or damaged segments or a held stream stops it, and nothing stands still."""
    with guarded(2) as world:
        backup, stream = world.zones[BACKUP], journal_of(PRODUCTION)
        cut = backup.cuts.of(stream)
        match wrong:
            case "held":
                backup.ledger.record(acts.held(stream, cut.seq, "rollback", "a test", []))
            case "damaged":
                path = backup.shelf.path(
                    min(objects_named(backup, PRODUCTION) - objects_named(backup, DECISION))
                )
                path.write_bytes(path.read_bytes()[:-1])
                while not backup.scrub.progress().bad:
                    world.now += timedelta(days=1)
                    backup.scrub.step(lambda *_: False)
            case _:
                none = wrong == "none"
                backup.ledger.record(
                    acts.followed(
                        stream=stream, seq=cut.seq, head=cut.head, lsn=0 if none else cut.lsn, digest=cut.hash,
                        at=cut.at, captured_at=cut.captured_at, missing=0 if none else 2,
                    )
                )  # fmt: skip

        with pytest.raises(UsageError if wrong == "none" else LocalError, match=f"copy of {PRODUCTION}"):
            declared(world)
        assert backup.index.paused() == {}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"addresses": {"exchange": "nowhere"}}, "host:port"),
        ({"addresses": {"cellar": "a:1"}}, "cellar"),
        ({"without": ["100000/exchange"]}, "without: expected of 140000/exchange"),
        ({"without": ["nobody"]}, "nobody"),
        ({"reason": "x" * 501}, "reason"),
    ],
)
def test_wrong_words_make_nothing_stand_still(
    guarded: MakeWorld, arguments: dict[str, Any], text: str
) -> None:
    """Whatever is wrong with the words is said before the node is paused."""
    with guarded(2) as world:
        with pytest.raises(UsageError, match=text):
            declared(world, **arguments)
        assert world.zones[BACKUP].index.paused() == {}


def test_a_reason_is_one_line_without_numbers_of_persons(guarded: MakeWorld) -> None:
    """Line ends and wide blanks become blanks, and an identity number is masked before it is signed by anyone."""
    with guarded(2) as world:
        said = declared(world, reason="火灾\n值班员　110105194912310021 报告").declaration.reason

        assert said == "火灾 值班员 110105********0021 报告"


def test_what_was_accepted_is_cut_first(guarded: MakeWorld) -> None:
    """A batch that came and is not cut yet would move the cut: the node is paused, and nothing is declared before."""
    with guarded(2) as world:
        world.business[PRODUCTION].edit()
        world.capture_all()
        world.apply(PRODUCTION)
        world.follow(BACKUP, PRODUCTION)
        before = world.zones[BACKUP].cuts.of(journal_of(PRODUCTION))

        with pytest.raises(LocalError, match=f"nothing on its way, got {PRODUCTION}"):
            declared(world)
        world.apply(BACKUP)
        found = declared(world).declaration

        assert {cut.zone: cut.lsn for cut in found.cuts}[Zone.PRODUCTION] > before.lsn


@dataclass
class Following:
    """A process whose worker follows the city's production zone in rounds of its own."""

    workers: Mapping[str, Worker]
    woken: list[str] = field(default_factory=list)

    def readiness(self) -> list[str]:
        """Ready."""
        return []

    def capture_now(self) -> None:
        """Nothing."""

    def contacts(self) -> Mapping[str, Contact]:
        """None."""
        return {}


def test_a_round_that_began_before_is_waited_for(guarded: MakeWorld) -> None:
    """What a round brings that was on its way when the node was declared is in the cut, not behind it."""
    with guarded(2) as world:
        bring(world, PRODUCTION)
        world.business[PRODUCTION].edit()
        world.capture_all()
        world.apply(PRODUCTION)
        backup, rounds, under_way = world.zones[BACKUP], itertools.count(), threading.Event()
        before = backup.cuts.of(journal_of(PRODUCTION))

        def step() -> bool:
            if next(rounds) == 0:
                under_way.set()
                time.sleep(0.3)
                world.follow(BACKUP, PRODUCTION)
                world.apply(BACKUP)
            return False

        worker = Worker(
            f"follow {PRODUCTION}",
            step,
            pace=Pace(PaceLimits(interval_s=30), world.rng),
            observer=backup.observer,
            on_bug=lambda _exc: None,
        )
        worker.start()
        assert under_way.wait(10)
        answer = dispatch(Asked(backup, Following({worker.name: worker})), "standby.declare", SOME).body
        worker.stop(10)

        cut = backup.cuts.of(journal_of(PRODUCTION))
        assert cut.lsn > before.lsn
        declared_cuts = {c.zone: c.lsn for c in read(answer["declaration"]).cuts}
        assert declared_cuts[Zone.PRODUCTION] == cut.lsn


@pytest.mark.parametrize(
    ("section", "text"),
    [
        ({"persons": {"wang": PERSONS["wang"], "li": PERSONS["wang"]}}, "one of wang and li"),
        ({"persons": {"wang": "c2hvcnQ="}}, "key of wang: expected 32 bytes"),
        ({"persons": {"a\nb": PERSONS["wang"]}}, "name of at most 40"),
        ({"persons_min": 1}, "greater than or equal to 2"),
        ({"declared_within_hours": 0}, "greater than 0"),
    ],
)
def test_settings_by_which_one_could_grant_do_not_start(section: dict[str, Any], text: str) -> None:
    """One key for two names, a key that is none and fewer than two persons are refused when settings are read."""
    with pytest.raises(ValueError, match=text):
        PromotionSettings(**section)
