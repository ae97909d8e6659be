"""Run the cells of a plan, each in a process of its own, one after the other, and print the table of ratios.

A cell that ran to its end is not run again, so that a run that was cut off goes on.
Rounds interleave: every cell once, then every cell again; ratios are taken within a round.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.line.cell import Bench
from benchmarks.line.goals import Goal, Run, read, tenfold
from benchmarks.line.meter import Meter
from benchmarks.line.page import page, printed
from benchmarks.line.server import Server, serving
from benchmarks.line.sources import load_postgresql, load_sqlite

ROOT = Path(__file__).parents[2]
PLAN = (
    "peers dump", "ours hop:postgresql", "peers replication", "ours line:postgresql", "peers copy",
    "ours extract:postgresql", "streams raw", "ours hop:sqlite", "loaders sling", "ours line:sqlite",
    "loaders dlt", "ours extract:sqlite", "streams jetstream", "peers packed",
)  # fmt: skip
"""A module and its cell, in the order of a round."""
QUICK = tuple(cell for cell in PLAN if cell != "ours hop:sqlite")
"""What three minutes have room for: the line over SQLite has its hops in it."""
CROWD = tuple(f"crowd replay:{count}" for count in (1, 10, 100, 372))
"""A curve: each once."""


@dataclass(frozen=True)
class Results:
    """One file per cell and round."""

    directory: Path

    def file(self, cell: str, number: int) -> Path:
        """Where the result of a cell is."""
        return self.directory / f"{cell.replace(' ', '.').replace(':', '-')}.{number}.json"

    def is_whole(self, cell: str, number: int) -> bool:
        """Whether a cell ran to its end."""
        file = self.file(cell, number)
        return file.exists() and not json.loads(file.read_text(encoding="utf-8"))["trouble"]

    def write(self, cell: str, number: int, body: dict[str, Any]) -> None:
        """Complete, or not there."""
        file = self.file(cell, number)
        file.with_suffix(".tmp").write_text(json.dumps(body, indent=1), encoding="utf-8")
        file.with_suffix(".tmp").replace(file)


def run_cell(cell: str, bench: Bench) -> tuple[dict[str, Any], str]:
    """The stretches of one cell by name, and why it ended early; empty if it did not."""
    module, name = cell.split()
    log = bench.directory / "cell.log"
    command = [sys.executable, "-m", f"benchmarks.line.{module}", name]
    with (
        log.open("w+b") as said,
        subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True
        ) as process,
        Meter({"cell": process.pid, "postgresql": bench.server.pid}, "postgresql") as meter,
    ):
        try:
            stretches = _follow(process, meter, bench)
        except BaseException:
            process.terminate()
            raise
        code = process.wait()
    return stretches, log.read_text(encoding="utf-8")[-3000:] or f"exit code {code}" if code else ""


def _follow(process: subprocess.Popen[str], meter: Meter, bench: Bench) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    stretches: dict[str, Any] = {}
    try:
        print(bench.told(), file=process.stdin, flush=True)
        for line in process.stdout:
            body = json.loads(line)
            if "begin" in body:
                meter.begin(body["begin"])
            else:
                name = body.pop("end")
                stretches[name] = body | meter.end(name)
            print(file=process.stdin, flush=True)
    except BrokenPipeError:  # it ended, and its exit code says so
        return stretches
    return stretches


def main() -> int:
    """Make the data, run what has no result yet, print the tables."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # on the way out everything is ended
    given = _arguments()
    if given.quick:
        given.rows, given.rounds, given.again, given.cells = 100_000, 1, True, given.cells or QUICK
    base = given.directory.resolve()
    with serving(base / "postgresql") as server:
        run, failed = _measured(server, base, given.rows, given)
        more: tuple[Goal, ...] = ()
        if given.tenfold:
            plan = argparse.Namespace(
                cells=["ours line:postgresql"], rounds=1, again=given.again, crowd=False
            )
            large, troubled = _measured(server, base, given.rows * 10, plan)
            more, failed = tenfold(run, large), failed + troubled
        print(f"\n{printed(run, more)}")
        if given.page:
            said = str(server.value("SELECT 'PostgreSQL ' || current_setting('server_version')"))
            given.page.write_text(page(run, more, server=said), encoding="utf-8")
    return 1 if failed else 0


def _measured(server: Server, base: Path, rows: int, given: argparse.Namespace) -> tuple[Run, int]:
    """Run the plan at one size; the results, and how many cells ended early."""
    cells, directory = given.cells or PLAN, base / str(rows)
    results = Results(directory / "results" / _code())
    results.directory.mkdir(parents=True, exist_ok=True)
    csv_bytes = load_postgresql(server, rows)
    wants_sqlite = any(cell.endswith("sqlite") for cell in cells)
    kept = load_sqlite(directory / "source.db", rows) if wants_sqlite else directory
    (results.directory / "csv_bytes").write_text(str(csv_bytes), encoding="utf-8")
    bench = Bench(rows, directory, server, kept)
    failed = sum(
        not _once(results, cell, number, bench, again=given.again)
        for number in range(1, given.rounds + 1)
        for cell in (*cells, *(CROWD if given.crowd and number == 1 else ()))
    )
    return read(results.directory), failed


def _code() -> str:
    """Names product and benchmark as they are now: results of other code are not this run's."""
    whole = hashlib.sha256()
    for folder in ("node", "benchmarks/line"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            whole.update(path.read_bytes())
    return whole.hexdigest()[:12]


def _once(results: Results, cell: str, number: int, bench: Bench, *, again: bool) -> bool:
    if not again and results.is_whole(cell, number):
        return True
    began, load = time.monotonic(), os.getloadavg()[0]
    stretches, trouble = run_cell(cell, bench)
    body = {"cell": cell, "round": number, "rows": bench.rows, "load": round(load, 2)}
    body |= {"stretches": stretches, "trouble": trouble}
    results.write(cell, number, body)
    said = ", ".join(f"{name} {body['seconds']:.2f} s" for name, body in stretches.items())
    print(f"round {number}: {cell} ({time.monotonic() - began:.0f} s): {said}", flush=True)
    if trouble:
        print(f"round {number}: {cell}: ENDED EARLY\n{trouble}", file=sys.stderr, flush=True)
    return not trouble


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.line", description=__doc__)
    parser.add_argument("cells", nargs="*", help='for example "ours hop:sqlite"; none: the whole plan')
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory", type=Path, default=ROOT / "build" / "bench")
    parser.add_argument(
        "--tenfold", action="store_true", help="the whole line once more, at ten times the rows"
    )
    parser.add_argument("--quick", action="store_true", help="100 000 rows, one round, every cell anew")
    parser.add_argument("--crowd", action="store_true", help="one parent of 1 to 372 children, once")
    parser.add_argument("--page", type=Path, help="write the page docs/performance.md here")
    parser.add_argument("--again", action="store_true", help="run cells whose result is there, too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
