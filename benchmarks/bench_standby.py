"""What a backup costs whom it protects, and how fast a lost zone comes back, beside PostgreSQL's own ways.

Prints, judges nothing. A city seals its persons; its exchange zone accepts and applies them over PostgreSQL,
then seals its acts for the backup and gives every segment as ciphertext. The backup fetches and cuts, and the
exchange zone is built again from it in an empty database. Beside that, the same rows as the same Parquet files
are copied into one table with a primary key, and come back with `pg_restore`. CPU-seconds are of this process and the
server's. `--rows 10000000` is what the goals speak of.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl
import structlog

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.line.meter import cpu_s
from benchmarks.line.people import PERIOD, REGION
from benchmarks.line.server import Server, serving
from benchmarks.line.sources import Business, load_postgresql
from benchmarks.line.zones import CITY, LIBRARY, MINISTRY, PRODUCTION, PROVINCE, STANDARDS, LeanNode

from jinbao.appliance.assembly import OpenZone, open_zone
from jinbao.appliance.guarding import copy_of
from jinbao.appliance.network import COPY_KEYS, make_network
from jinbao.appliance.restoring import Place, rebuild
from jinbao.appliance.settings import Settings
from jinbao.authority.copy_keys import load_copy_key
from jinbao.flow.ports import Peer
from jinbao.model.batch import SealedBatch, SegmentRef
from jinbao.model.stream import Mark, StreamId
from jinbao.model.zone import Endpoint, Tier, Zone
from jinbao.standby.objects import Opener
from jinbao.store.copying import copy_frames
from jinbao.store.engine import Store

BACKUP = Endpoint("140000-backup", Zone.EXCHANGE)
_CHUNK = 1 << 20


@dataclass
class Near:
    """A neighbour in this process: what it would serve over the line, without the line."""

    me: Endpoint
    zone: OpenZone
    endpoint: Endpoint = field(init=False)

    def __post_init__(self) -> None:
        """It is who it is."""
        self.endpoint = self.zone.me

    def headers(self, marks: Sequence[Mark], limit: int, _wait_s: float) -> list[SealedBatch]:
        """Sealed batches beyond the marks."""
        return self.zone.counter.headers(self.me, marks, limit)

    def fetch(self, stream: StreamId, seq: int, ref: SegmentRef, offset: int) -> Iterator[bytes]:
        """Bytes of a segment, as this caller is given them."""
        path = self.zone.counter.open_segment(self.me, stream, seq, ref.sha256)
        assert path is not None, "only what was shown is fetched"
        with path.open("rb") as file:
            file.seek(offset)
            while chunk := file.read(_CHUNK):
                yield chunk


class Cost:
    """Seconds, and CPU-seconds of this process and of the server's tree, since it was made."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._began, self._own, self._other = time.monotonic(), time.process_time(), cpu_s(server.pid)

    def told(self, what: str, *, rows: int = 0) -> tuple[float, float]:
        """Print one line; returns seconds and CPU-seconds."""
        seconds, own = time.monotonic() - self._began, time.process_time() - self._own
        other = cpu_s(self._server.pid) - self._other
        speed = f", {rows / seconds / 1000:.0f} k rows/s" if rows else ""
        print(f"{what:<42} {seconds:7.2f} s, CPU {own:6.2f} s + server {other:6.2f} s{speed}", flush=True)
        return seconds, own + other


def _network(directory: Path, server: Server, source: str) -> dict[str, Settings]:
    """Settings of a city whose exchange zone is protected, and of its backup; databases fresh in the server."""
    nodes = (
        LeanNode(MINISTRY.node, "部级数据中心", "Ministry", Tier.MINISTRY, ""),
        LeanNode(PROVINCE.node, "山西省数据中心", "Shanxi", Tier.PROVINCE, MINISTRY.node),
        LeanNode(
            REGION, "太原市", "Taiyuan", Tier.CITY, PROVINCE.node, sources=({"name": "city", "url": source},)
        ),
        LeanNode(BACKUP.node, "灾备", "Backup", Tier.PROVINCE, MINISTRY.node, protects=(REGION,)),
    )
    _, made = make_network(
        directory, nodes, overrides={"period": str(PERIOD), "standards_directory": STANDARDS}
    )
    found = {}
    for node, settings in made.items():
        zones = {
            zone: of_it.model_copy(
                update={
                    "database": server.url(
                        server.fresh(f"s_{node[:6]}{node[6:7]}_{zone}".replace("-", "b")),
                        "postgresql+psycopg",
                    )
                }
            )
            for zone, of_it in settings.zones.items()
        }
        found[node] = settings.model_copy(update={"zones": zones})
    return found


def _follow(zone: OpenZone, peer: Peer) -> int:
    """Rounds until nothing is new; how many batches."""
    total = 0
    while accepted := zone.inbound.step(peer):
        total += accepted
    return total


def _apply(zone: OpenZone) -> None:
    while zone.applier.step():
        pass
    while zone.submissions.attest():
        pass


def measure(directory: Path, server: Server, rows: int) -> None:
    """Every stretch once, in order."""
    load_postgresql(server, rows)
    business = Business(rows, server=server)
    business.renew()
    shutil.rmtree(directory, ignore_errors=True)
    settings = _network(directory, server, business.url)
    with ExitStack() as stack:
        zones = {}
        for endpoint in (PRODUCTION, CITY, BACKUP):
            zones[endpoint] = open_zone(settings[endpoint.node], endpoint.zone)
            stack.callback(zones[endpoint].close)
        production, city, backup = zones[PRODUCTION], zones[CITY], zones[BACKUP]
        assert production.outbound is not None
        production.outbound.step(str(PERIOD))

        cost = Cost(server)
        _follow(city, Near(CITY, production))
        _apply(city)
        _, main = cost.told("exchange zone: accept, apply, attest", rows=rows)

        cost = Cost(server)
        while city.following.step():
            pass
        for line in city.index.segments():
            if line["stream"].startswith(f"{CITY}/journal"):
                city.giver.path(line["sha256"])
        _, following = cost.told("exchange zone: seal acts, give ciphertext")
        print(f"{'of the CPU-seconds of the rows themselves':<42} {following / main:7.3f}")

        cost = Cost(server)
        _follow(backup, Near(BACKUP, city))
        backup.applier.step()
        cost.told("backup: fetch, prove, keep, cut")
        _restored(directory, server, rows, city, backup)


def _restored(directory: Path, server: Server, rows: int, city: OpenZone, backup: OpenZone) -> None:
    key = load_copy_key(directory / COPY_KEYS / "escrow.pem", (), ("escrow",))
    copy = replace(copy_of(backup, CITY), opener=Opener(key.key, backup.shelf.rings))
    url = server.url(server.fresh("s_again"), "postgresql+psycopg")
    cost = Cost(server)
    rebuild(copy, backup.settings, Place(directory / "again", url), lambda _done, _total: None)
    ours, _ = cost.told("the exchange zone built again", rows=rows)

    plain = _plain(directory, server, rows, city)
    packed = _packed(directory, server, rows, city)
    print(f"{'built again, to a plain load of the Parquet':<42} {plain / ours:7.3f} x as fast")
    print(f"{'built again, to pg_restore of the table':<42} {packed / ours:7.3f} x as fast")


def _plain(directory: Path, server: Server, rows: int, city: OpenZone) -> float:
    """The same segments copied into one table with a primary key, in one transaction."""
    table = city.standards[LIBRARY].tables[0]
    url = server.url(server.fresh("s_plain"), "postgresql+psycopg")
    store = Store(url, directory / "plain-stage")
    names = [
        line["sha256"] for line in city.index.segments() if line["stream"] == f"{PRODUCTION}/{LIBRARY}/line"
    ]
    first = city.shelf.read(names[0])
    kinds = {name: "text" if dtype == pl.String else "bigint" for name, dtype in first.schema.items()}
    columns = ", ".join(f'"{name}" {kind}' for name, kind in kinds.items())
    key = ", ".join(f'"{name}"' for name in table.key)
    cost = Cost(server)
    with store.transaction() as tx:
        tx.connection.exec_driver_sql(f"CREATE TABLE plain ({columns}, PRIMARY KEY ({key}))")
        copy_frames(tx.connection, "plain", list(kinds), (city.shelf.read(name) for name in names))
    seconds, _ = cost.told("plain load of the same Parquet", rows=rows)
    store.close()
    return seconds


def _packed(directory: Path, server: Server, rows: int, city: OpenZone) -> float:
    """`pg_restore` of the zone's whole library, data and keys, as `pg_dump -Fc` gave it."""
    name = city.store.url.database
    assert name is not None
    file = directory / "library.dump"
    subprocess.run(server.program("pg_dump", name, "-Fc", "-f", str(file)), check=True)
    target = server.fresh("s_packed")
    cost = Cost(server)
    subprocess.run(server.program("pg_restore", target, "--no-owner", str(file)), check=True)
    seconds, _ = cost.told("pg_restore of the zone's database", rows=rows)
    return seconds


def main() -> None:
    """Measure once."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument(
        "--directory", type=Path, default=Path(__file__).parents[1] / "build" / "bench-standby"
    )
    given = parser.parse_args()
    given.directory.mkdir(parents=True, exist_ok=True)
    with serving(given.directory.resolve() / "postgresql") as server:
        measure(given.directory.resolve() / "network", server, given.rows)


if __name__ == "__main__":
    main()
