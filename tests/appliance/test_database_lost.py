"""A zone whose PostgreSQL goes away stays up, says why, holds nothing, and goes on by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.link.parts import CITY, PROVINCE, dialling, listening
from tests.link.zones import TOPICS, Zones, accepted, seal, serving, zones
from tests.servers import OwnServer, await_

from jinbao.appliance.assembly import open_zone
from jinbao.appliance.serve import ZoneService
from jinbao.appliance.settings import Settings
from jinbao.appliance.web import WebPort
from jinbao.model.errors import LinkError, UnavailableError
from jinbao.model.zone import Zone


@pytest.fixture
def server() -> Iterator[OwnServer]:
    """A server that tests kill and start again."""
    made = OwnServer()
    yield made
    made.close()


def on_postgresql(settings: Settings, zone: Zone, url: str) -> Settings:
    """The node's settings with one zone's database on a server."""
    body: dict[str, Any] = settings.model_dump(exclude_unset=True)
    found = settings.zones[zone].model_dump(exclude_unset=True)
    return Settings(**body | {"zones": body["zones"] | {zone: found | {"database": url}}})


@contextmanager
def a_province(opened: Zones, url: str) -> Iterator[ZoneService]:
    """The province serving over a PostgreSQL, beside a city that listens."""
    settings = on_postgresql(opened.settings[PROVINCE.node], PROVINCE.zone, url)
    city = opened.network.topology.address(CITY)
    with (
        listening(opened.network, CITY, opened[CITY].counter, address=city) as here,
        serving(open_zone(settings, PROVINCE.zone)) as service,
    ):
        opened[CITY].observer.event = lambda *_, **__: here.server.wake()  # type: ignore[method-assign]
        yield service


def page(service: ZoneService, path: str) -> tuple[int, str]:
    """What the zone's web port answers."""
    web = next(part for part in service.parts if isinstance(part, WebPort))
    status, _, body = web.answer(path)
    return status, body.decode()


def about_database(service: ZoneService) -> list[str]:
    """Reasons of not being ready that speak of the database; neighbours that do not run give others."""
    reasons = json.loads(page(service, "/-/ready")[1])["reasons"]
    return [reason for reason in reasons if "database" in reason]


@pytest.mark.database
def test_a_zone_outlives_its_database(tmp_path: Path, server: OwnServer) -> None:
    """While the server is dead the zone says so and is not ready; afterwards every batch is accepted, once, in order."""
    with zones(tmp_path / "network", CITY) as opened, a_province(opened, server.sqlalchemy_url()) as service:
        seal(opened[CITY], 3)
        await_(lambda: accepted(service.zone) == {topic: [1, 2, 3] for topic in TOPICS})

        server.kill()
        seal(opened[CITY], 3)
        await_(lambda: isinstance(service.workers["follow 140100/exchange"].last_error, UnavailableError))
        while_dead = page(service, "/-/ready")[0], about_database(service)
        scraped = page(service, "/metrics")
        with (
            dialling(opened.network, CITY, PROVINCE, opened.network.topology.address(PROVINCE)) as child,
            pytest.raises(LinkError, match="expected a zone that can answer, got unavailable"),
        ):
            child.headers([], 10, 0.0)

        server.start()
        await_(lambda: not about_database(service))
        await_(lambda: accepted(service.zone) == {topic: list(range(1, 7)) for topic in TOPICS})

        assert while_dead[0] == 503
        assert any("expected a database that answers" in reason for reason in while_dead[1])
        assert scraped[0] == 200
        assert "jinbao_database_up 0.0" in scraped[1]
        assert "jinbao_database_up 1.0" in page(service, "/metrics")[1]
        assert service.zone.index.held() == {}
        assert service.failure is None


@pytest.mark.database
def test_a_zone_does_not_start_without_its_database(tmp_path: Path, server: OwnServer) -> None:
    """With its server down a zone says which database it wants, without the password, and leaves nothing locked."""
    with zones(tmp_path / "network") as opened:
        url = server.sqlalchemy_url().replace("postgres@", "postgres:top-secret@")
        settings = on_postgresql(opened.settings[PROVINCE.node], PROVINCE.zone, url)
        server.kill()

        with pytest.raises(UnavailableError, match="expected a database that answers") as found:
            open_zone(settings, PROVINCE.zone)
        server.start()
        open_zone(settings, PROVINCE.zone).close()

    assert "top-secret" not in str(found.value)
