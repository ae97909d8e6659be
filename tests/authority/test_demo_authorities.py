"""The authorities of a demonstration are those of a real network, only all in one process."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from tests.authority.parts import CITY, DOMAIN, MUNICIPALITY, NOW, row, topology

from jinbao.authority.demo import DemoAuthorities
from jinbao.authority.identity_files import load_identity
from jinbao.authority.profile import ROOT
from jinbao.authority.trust_files import parse, roots_in_force
from jinbao.model.topology import Topology
from jinbao.model.zone import Tier
from jinbao.trust.book import TrustBook
from jinbao.trust.chain import issued
from jinbao.trust.identity import check_row, parse_identity

CITIES = topology()
WIDE = Topology(DOMAIN, 1, (*CITIES.rows, row("140200", Tier.CITY, "140000")))


def test_every_zone_of_a_network_has_its_identity(tmp_path: Path) -> None:
    """Each zone gets both certificates by the authority its row names, all below one root, quickly."""
    authorities = DemoAuthorities(now=NOW)
    endpoints = list(WIDE.endpoints())
    began = time.monotonic()

    for endpoint in endpoints:
        authorities.issue(endpoint, WIDE, tmp_path / str(endpoint))
    took = time.monotonic() - began

    for endpoint in endpoints:
        identity = load_identity(tmp_path / str(endpoint))
        check_row(parse_identity(identity.seal_chain[0]), WIDE)
        names = identity.chain[1].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        [uri] = names.get_values_for_type(x509.UniformResourceIdentifier)
        assert uri == f"spiffe://{DOMAIN}/authority/{WIDE.issuer(endpoint.node)}"
        assert issued(identity.chain[1], identity.anchors[0])
        assert set(identity.trust) == set(authorities.documents())
    assert len(endpoints) == 15
    assert took < 5  # a fifth of a second on an idle machine


def test_a_life_may_be_as_long_as_a_simulation(tmp_path: Path) -> None:
    """A life of ten years is granted, and every authority and list above lives longer."""
    authorities = DemoAuthorities(now=NOW, life=timedelta(days=3650))

    authorities.issue(CITY, CITIES, tmp_path)

    identity = load_identity(tmp_path)
    end = NOW + timedelta(days=3650)
    assert identity.chain[0].not_valid_after_utc == end
    for document in map(parse, identity.trust):
        last = (
            document.not_valid_after_utc
            if isinstance(document, x509.Certificate)
            else document.next_update_utc
        )
        assert last is not None
        assert last >= end


def test_a_zone_is_taken_back(tmp_path: Path) -> None:
    """A revoked zone's serials stand on the newest list of its authority, and on no other."""
    authorities = DemoAuthorities(now=NOW)
    for endpoint in (CITY, MUNICIPALITY):
        authorities.issue(endpoint, CITIES, tmp_path / endpoint.node)

    authorities.revoke(CITY, CITIES, "key-compromise", NOW)

    lists = [d for d in map(parse, authorities.documents()) if not isinstance(d, x509.Certificate)]
    identity = load_identity(tmp_path / CITY.node)
    listed = {entry.serial_number for found in lists for entry in found}
    assert listed == {identity.chain[0].serial_number, identity.seal_chain[0].serial_number}


def test_root_and_authority_change_their_keys(tmp_path: Path) -> None:
    """A demonstration can show both rotations to their end."""
    authorities = DemoAuthorities(now=NOW)
    authorities.issue(CITY, CITIES, tmp_path)
    old = load_identity(tmp_path)

    for name in (ROOT, "140000"):
        authorities.prepare(name)
        authorities.activate(name)
    authorities.taint("140000")
    authorities.retire(ROOT)
    authorities.issue(CITY, CITIES, tmp_path)

    new = load_identity(tmp_path)
    book = TrustBook.of(new.anchors, new.trust)
    assert new.anchors == roots_in_force(new.trust) != old.anchors
    assert issued(new.chain[1], new.anchors[0])
    assert book.is_tainted(old.chain[1])
    assert not book.is_tainted(new.chain[1])
