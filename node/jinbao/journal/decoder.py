"""The decoder: a process of its own that examines segments for a zone, and is all that a hostile one can end.

Reads one job a line from stdin, writes one answer a line to stdout, ends at the end of
its input or when nothing was asked for a while. Bounds itself before it reads the first
byte: address space, processor time of each job, open files; it can write no file and
leaves no core. Holds no database, no key and no socket.
"""

from __future__ import annotations

import json
import math
import resource
import select
import sys
import time
from pathlib import Path
from typing import Any

OPEN_FILES_MAX = 32


def bound(memory_bytes: int) -> None:
    """Lower this process's own limits; nothing in it can raise them again."""
    for what, most in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_NOFILE, OPEN_FILES_MAX),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (least, least))


def answer(job: dict[str, Any]) -> str:
    """What `examine` says of one job, within its share of processor time."""
    from jinbao.journal.decoding import examine  # noqa: PLC0415  # bounded first
    from jinbao.trust.parquet import ParquetLimits, Shape  # noqa: PLC0415

    most = math.ceil(time.process_time() + job["job_s"]) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (most, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    shape = Shape(job["rows"], dict(job["columns"]))
    return examine(Path(job["path"]), shape, ParquetLimits(**job["limits"]))


def main() -> int:
    """Serve until the input ends or nothing is asked for `idle_s`; arguments: memory in bytes, idle seconds."""
    memory_bytes, idle_s = int(sys.argv[1]), float(sys.argv[2])
    bound(memory_bytes)
    import jinbao.journal.decoding  # noqa: F401, PLC0415  # ready only once everything is loaded

    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while select.select([sys.stdin], [], [], idle_s)[0]:
        line = sys.stdin.readline()
        if not line:
            break
        sys.stdout.write(json.dumps({"objection": answer(json.loads(line))}) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
