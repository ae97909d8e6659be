"""A running zone whose identity was granted to another: it learns so, works no more, and goes on answering whoever asks."""

from __future__ import annotations

import base64
import json
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cli.conftest import Say
from tests.link.wires import Wire, wire
from tests.servers import await_
from tests.sim.business import Business
from tests.sim.invariants import headers
from tests.sim.world import Plan
from tests.standby.following import BACKUP, CITY
from tests.standby.lost import ABOVE, PACE, WHY, Lost, Process, lost, process

from jinbao.appliance.admin_client import AskedError
from jinbao.appliance.assembly import OpenZone
from jinbao.appliance.loopback import free_port
from jinbao.appliance.network import write_settings
from jinbao.appliance.settings import Settings, load
from jinbao.authority.identity_files import load_identity
from jinbao.model.stream import StreamId
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust.documents import decode_topology, seal_topology
from jinbao.trust.encoding import decode_envelope, envelope_message

pytestmark = pytest.mark.processes

PRODUCTION, EXCHANGE = Endpoint(CITY, Zone.PRODUCTION), Endpoint(CITY, Zone.EXCHANGE)
ANOTHER = "another holder has the identity of this zone: it is read only"


@pytest.fixture
def city(guarded_plan: Plan, tmp_path: Path, say: Say) -> Lost:
    """A network with a backup site after a first submission; every zone is stopped."""
    return lost(guarded_plan, tmp_path / "net", say)


@contextmanager
def running(settings: Settings, logs: Path) -> Iterator[tuple[Process, Process]]:
    """The two zones of a city that speak to others, in processes of their own: production and exchange."""
    logs.mkdir(exist_ok=True)
    with ExitStack() as stack:
        opened = [
            stack.enter_context(process(settings, zone, logs / f"{zone}.jsonl"))
            for zone in (Zone.EXCHANGE, Zone.PRODUCTION)
        ]
        yield opened[1], opened[0]


def edit(settings: Settings) -> None:
    """The clerks of a city change rows in its business database."""
    Business(settings.data_directory / "business.db", random.Random(time.monotonic_ns())).edit()


def steps_down(zone: Process) -> None:
    """Wait until a process says that another holds its identity."""
    await_(lambda: ANOTHER in zone.page("/-/ready")[1])


def refused(zone: Process, question: str, **arguments: object) -> str:
    """The code by which a question is refused."""
    with pytest.raises(AskedError) as caught:
        zone.ask(question, **arguments)
    return caught.value.code


def _is_at_rest(zones: Sequence[Process]) -> bool:
    """Whether the rounds that were under way have ended: nothing is recorded for as long as thirty rounds take."""
    before = [zone.acts() for zone in zones]
    time.sleep(30 * PACE["interval_s"])
    return [zone.acts() for zone in zones] == before


def libraries(heads: dict[str, int]) -> dict[str, int]:
    """Heads without those of the acts themselves."""
    return {stream: seq for stream, seq in heads.items() if "/journal/" not in stream}


@pytest.mark.fault_row(52)
def test_a_running_city_steps_down_and_stays_so(city: Lost, tmp_path: Path) -> None:
    """At its next call it records the grant, tells its other zones, works no more and answers; so it is after a restart."""
    settings = city.settings(CITY)
    with city.serving(), running(settings, tmp_path / "logs") as zones:
        production, exchange = zones
        edit(settings)
        production.capture()
        before = libraries(production.heads())
        assert exchange.page("/-/ready")[0] == 200

        city.granted()
        for zone in zones:
            steps_down(zone)
        await_(lambda: _is_at_rest(zones))
        heads, acts = [zone.heads() for zone in zones], [zone.acts() for zone in zones]
        run = production.ask("capture.show")["run"]
        edit(settings)
        assert refused(production, "capture.run") == "superseded"
        assert refused(exchange, "line.resume", **WHY) == "superseded"
        time.sleep(1.0)

        assert libraries(production.heads()) == before
        assert [zone.heads() for zone in zones] == heads
        assert [zone.acts() for zone in zones] == acts
        assert production.ask("capture.show")["run"] == run
        for zone in zones:
            status, body = zone.page("/-/ready")
            assert (status, ANOTHER in json.loads(body)["reasons"]) == (503, True)
            assert len(zone.events("zone_superseded")) == 1
            metrics = zone.page("/metrics")[1]
            assert "jinbao_zone_superseded 1.0" in metrics
            assert "jinbao_identity_epoch 1.0" in metrics
        assert 'jinbao_peers_refused_total{code="stale_epoch"}' in exchange.page("/metrics")[1]
        learned = [[event["peer"] for event in zone.events("trust_learned")] for zone in zones]
        assert learned == [[str(EXCHANGE)], [str(ABOVE)]]

    with running(settings, tmp_path / "logs") as zones:
        for zone, held in zip(zones, heads, strict=True):
            status, body = zone.page("/-/ready")
            assert (status, json.loads(body)["reasons"]) == (503, [ANOTHER])
            assert zone.heads() == held
            assert refused(zone, "standby.rotate") == "superseded"
            assert len(zone.events("zone_superseded")) == 2


def test_a_backup_shows_the_epoch_it_knows(city: Lost) -> None:
    """The epoch of each protected node is a gauge of its backup, which moves when the grant is learned."""
    grant = city.granted()
    with city.serving(BACKUP) as backup:

        def epochs() -> list[float | None]:
            read = backup.zone.metrics.registry.get_sample_value
            return [read("jinbao_standby_epoch", {"node": node}) for node in (CITY, ABOVE.node)]

        before = epochs()
        content = base64.b64encode(grant.read_bytes()).decode()
        city.ask(BACKUP, "trust.import", name=grant.name, content=content, **WHY)

        assert (before, epochs()) == ([1.0, 1.0], [2.0, 1.0])


@contextmanager
def cut_off(city: Lost) -> Iterator[tuple[Settings, Wire]]:
    """The city as it is now, reached by nobody, whose only way to its province is a wire that is cut."""
    old = city.settings(CITY)
    topology = decode_topology(decode_envelope(old.topology_file.read_bytes()).payload)
    with wire(topology.address(ABOVE)) as way:
        way.part()
        settings = Settings(**(old.model_dump(exclude_unset=True) | _elsewhere(city, topology, way.address)))
        write_settings(old.data_directory, settings)
        yield settings, way
    write_settings(old.data_directory, old)


def _elsewhere(city: Lost, topology: Topology, above: str) -> dict[str, Path]:
    """A topology in which the province is at an address, and the city where nobody else looks for it."""
    rows = []
    for row in topology.rows:
        addresses = dict(row.addresses)
        if row.node == CITY:
            addresses = {zone: f"127.0.0.1:{free_port()}" for zone in addresses}
        elif row.node == ABOVE.node:
            addresses[ABOVE.zone] = above
        rows.append(replace(row, addresses=tuple(sorted(addresses.items()))))
    signer = load_identity(city.directory / "100000" / "exchange" / "identity")
    sealed = seal_topology(replace(topology, rows=tuple(rows)), signer)
    path = city.directory / "cut-off.sealed"
    path.write_bytes(envelope_message(sealed).SerializeToString())
    return {"topology_file": path}


@pytest.mark.fault_row(52)
def test_a_city_that_was_only_cut_off_comes_back_to_another_holder(city: Lost, tmp_path: Path) -> None:
    """Cut off it seals on; promoted at its backup and let in again it steps down, and its tail is nowhere but with it."""
    place, stream = city.place(), StreamId(PRODUCTION, "pension_macro")
    with ExitStack() as stack:
        province = stack.enter_context(city.serving()).zone
        settings, way = stack.enter_context(cut_off(city))
        old = stack.enter_context(running(settings, tmp_path / "old"))
        before = _epochs(province, stream, 1)
        edit(settings)
        old[0].capture()
        tail = libraries(old[0].heads())
        grant = city.granted()
        city.know(grant)
        with city.enrolling() as token:
            said = city.say(*city.arguments(grant, place, "--token", str(token), "--json"))
        assert said.code == 0, said.err
        new = load(place)
        production, _ = stack.enter_context(running(new, tmp_path / "new"))
        assert [zone.events("zone_superseded") for zone in old] == [[], []]

        way.heal()
        for zone in old:
            steps_down(zone)
        edit(new)
        production.capture()
        await_(lambda: province.index.mark(stream).epoch == 2)

        assert libraries(old[0].heads()) == tail
        assert tail[str(stream)] > before[-1]
        assert _epochs(province, stream, 1) == before
        assert province.index.held() == {}


def _epochs(zone: OpenZone, stream: StreamId, epoch: int) -> list[int]:
    """Numbers of the batches of one epoch that a zone has of a stream."""
    return [header.seq for header in headers(zone, stream) if header.epoch == epoch]
