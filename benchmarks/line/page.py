"""What was measured, as a table for a terminal and as the page docs/performance.md.

Says what the results say and nothing else; charts are bars of text, so that they read the
same in a terminal, on a page and in a diff.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import psutil
from benchmarks.line.goals import GOALS, Goal, Round, Run

_BAR = 30
_PACKAGES = ("jinbao", "polars", "pyarrow", "adbc-driver-postgresql", "psycopg", "grpcio", "duckdb", "dlt")
PEERS = {
    "dump": "`pg_dump --data-only` into `psql`",
    "copy": "`psql` COPY binary into the same",
    "replication-copy": "logical replication, initial copy",
    "replication-change": "logical replication, a large change",
    "dlt": "dlt, pyarrow and Parquet through ADBC",
    "sling": "sling, full refresh",
    "raw": "bare gRPC stream, mutual TLS",
    "jetstream": "NATS JetStream, published then fetched",
    "packed": "`pg_dump -Fc` into a file",
}


def stretches(run: Run) -> Iterator[tuple[str, ...]]:
    """Name, seconds, thousand rows a second, CPU-seconds of ours and of the server, peak MB, MB moved."""
    for name in (name for name in run.names() if not name.startswith("idle@")):
        rounds = [one for one in run.rounds if name in one.stretches]
        seconds = run.median(lambda r, n=name: r.seconds(n)) or 0.0  # type: ignore[misc]
        rows, size = (rounds[-1].stretches[name].get(key) for key in ("rows", "bytes"))
        cpu = [
            run.median(lambda r, n=name, k=kind: float(r.stretches[n]["cpu_s"][k])) or 0.0  # type: ignore[misc]
            for kind in ("cell", "postgresql")
        ]
        peak = run.median(lambda r, n=name: _largest(r, n))  # type: ignore[misc]
        yield (
            name,
            f"{seconds:.2f}",
            f"{rows / seconds / 1000:.0f}" if rows and seconds else "",
            *(f"{spent:.2f}" for spent in cpu),
            f"{peak:.0f}" if peak else "",
            f"{size / 1e6:.1f}" if size else "",
        )


def _largest(one: Round, name: str) -> float:
    peaks = one.stretches[name]["peak_mb"]
    return max((size for process, size in peaks.items() if not process.startswith("postgresql")), default=0.0)


def goals(run: Run, more: Sequence[Goal] = ()) -> Iterator[tuple[str, ...]]:
    """What, measured, bound, verdict."""
    for goal in (*GOALS, *more):
        value = goal.value(run)
        measured = "" if value is None else f"{value:.3g}"
        yield goal.what, measured, f"{'≤' if goal.most else '≥'} {goal.bound:g}", goal.verdict(run)


def crowd(run: Run) -> Iterator[tuple[str, ...]]:
    """Children, headers a second, thousand rows a second applied, CPU-seconds, memory, idle cost, evenness."""
    for name in (name for name in run.names() if name.startswith("accept@")):
        _, _, count = name.partition("@")
        [accept, apply, idle] = (_last(run, f"{what}@{count}") for what in ("accept", "apply", "idle"))
        yield (
            count,
            f"{accept['headers'] / accept['seconds']:.0f}",
            f"{apply['rows'] / apply['seconds'] / 1000:.1f}" if apply else "",
            f"{sum(accept['cpu_s'].values()):.1f}",
            f"{idle['parent_rss_mb']:.0f}",
            f"{idle['parent_cpu'] * 100:.2f}",
            f"{accept['evenness']:.2f}",
        )


def _last(run: Run, name: str) -> dict[str, Any]:
    found = [one.stretches[name] for one in run.rounds if name in one.stretches]
    return dict(found[-1]) if found else {}


_CROWD = (
    "children",
    "headers/s",
    "k rows/s applied",
    "CPU-s to accepted",
    "idle MB",
    "idle % of a core",
    "evenness",
)
_CROWDED = (
    "One ministry over PostgreSQL whose children each offer ten libraries, with certificates of their own; the rows of "
    "372 children are those of the run, fewer children have fewer. Rows are applied while headers arrive; of 100 and "
    "more children those of the next 500 libraries after the last header are counted. Evenness is Jain's index of the "
    "children's shares when half of all headers was accepted: 1 where all are equal."
)
_OPENING = (
    "Written by `make bench`: its last run, on the machine named below. Ratios are taken within a round and are what to "
    "compare; seconds belong to this machine. How it is measured is in `benchmarks/README.md`."
)
_READING = (
    "A stretch of ours names the kind of its source and of its zone databases. CPU-seconds are of every process of the "
    "stretch, and of the database server beside them; peak MB is of the largest process that is not the server's."
)
_MEASURED = ("stretch", "seconds", "k rows/s", "CPU-s", "CPU-s server", "peak MB", "MB")
_GOALS = ("goal", "measured", "bound", "")


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Aligned columns, the first to the left."""
    widths = [max(len(line[at]) for line in (head, *lines)) for at in range(len(head))]
    return "\n".join(
        "  ".join(
            part.rjust(w) if at else part.ljust(w)
            for at, (part, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in (head, *lines)
    )


def printed(run: Run, more: Sequence[Goal] = ()) -> str:
    """Both tables, for a terminal."""
    parts = [
        f"{_size(run)}, medians. {_caution(run)}",
        table(_MEASURED, list(stretches(run))),
        *([table(_CROWD, lines)] if (lines := list(crowd(run))) else []),
        table(_GOALS, list(goals(run, more))),
        *(f"ended early: {trouble}" for trouble in run.troubles),
    ]
    return "\n\n".join(parts)


def page(run: Run, more: Sequence[Goal] = (), *, server: str) -> str:
    """The whole page; `server` is what PostgreSQL says of itself."""
    reached = [goal.verdict(run) for goal in (*GOALS, *more)].count("reached")
    parts = [
        "# Performance",
        _OPENING,
        f"{_size(run)}, medians; {reached} of "
        f"{len(GOALS) + len(more)} goals reached. {_caution(run)}".strip(),
        "## Goals", markdown(_GOALS, list(goals(run, more))),
        "## Time to the end of each way", bars(run),
        "## Everything measured",
        _READING,
        markdown(_MEASURED, list(stretches(run))),
        *(["## Many children", _CROWDED, markdown(_CROWD, lines)] if (lines := list(crowd(run))) else []),
        *(["## Ended early", "\n".join(f"- {trouble}" for trouble in run.troubles)] if run.troubles else []),
        "## Peers", markdown(("stretch", "what it is"), list(PEERS.items())),
        "## Machine", markdown(("", ""), list(machine(server))),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _caution(run: Run) -> str:
    said = []
    if run.rows < 1_000_000 or len(run.rounds) < 3:
        said.append("This run was reduced: a full one has a million rows and three rounds.")
    if run.load > 1.5 * (os.cpu_count() or 1):
        said.append(f"The machine was busy with other work: {run.load:.0f} processes wanted its cores.")
    return f"**{' '.join(said)}**" if said else ""


def _size(run: Run) -> str:
    rounds = len(run.rounds)
    return f"{run.rows:,} persons of 40 columns, {rounds} round{'s' if rounds != 1 else ''}"


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table of a page."""
    rows = [head, ["---", *("---:" for _ in head[1:])], *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def bars(run: Run) -> str:
    """Seconds of whole ways, the longest first."""
    names = [
        f"{n}@{k}" for n in ("line", "hop-apply", "hop-accept", "seal") for k in ("postgresql", "sqlite")
    ]
    names += ["dump", "copy", "replication-copy", "dlt", "sling"]
    found = {name: run.median(lambda r, n=name: r.seconds(n)) for name in names}  # type: ignore[misc]
    known = sorted(((s, name) for name, s in found.items() if s is not None), reverse=True)
    longest, width = known[0][0] if known else 1.0, max((len(name) for _, name in known), default=0)
    lines = [
        f"{name.ljust(width)}  {'█' * max(1, round(s / longest * _BAR)):<{_BAR}}  {s:.2f} s"
        for s, name in known
    ]
    return "```text\n" + "\n".join(lines) + "\n```"


def machine(server: str) -> Iterator[tuple[str, str]]:
    """What it was measured on."""
    cpu = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    yield "date", f"{datetime.now(UTC):%Y-%m-%d}"
    yield "processor", f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores"
    yield "memory", f"{psutil.virtual_memory().total / 2**30:.0f} GiB"
    yield "system", f"{platform.system()} {platform.release()}"
    yield "Python", platform.python_version()
    yield "database", server
    found = {one.name: one.version for one in distributions()}
    yield (
        "packages",
        ", ".join(f"{name} {found[name]}" for name in _PACKAGES if name in found),
    )  # peers may be missing
