"""What a running zone comes to trust by hand: documents imported, documents laid into its directory, its own renewal."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.link.parts import CITY, PROVINCE
from tests.link.zones import Zones, zones
from tests.trust.authorities import der, root

from jinbao.appliance.assembly import OpenZone, open_zone
from jinbao.appliance.network import AUTHORITIES
from jinbao.appliance.questions import Asked, dispatch
from jinbao.appliance.renewing import Renewing, zone_standing
from jinbao.appliance.trust_drop import TrustDrop
from jinbao.authority.demo import DemoAuthorities
from jinbao.authority.renewal import Renewal
from jinbao.authority.trust_files import write_trust
from jinbao.model.errors import JinbaoError, LocalError, RevokedError
from jinbao.trust.identity import Use


@dataclass(frozen=True)
class Place:
    """A province's exchange zone, and the authorities of its network."""

    zone: OpenZone
    zones: Zones
    authorities: DemoAuthorities

    def taken_back(self) -> bytes:
        """A file of all documents, after the city's certificates were taken back."""
        self.authorities.revoke(CITY, self.zone.topology, "key-compromise")
        return write_trust(self.authorities.documents())

    def is_city_proved(self) -> bool:
        """Whether the city's line still counts here."""
        chain = self.zones.network.identity(CITY).tls_chain
        try:
            self.zone.trust.book().prove(chain[0], chain[1:], self.zone.ports.now(), Use.LINE)
        except RevokedError:
            return False
        return True


def place_of(opened: Zones, zone: OpenZone) -> Place:
    """A zone beside the authorities of its network."""
    directory = opened.network.directory / AUTHORITIES
    authorities = DemoAuthorities(directory=directory)
    for folder in sorted(directory.iterdir()):
        authorities.authority(folder.name, opened.network.topology.trust_domain)
    return Place(zone, opened, authorities)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A new network of which the province's exchange zone is open."""
    with zones(tmp_path / "network", PROVINCE) as opened:
        yield place_of(opened, opened[PROVINCE])


def imported(zone: OpenZone, content: bytes) -> dict[str, Any]:
    """The answer to an import."""
    arguments = {"name": "given.pem", "content": b64encode(content).decode(), "reason": "a test"}
    return dict(dispatch(Asked(zone), "trust.import", arguments).body)


def test_an_imported_list_counts_at_once_and_is_news_once(place: Place) -> None:
    """A list that takes a city back is believed from its import on, shown with its number, and no news again."""
    content = place.taken_back()
    assert place.is_city_proved()

    first, again = imported(place.zone, content), imported(place.zone, content)

    assert (first["learned"], again["learned"]) == (True, False)
    assert not place.is_city_proved()
    shown = dispatch(Asked(place.zone), "trust.list", {}).body
    assert sum(one["revoked"] for one in shown["lists"]) == 2  # line and seal
    assert {one["authority"] for one in shown["roots"]} == {"root"}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "expected certificates and lists"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "got "),
        (write_trust([der(root().certificate)]), "expected an authority that leads to a root held here"),
    ],
    ids=["empty", "a key", "a stranger"],
)
def test_what_proves_nothing_is_refused_whole(place: Place, content: bytes, expected: str) -> None:
    """A file without documents, with a key or of a stranger's root changes nothing and says what was expected."""
    before = place.zone.trust.book()

    with pytest.raises(JinbaoError, match=expected):
        imported(place.zone, content)

    assert place.zone.trust.book() is before


def test_a_file_laid_down_is_taken_in_once(place: Place, tmp_path: Path) -> None:
    """A file in the directory is learned once; one that proves nothing stays, and keeps no other from being learned."""
    drop, directory = TrustDrop(place.zone.trust), tmp_path / "drop"
    directory.mkdir()
    assert not drop.step(directory / "nothing")
    stranger = directory / "a-stranger.pem"
    stranger.write_bytes(write_trust([der(root().certificate)]))
    (directory / "b-list.pem").write_bytes(place.taken_back())
    (directory / "c-link.pem").symlink_to(stranger)

    assert [drop.step(directory) for _ in range(3)] == [True, False, False]
    assert not place.is_city_proved()
    assert stranger.is_file()


def test_what_was_learned_outlives_the_process(tmp_path: Path) -> None:
    """A zone opened again believes the list it was given before."""
    with zones(tmp_path / "network") as opened:
        settings = opened.settings[PROVINCE.node]
        with closing(open_zone(settings, PROVINCE.zone)) as zone:
            imported(zone, place_of(opened, zone).taken_back())
            held = zone.trust.book().known
        with closing(open_zone(settings, PROVINCE.zone)) as zone:
            again = place_of(opened, zone)

            assert zone.trust.book().known == held
            assert not again.is_city_proved()


@pytest.mark.fault_row(39)
def test_a_zone_says_when_its_renewal_is_late(place: Place) -> None:
    """Without an authority in reach a zone is fresh, then due in silence, then late aloud, then ended with what to do."""
    until, now = place.zone.identity.until, place.zone.ports.now()
    life = until - now

    def at(share: float) -> OpenZone:
        moment = now + life * share
        return replace(place.zone, ports=replace(place.zone.ports, now=lambda: moment))

    assert not Renewing(at(0.1)).step()
    assert zone_standing(at(0.6)) is Renewal.DUE
    assert not Renewing(at(0.6)).step()
    with pytest.raises(LocalError, match="jinbao enrol --renew --zone exchange --request FILE"):
        Renewing(at(0.9)).step()
    late = replace(place.zone, ports=replace(place.zone.ports, now=lambda: until + timedelta(seconds=1)))
    with pytest.raises(LocalError, match="jinbao enrol --token FILE"):
        Renewing(late).step()
