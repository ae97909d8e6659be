"""Cells of our own line: reading a source, one hop, the whole line and its daily change.

Variants are `postgresql` and `sqlite`: the kind of the source and of all zone databases.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.line.cell import Bench, Cell, Watch, main
from benchmarks.line.sources import TABLE, Business, a_day, many
from benchmarks.line.zones import CITY, MINISTRY, PRODUCTION, PROVINCE, Line, running

from jinbao.source.reader import Source

CHANGES: dict[str, dict[str, dict[str, Any]]] = {
    "postgresql": {"content": {}, "digest": {"change": "digest"}, "token": {"change": "token"}},
    "sqlite": {"content": {}},
}
"""Ways to find what changed, by kind of source, and the settings of the source that ask for each."""


def extract(bench: Bench, watch: Watch, kind: str) -> None:
    """The source as columns, batch by batch; each is dropped again."""
    source = Source("city", bench.business(kind).url)
    with source.snapshot() as snapshot:  # what a process imports for its first read is not reading
        snapshot.tables()
    watch.begin("extract")
    with source.snapshot() as snapshot:
        rows = sum(batch.height for batch in snapshot.batches(snapshot.tables()[TABLE.upper()]))
    watch.end("extract", rows=rows)


def _line(bench: Bench, kind: str, business: Business) -> Line:
    business.hide()
    server = bench.server if kind == "postgresql" else None
    return Line(bench.directory / "line", business.url, server, wait_s=60 + bench.rows * 3e-4)


def hop(bench: Bench, watch: Watch, kind: str) -> None:
    """Seal in production; then one hop from the city's journal to its province; then a large change over that hop.

    The province does not follow before the city is at rest, so that each stretch is alone.
    """
    business = bench.business(kind)
    with running(_line(bench, kind, business), CITY.node, PROVINCE.node) as line:
        line.pause(PROVINCE, CITY)
        line.await_source(business)
        watch.begin("seal")
        line.capture()
        judged = line.await_event(PRODUCTION, "library_judged")
        watch.end("seal", at=judged, rows=judged["passed"])
        line.await_event(CITY, "submission_attested")
        last = _hop(line, watch, "hop", 0)
        line.pause(PROVINCE, CITY)
        business.run(*many(bench.rows, bench.many))
        line.capture()
        line.await_event(CITY, "submission_attested", seq=last + 1)
        _hop(line, watch, "hop-change", last)


def _hop(line: Line, watch: Watch, name: str, after: int) -> int:
    """From the city's journal to accepted, applied and attested by the province; returns the last seq."""
    last = line.sealed()
    watch.begin(f"{name}-accept", f"{name}-apply", f"{name}-attest")
    line.resume(PROVINCE, CITY)
    accepted = line.await_event(PROVINCE, "batch_accepted", seq=last)
    watch.end(f"{name}-accept", at=accepted, bytes=line.line_bytes(PROVINCE, after))
    applied = line.await_event(PROVINCE, "submission_applied", seq=last)
    watch.end(f"{name}-apply", at=applied, rows=applied["rows"])
    watch.end(f"{name}-attest", at=line.await_event(PROVINCE, "submission_attested", seq=last))
    return last


def line(bench: Bench, watch: Watch, kind: str) -> None:
    """Source to applied at the ministry, first load and daily change; each tier's moment is told."""
    business = bench.business(kind)
    with running(_line(bench, kind, business)) as zones:
        zones.await_source(business)
        last = _whole(zones, watch, "line", 0)
        for day, (way, settings) in enumerate(CHANGES[kind].items(), 1):
            _settled(zones, settings)
            business.run(*a_day(day))
            last = _whole(zones, watch, f"change-{way}", last)


def _settled(zones: Line, settings: Mapping[str, Any]) -> None:
    """The source read in another way from now on, which has seen the table once."""
    if not settings:
        return
    zones.resettle(settings)
    runs = len(zones.events(PRODUCTION, "library_judged"))
    zones.capture()
    zones.await_event(PRODUCTION, "library_judged", least=runs + 1)


def _whole(zones: Line, watch: Watch, name: str, after: int) -> int:
    """One run of the whole line; returns the last seq, with every tier at rest."""
    runs, tiers = len(zones.events(PRODUCTION, "library_judged")), {"city": CITY, "province": PROVINCE}
    watch.begin(f"{name}-sealed", *(f"{name}-{tier}" for tier in tiers), name)
    zones.capture()
    watch.end(f"{name}-sealed", at=zones.await_event(PRODUCTION, "library_judged", least=runs + 1))
    for tier, endpoint in tiers.items():
        watch.end(f"{name}-{tier}", at=zones.await_event(endpoint, "submission_applied", seq=after + 1))
    applied = zones.await_event(MINISTRY, "submission_applied", seq=after + 1)
    watch.end(name, at=applied, rows=applied["rows"], bytes=zones.line_bytes(PROVINCE, after))
    for endpoint in (CITY, PROVINCE, MINISTRY):
        zones.await_event(endpoint, "submission_attested", seq=after + 1)
    return zones.sealed()


CELLS: dict[str, Cell] = {"extract": extract, "hop": hop, "line": line}

if __name__ == "__main__":
    main(CELLS)
