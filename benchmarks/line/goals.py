"""Results read again: medians of every stretch, and the goals as ratios taken within a round.

A stretch is named as its cell names it, with `@postgresql` or `@sqlite` where there are two.
A goal whose stretches are not all there is not measured; it is never reached by absence.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

Stretch = Mapping[str, Any]
_OWN = ("140100/production", "140100/exchange", "140000/exchange", "100000/exchange")


@dataclass(frozen=True)
class Round:
    """The stretches of one round."""

    number: int
    stretches: Mapping[str, Stretch]

    def seconds(self, name: str) -> float:
        """Wall seconds; KeyError if it was not measured."""
        return float(self.stretches[name]["seconds"])

    def cpu(self, name: str) -> float:
        """CPU-seconds of every process, the server's too."""
        return float(sum(self.stretches[name]["cpu_s"].values()))

    def size(self, name: str) -> float:
        """Bytes it told."""
        return float(self.stretches[name]["bytes"])

    def rate(self, name: str) -> float:
        """Bytes a second."""
        return self.size(name) / self.seconds(name)

    def peak(self, name: str) -> float:
        """MB of our own largest process."""
        peaks = self.stretches[name]["peak_mb"]
        return max((size for process, size in peaks.items() if process in _OWN), default=0.0)


@dataclass(frozen=True)
class Run:
    """All rounds at one number of rows."""

    rows: int
    csv_bytes: int
    rounds: Sequence[Round]
    troubles: Sequence[str]
    load: float = 0.0
    """Processes that wanted a core before a cell began, the median of all cells; our own cells leave about one."""

    def names(self) -> list[str]:
        """Every stretch there is, in the order it was measured."""
        return list(dict.fromkeys(name for one in self.rounds for name in one.stretches))

    def median(self, of: Callable[[Round], float]) -> float | None:
        """Over the rounds that have it; None without one."""
        found = []
        for one in self.rounds:
            try:
                found.append(of(one))
            except KeyError:
                continue
        return median(found) if found else None


def read(directory: Path) -> Run:
    """Everything measured into `directory`."""
    rounds: dict[int, dict[str, Stretch]] = {}
    troubles, loads, rows = [], [], 0
    for file in sorted(directory.glob("*.json"), key=lambda path: path.stat().st_mtime_ns):
        body = json.loads(file.read_text(encoding="utf-8"))
        rows, (_, _, variant) = body["rows"], body["cell"].partition(":")
        suffix = f"@{variant}" if variant else ""
        found = rounds.setdefault(body["round"], {})
        found |= {f"{name}{suffix}": stretch for name, stretch in body["stretches"].items()}
        loads.append(body["load"])
        if body["trouble"]:
            troubles.append(f"{body['cell']}, round {body['round']}: {body['trouble'].splitlines()[-1]}")
    csv_bytes = int((directory / "csv_bytes").read_text(encoding="utf-8"))
    known = [Round(number, found) for number, found in sorted(rounds.items())]
    return Run(rows, csv_bytes, known, troubles, median(loads) if loads else 0.0)


@dataclass(frozen=True)
class Goal:
    """A bound of a figure: at least, or at most where `most`."""

    what: str
    value: Callable[[Run], float | None]
    bound: float
    most: bool = False

    def verdict(self, run: Run) -> str:
        """`reached`, `not reached` or `not measured`."""
        value = self.value(run)
        if value is None:
            return "not measured"
        return "reached" if (value <= self.bound if self.most else value >= self.bound) else "not reached"


def faster(ours: str, peer: str) -> Callable[[Run], float | None]:
    """How many times as fast as the peer, round by round."""
    return lambda run: run.median(lambda r: r.seconds(peer) / r.seconds(ours))


def share(part: str, whole: str) -> Callable[[Run], float | None]:
    """A stretch's seconds as a part of another's."""
    return lambda run: run.median(lambda r: r.seconds(part) / r.seconds(whole))


def _peak(run: Run) -> float | None:
    names = [name for name in run.names() if name.startswith(("hop", "line", "seal", "change"))]
    peaks = [peak for name in names if (peak := run.median(lambda r, n=name: r.peak(n))) is not None]  # type: ignore[misc]
    return max(peaks, default=None)


def _idle(run: Run, figure: str) -> float | None:
    """What one more idle child costs, from the smallest crowd to the largest."""
    sizes = sorted(int(name.partition("@")[2]) for name in run.names() if name.startswith("idle@"))
    if len(sizes) < 2:
        return None
    few, many = sizes[0], sizes[-1]
    return run.median(
        lambda r: (r.stretches[f"idle@{many}"][figure] - r.stretches[f"idle@{few}"][figure]) / (many - few)
    )


def _percent(part: float | None) -> float | None:
    return None if part is None else part * 100


PG = "@postgresql"
GOALS = (
    Goal("one hop, city journal to accepted, to pg_dump", faster(f"hop-accept{PG}", "dump"), 2.0),
    Goal("one hop to applied (first load), to pg_dump", faster(f"hop-apply{PG}", "dump"), 1.0),
    Goal("source to sealed in the city's journal, to pg_dump", faster(f"seal{PG}", "dump"), 0.8),
    Goal("whole line to applied at the ministry, to pg_dump", faster(f"line{PG}", "dump"), 0.35),
    Goal(
        "whole line, CPU-seconds, times pg_dump's",
        lambda run: run.median(lambda r: r.cpu(f"line{PG}") / r.cpu("dump")), 4.0, most=True,
    ),
    Goal(
        "one hop to applied, to logical replication's copy", faster(f"hop-apply{PG}", "replication-copy"), 1.0
    ),
    Goal("one hop to applied, to dlt", faster(f"hop-apply{PG}", "dlt"), 3.0),
    Goal("one hop to applied, to sling", faster(f"hop-apply{PG}", "sling"), 3.0),
    Goal(
        "changed rows from the child's journal, to logical replication",
        faster(f"hop-change-apply{PG}", "replication-change"), 2.0,
    ),
    Goal(
        "fetch, verify, accept: MB/s, to the bare gRPC stream",
        lambda run: run.median(lambda r: r.rate(f"hop-accept{PG}") / r.rate("raw")), 0.5,
    ),
    Goal(
        "fetch, verify, accept: MB/s, to JetStream",
        lambda run: run.median(lambda r: r.rate(f"hop-accept{PG}") / r.rate("jetstream")), 1.0,
    ),
    Goal("a day's change by full read, of the first load", share(f"change-content{PG}", f"line{PG}"), 0.25, most=True),
    Goal("a day's change by digests, of the first load", share(f"change-digest{PG}", f"line{PG}"), 0.10, most=True),
    Goal("a day's change by token, of the first load", share(f"change-token{PG}", f"line{PG}"), 0.05, most=True),
    Goal(
        "bytes on the line, of the CSV",
        lambda run: run.median(lambda r: r.size(f"line{PG}") / run.csv_bytes), 0.25, most=True,
    ),
    Goal(
        "bytes on the line, of pg_dump -Fc",
        lambda run: run.median(lambda r: r.size(f"line{PG}") / r.size("packed")), 0.6, most=True,
    ),
    Goal("peak memory of any zone, MB", _peak, 1000.0, most=True),
    Goal("an idle child, MB of its parent's memory", lambda run: _idle(run, "parent_rss_mb"), 1.0, most=True),
    Goal("an idle child, % of a core of its parent", lambda run: _percent(_idle(run, "parent_cpu")), 0.1, most=True),
)  # fmt: skip
"""Section "Goals" of the plan, as far as one run at one size can tell."""


def tenfold(small: Run, large: Run) -> tuple[Goal, ...]:
    """What a table ten times as large may cost."""

    def seconds(run: Run) -> float | None:
        found = run.median(lambda r: r.seconds(f"line{PG}"))
        return None if found is None else found / run.rows

    def ratio(of: Callable[[Run], float | None]) -> Callable[[Run], float | None]:
        one, ten = of(small), of(large)
        return lambda _run: None if one is None or ten is None else ten / one

    return (
        Goal("ten times the rows: peak memory, times that before", ratio(_peak), 1.1, most=True),
        Goal("ten times the rows: seconds a row, times those before", ratio(seconds), 1.15, most=True),
    )
