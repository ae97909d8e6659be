"""Revocation lists good for a day in a network whose authority is a host of its own: who asks, and whom it reaches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from tests.sim.world import World, lay_down, world

from jinbao.appliance.asking_authorities import AskingAuthorities
from jinbao.authority.authority import Authority
from jinbao.model.errors import LinkError
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust.identity import authority_name
from jinbao.trust.revocation import key_id

PROVINCE = Endpoint("140000", Zone.EXCHANGE)
JUDGES_NOBODY = Endpoint("100000", Zone.DECISION)
"""What comes to the ministry's decision zone is sealed by its own exchange zone: no province certified that."""

ADDRESS = "10.14.0.7:7443"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def lives(made: World, name: str) -> dict[Endpoint, timedelta]:
    """How long the newest list of an authority holds at each zone that needs it, from now on."""
    found = {}
    for endpoint, zone in made.zones.items():
        if endpoint == JUDGES_NOBODY:
            continue
        book = zone.trust.book()
        keys = [key_id(c) for c in book.authorities if authority_name(c) == name]
        found[endpoint] = max(book.crls[key].next_update for key in keys if key in book.crls) - made.now
    return found


class Asker:
    """The province's zone asks its authority, which may be away."""

    def __init__(self, made: World, authority: Authority) -> None:
        self.authority, self.is_away = authority, False
        self.asking = AskingAuthorities(made.zones[PROVINCE], self._ask)

    def _ask(self, authority: str, address: str, roots: bytes) -> Sequence[bytes]:
        assert (authority, address, b"CERTIFICATE" in roots) == (PROVINCE.node, ADDRESS, True)
        if self.is_away:
            raise LinkError(f"authority at {address}", expected="an answer", got="none")
        return self.authority.documents()


def test_the_list_of_a_day_reaches_every_zone(tmp_path: Path) -> None:
    """Where a province asks, all zones have lists in their time, and again at once when the authority was away for days."""
    plan = lay_down(tmp_path / "network", 1)
    named = plan.settings[PROVINCE.node].model_copy(update={"authorities": {PROVINCE.node: ADDRESS}})
    plan = replace(plan, settings=plan.settings | {PROVINCE.node: named})
    authority = plan.authorities.authority(PROVINCE.node, plan.topology.trust_domain)
    authority.policy = replace(authority.policy, crl=DAY)
    with world(plan, tmp_path / "world", 1) as made:
        asker = Asker(made, authority)
        authority.crl(made.now)

        def pass_by(hours: int) -> None:
            for _ in range(hours // 3):
                made.now += 3 * HOUR
                authority.crl(made.now, due_only=True)
                asker.asking.step()
                made.settle()

        pass_by(48)
        assert min(lives(made, PROVINCE.node).values()) >= 9 * HOUR
        assert len(lives(made, PROVINCE.node)) == 6
        asker.is_away = True
        pass_by(72)
        assert max(lives(made, PROVINCE.node).values()) < timedelta()
        asker.is_away = False
        pass_by(3)

        assert min(lives(made, PROVINCE.node).values()) >= 9 * HOUR
