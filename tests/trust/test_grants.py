"""Grants as documents: who may seal one, and when a holder's word ends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jinbao.appliance.network import DEMO_NODES, plan_topology
from jinbao.authority.demo import DemoAuthorities
from jinbao.authority.identity_files import load_identity
from jinbao.model.errors import IdentityError, RevokedError
from jinbao.model.grant import Grant
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust.book import TrustBook
from jinbao.trust.grants import open_grant, seal_grant

ROOT, PROVINCE = Endpoint("100000", Zone.EXCHANGE), Endpoint("140000", Zone.EXCHANGE)
CITY, SIBLING = Endpoint("140100", Zone.EXCHANGE), Endpoint("140200", Zone.EXCHANGE)
NOW = datetime(2024, 11, 5, tzinfo=UTC)


@dataclass
class Network:
    """Authorities, and who seals grants of the city as of when."""

    directory: Path
    authorities: DemoAuthorities

    def opened(self, signer: Endpoint, made_at: datetime) -> Grant:
        """A grant of the city by a signer, opened two days later by what the authorities say now."""
        topology = plan_topology(DEMO_NODES)
        home = self.directory / signer.node
        if not home.exists():
            self.authorities.issue(signer, topology, home)
        identity = load_identity(home)
        at = f"{made_at:%Y-%m-%dT%H:%M:%SZ}"
        grant = Grant(topology.trust_domain, CITY.node, 2, (), (), (), "{}", at)
        book = TrustBook.of(identity.anchors, self.authorities.documents())
        return open_grant(seal_grant(grant, identity), book, topology, NOW + timedelta(days=2))


@pytest.fixture
def network(tmp_path: Path) -> Network:
    """Nobody certified yet."""
    return Network(tmp_path, DemoAuthorities(now=NOW))


def test_the_parent_alone_grants(network: Network) -> None:
    """A city is granted by its province; by the ministry, a sibling or itself it is not."""
    assert network.opened(PROVINCE, NOW).node == CITY.node
    for other in (ROOT, SIBLING, CITY):
        with pytest.raises(IdentityError, match="140000/exchange, its parent"):
            network.opened(other, NOW)


def test_a_superseded_parent_grants_nothing_more(network: Network) -> None:
    """Once its authority took a former holder's certificates back, what it granted before counts and nothing later."""
    network.opened(PROVINCE, NOW)
    taken_back = NOW + timedelta(hours=1)
    network.authorities.revoke(PROVINCE, plan_topology(DEMO_NODES), "superseded", taken_back)

    assert network.opened(PROVINCE, NOW + timedelta(minutes=59)).epoch == 2
    with pytest.raises(RevokedError):
        network.opened(PROVINCE, taken_back + timedelta(minutes=1))
