"""Cells of one parent and many children: 1 to 372 of them, each with ten libraries and its own certificate.

The parent is a real zone process over PostgreSQL. The children are listeners in two processes,
as a zone's listener is, with sealed batches prepared beforehand; nobody captures or follows there.
Told: headers and rows a second to accepted and to applied (of a larger crowd's libraries the
first 500 after the last header), how even the children's shares were
when half was accepted, and what an idle child costs the parent.
"""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psutil
from benchmarks.line.cell import Bench, Cell, Watch, main
from benchmarks.line.zones import MINISTRY, STANDARDS, LeanNode

from jinbao.appliance.demo.processes import DemoNetwork
from jinbao.appliance.loopback import free_port
from jinbao.appliance.network import make_network
from jinbao.authority.identity_files import ZoneIdentity, load_identity
from jinbao.journal.segments import SegmentShelf
from jinbao.link.limits import LinkLimits
from jinbao.link.server import LineServer
from jinbao.link.standing import Standing
from jinbao.model.batch import Header, Kind, Manifest, SealedBatch, SegmentRef, TableTotals
from jinbao.model.stream import Mark, StreamId
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint, Tier, Zone
from jinbao.registry.standards import load_standards
from jinbao.store.files import Files
from jinbao.trust.book import TrustBook
from jinbao.trust.digest import digest
from jinbao.trust.envelope import head_of, seal

PROVINCES, CITIES, LIBRARIES, PROCESSES = 31, 12, 10, 2
_IDLE_S, _WAIT_S, _POLL_S = 10.0, 900.0, 0.05
_PERIOD = "202410"
_ATTESTED_MAX = 10
"""Children up to which everything is waited for: each library is read back alone, which takes a large crowd an hour."""
_APPLIED_MAX = 500
"""Libraries of a larger crowd that are waited for once every header is accepted: enough for a rate."""
_OP, _UPSERT = "op", "U"
"""As the contract names them."""

_STANDARD = """library = "{library}"
version = "1.0"
name_zh = "人员"
name_en = "persons"
valid_from = 200810
[[tables]]
id = "person"
name_zh = "人员"
name_en = "persons"
key = ["AAC001"]
totals = []
limits = {{ bad_rows_min = 50, bad_rows_max = 100000, bad_share_max = 0.05 }}
items = [
  ["AAC001", "个人编号", "person_no", "C", 20, 0, "", true, true],
  ["AAC003", "姓名", "name", "C", 50, 0, "", true, true],
  ["AAE180", "月缴费基数", "contribution_base", "A", 10, 2, "", true, false],
]
[[tables.rules]]
id = "UNI-1"
check = "unique"
items = ["AAC001"]
scope = "batch"
severity = "error"
zh = "个人编号重复"
en = "person number is not unique"
"""


def cities(count: int) -> list[str]:
    """The first so many of 31 provinces of 12 cities."""
    return [f"{11 + at // CITIES:02d}{1 + at % CITIES:02d}00" for at in range(count)]


class Offered:
    """What one child offers, once it is opened; notes whether its parent came."""

    def __init__(self, batches: dict[StreamId, list[SealedBatch]], shelf: SegmentShelf) -> None:
        self._batches, self._shelf = batches, shelf
        self.is_open = self.is_met = False

    def headers(self, _caller: Endpoint, marks: Sequence[Mark], limit: int) -> list[SealedBatch]:
        """Batches beyond the marks, stream by stream."""
        self.is_met = True
        if not self.is_open:
            return []
        seen = {mark.stream: mark.seq for mark in marks}
        return [b for stream, all_of in self._batches.items() for b in all_of[seen.get(stream, 0) :]][:limit]

    def open_segment(self, _caller: Endpoint, stream: StreamId, _seq: int, sha256: str) -> Path | None:
        """The file of a segment of a stream that is offered."""
        return self._shelf.open_path(sha256) if stream in self._batches else None


def _offered(directory: Path, city: str, rows: int) -> Offered:
    """Ten libraries of one city, each a snapshot and its manifest."""
    identity = load_identity(directory / city / Zone.PRODUCTION / "identity")
    shelf, batches = SegmentShelf(directory / city / "segments", Files()), {}
    for library, standard in sorted(load_standards(directory / "tiers" / "standards").items()):
        stream = StreamId(Endpoint(city, Zone.PRODUCTION), library)
        table = standard.tables[0]
        frame = _frame(f"{city}{library[-2:]}", rows).sort(table.key)
        root = digest([frame], table.columns, table.key).root
        ref = SegmentRef(table.id, *shelf.write(frame), rows, root)
        manifest = Manifest(1, (TableTotals(table.id, rows, root),))
        batches[stream] = _sealed(identity, stream, standard.id, ref, manifest)
    return Offered(batches, shelf)


def _frame(prefix: str, rows: int) -> pl.DataFrame:
    rng = np.random.default_rng(int(prefix))
    number = pl.int_range(rows, eager=True).cast(pl.String).str.zfill(8)
    base = pl.Series("AAE180", rng.integers(1, 3_000_000, rows))
    return pl.DataFrame(
        {
            "AAC001": prefix + number,
            "AAC003": "某" + number.str.slice(6),
            "AAE180": base,
            _OP: [_UPSERT] * rows,
        }
    )


def _sealed(
    identity: ZoneIdentity, stream: StreamId, standard: str, ref: SegmentRef, manifest: Manifest
) -> list[SealedBatch]:
    def header(seq: int, previous: str, kind: Kind, **parts: Any) -> Header:
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        return Header(
            stream, seq, "1" * 32, 1, previous, kind, at, period=_PERIOD, standard=standard, **parts
        )

    first = seal(header(1, "", Kind.SNAPSHOT, segments=(ref,)), identity)
    return [first, seal(header(2, head_of(first), Kind.MANIFEST, manifest=manifest), identity)]


def serve(directory: Path, chosen: Sequence[str], rows: int) -> None:
    """Listen for every chosen child; told on standard input when to say whether all were met, and when to open."""
    topology: Topology = pickle.loads((directory / "topology.pickle").read_bytes())
    offers = {city: _offered(directory, city, rows) for city in chosen}
    servers = [_listening(directory, topology, city, offers[city]) for city in chosen]
    print("ready", flush=True)
    for line in sys.stdin:
        while line.strip() == "met" and not all(offer.is_met for offer in offers.values()):
            time.sleep(_POLL_S)
        if line.strip() == "open":
            for offer, server in zip(offers.values(), servers, strict=True):
                offer.is_open = True
                server.wake()
        print(line.strip(), flush=True)
    for server in servers:
        server.stop(0.1)


def _listening(directory: Path, topology: Topology, city: str, offer: Offered) -> LineServer:
    me = Endpoint(city, Zone.EXCHANGE)
    identity = load_identity(directory / city / Zone.EXCHANGE / "identity")
    book = TrustBook.of(identity.anchors, identity.trust)
    standing = Standing(
        me, lambda: identity, lambda: book, lambda: topology, lambda: datetime.now(UTC), lambda *_: None
    )
    server = LineServer(
        standing, topology.address(me), counter=offer, standards=(), refused=_refused, limits=LinkLimits()
    )
    server.start()
    return server


def _refused(caller: str, exc: Exception) -> None:
    print(f"refused {caller}: {exc}", file=sys.stderr)


class Children:
    """One process of listeners; whatever is asked of it once it has ended says which children it was, and why."""

    def __init__(self, directory: Path, chosen: Sequence[str], rows: int) -> None:
        self._chosen, self._log = chosen, directory / f"children-{chosen[0]}.log"
        command = [sys.executable, "-m", "benchmarks.line.crowd", "serve", str(directory), str(rows), *chosen]
        with self._log.open("wb") as said:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True
            )

    def tell(self, word: str) -> None:
        """Say what to do; `heard` then waits until it is done."""
        try:
            print(word, file=self._process.stdin, flush=True)
        except BrokenPipeError as exc:
            raise self._ended() from exc

    def heard(self) -> None:
        """Wait for the next word."""
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise self._ended()

    def end(self) -> None:
        """The end of its input ends it."""
        self._process.communicate()

    def _ended(self) -> RuntimeError:
        """What it said last, and how it ended."""
        code = self._process.wait()
        last = self._log.read_text(encoding="utf-8", errors="replace")[-2000:].strip()
        whose = f"{len(self._chosen)} children from {self._chosen[0]} to {self._chosen[-1]}"
        return RuntimeError(f"{whose}: expected a process that listens, got exit code {code}: {last}")


@contextmanager
def _children(directory: Path, chosen: Sequence[str], rows: int) -> Iterator[list[Children]]:
    """The children's processes, listening."""
    with ExitStack() as ends:
        processes = []
        for share in (list(chosen[at::PROCESSES]) for at in range(min(PROCESSES, len(chosen)))):
            processes.append(Children(directory, share, rows))
            ends.callback(processes[-1].end)
        for process in processes:
            process.heard()
        yield processes


def _tell(processes: Sequence[Children], word: str) -> None:
    """Tell every process, and wait until each has done it."""
    for process in processes:
        process.tell(word)
    for process in processes:
        process.heard()


def _network(bench: Bench, directory: Path, chosen: Sequence[str]) -> DemoNetwork:
    """Identities of all, and a ministry over PostgreSQL that knows ten libraries."""
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "tiers" / "standards").mkdir(parents=True)
    (directory / "tiers" / "mappings").mkdir()
    shutil.copy(STANDARDS / "standards" / "code_lists.toml", directory / "tiers" / "standards")
    for at in range(LIBRARIES):
        library = f"register_{at:02d}"
        file = directory / "tiers" / "standards" / f"{library}.toml"
        file.write_text(_STANDARD.format(library=library), encoding="utf-8")
    nodes = [LeanNode(MINISTRY.node, "部级数据中心", "Ministry", Tier.MINISTRY, "")]
    nodes += [LeanNode(city, f"市{city}", f"City {city}", Tier.CITY, MINISTRY.node) for city in chosen]
    database = bench.server.url(bench.server.fresh("zone_crowd"), "postgresql+psycopg")
    exchange = {"border": "line", "http": f"127.0.0.1:{free_port()}", "database": database}
    overrides = {
        "period": _PERIOD,
        "standards_directory": directory / "tiers",
        "zones": {"exchange": exchange},
        "pace": {"capture_cron": "", "interval_s": 0.5, "backoff_max_s": 2.0},
    }
    topology, settings = make_network(directory, nodes, overrides=overrides)
    (directory / "topology.pickle").write_bytes(pickle.dumps(topology))
    network = DemoNetwork(directory, 0, 0, lambda *_: None, nodes=tuple(nodes[:1]))
    network.settings[MINISTRY.node] = settings[MINISTRY.node]
    return network


class Log:
    """The parent's log, read as it grows: how many of each event, and of which child."""

    def __init__(self, path: Path) -> None:
        self._path, self._at = path, 0
        self.counts: dict[str, Counter[str]] = {}

    def read(self) -> None:
        """Take in whole lines that are new."""
        with self._path.open("rb") as file:
            file.seek(self._at)
            lines = file.read().split(b"\n")
        self._at += sum(len(line) + 1 for line in lines[:-1])
        for line in lines[:-1]:
            event = json.loads(line)
            child = str(event.get("stream", "")).partition("/")[0]
            self.counts.setdefault(event["event"], Counter())[child] += 1

    def until(self, event: str, count: int) -> None:
        """Wait for so many; raises RuntimeError where a stream is held or time is up."""
        deadline = time.monotonic() + _WAIT_S
        while self.counts.get(event, Counter()).total() < count:
            self.read()
            got = {name: found.total() for name, found in self.counts.items()}
            if "stream_held" in got or "submission_refused" in got or time.monotonic() > deadline:
                raise RuntimeError(f"parent: expected {count} {event}, got {got}")
            time.sleep(_POLL_S)


def even(shares: Sequence[int]) -> float:
    """Jain's index of shares: 1 where all are equal, 1/n where one has all."""
    whole = sum(shares)
    return whole * whole / (len(shares) * sum(share * share for share in shares)) if whole else 0.0


def replay(bench: Bench, watch: Watch, variant: str) -> None:
    """So many children as the variant says."""
    count = int(variant)
    rows = max(10, bench.rows // (PROVINCES * CITIES * LIBRARIES))
    directory, chosen = bench.directory / "crowd", cities(count)
    network = _network(bench, directory, chosen)
    with _children(directory, chosen, rows) as processes:
        try:
            network.start(MINISTRY.node)
            _idle(network, processes, watch)
            _replayed(
                Log(directory / MINISTRY.node / MINISTRY.zone / "log.jsonl"), processes, watch, chosen, rows
            )
        finally:
            network.stop()
    shutil.rmtree(directory, ignore_errors=True)


def _idle(network: DemoNetwork, processes: Sequence[Children], watch: Watch) -> None:
    """What the parent costs while every child is connected and has nothing."""
    _tell(processes, "met")
    time.sleep(2.0)
    parent = psutil.Process(network.processes[MINISTRY].pid)
    before = sum(parent.cpu_times()[:2])
    watch.begin("idle")
    time.sleep(_IDLE_S)
    spent = sum(parent.cpu_times()[:2]) - before
    rss_mb = parent.memory_info().rss / 1e6
    watch.end("idle", parent_cpu=round(spent / _IDLE_S, 5), parent_rss_mb=round(rss_mb, 1))


def _replayed(
    log: Log, processes: Sequence[Children], watch: Watch, chosen: Sequence[str], rows: int
) -> None:
    headers, submissions = 2 * LIBRARIES * len(chosen), LIBRARIES * len(chosen)
    is_small = len(chosen) <= _ATTESTED_MAX
    watch.begin("accept", *(["apply", "attest"] if is_small else []))
    _tell(processes, "open")
    log.until("batch_accepted", headers // 2)
    shares = [log.counts["batch_accepted"][city] for city in chosen]
    log.until("batch_accepted", headers)
    watch.end("accept", headers=headers, rows=submissions * rows, evenness=round(even(shares), 3))
    before = 0
    if not is_small:
        before = log.counts.get("submission_applied", Counter()).total()
        watch.begin("apply")
    applied = min(submissions - before, _APPLIED_MAX)
    log.until("submission_applied", before + applied)
    watch.end("apply", rows=applied * rows)
    if is_small:
        log.until("submission_attested", submissions)
        watch.end("attest", rows=submissions * rows)


CELLS: dict[str, Cell] = {"replay": replay}

if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(Path(sys.argv[2]), sys.argv[4:], int(sys.argv[3]))
    else:
        main(CELLS)
