"""What a stretch of work costs: CPU-seconds of whole process trees, and the most memory each process held.

A meter stands outside: the cell that works and the database server are other processes. CPU is
the kernel's own account (a process and the children it has waited for), so that nothing that
ended in between is missed. Memory is the kernel's high-water mark; of a database server's
processes only what is their own, for they share one large buffer.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import psutil

_SAMPLES_S = 0.25


def tree(root: int) -> list[psutil.Process]:
    """A process and all below it; none if it is gone."""
    try:
        process = psutil.Process(root)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def cpu_s(root: int) -> float:
    """CPU-seconds a tree has used so far, with those of its children that ended."""
    total = 0.0
    for process in tree(root):
        try:
            total += sum(process.cpu_times()[:4])
        except psutil.NoSuchProcess:
            continue
    return total


class Meter:
    """Watches the trees of `roots`, by name; `server` is the root whose memory is shared."""

    def __init__(self, roots: dict[str, int], server: str) -> None:
        self._roots, self._server = roots, server
        self._begun: dict[str, dict[str, float]] = {}
        self._peaks: dict[str, int] = {}
        self._lock, self._stopped = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def begin(self, names: Iterable[str]) -> None:
        """Stretches begin; if none is open, memory counts from here."""
        now = {root: cpu_s(pid) for root, pid in self._roots.items()}
        with self._lock:
            if not self._begun:
                self._peaks.clear()
                self._forget_peaks()
            self._begun |= dict.fromkeys(names, now)

    def end(self, name: str) -> dict[str, dict[str, float]]:
        """A stretch ends: CPU-seconds by root, and peaks by process in MB, since memory was counted."""
        now = {root: cpu_s(pid) for root, pid in self._roots.items()}
        self._sample()
        with self._lock:
            before = self._begun.pop(name)
            peaks = {process: round(size / 1e6, 1) for process, size in self._peaks.items()}
        return {"cpu_s": {root: round(now[root] - before[root], 3) for root in now}, "peak_mb": peaks}

    def _watch(self) -> None:
        while not self._stopped.wait(_SAMPLES_S):
            self._sample()

    def _sample(self) -> None:
        for root, pid in self._roots.items():
            for process in tree(pid):
                field = "RssAnon" if root == self._server else "VmHWM"
                size = _status(process.pid, field)
                if size:
                    name = f"{root} {_name(process)}" if root == self._server else _name(process)
                    with self._lock:
                        self._peaks[name] = max(self._peaks.get(name, 0), size)

    def _forget_peaks(self) -> None:
        for root, pid in self._roots.items():
            for process in tree(pid) if root != self._server else ():
                try:
                    Path(f"/proc/{process.pid}/clear_refs").write_text("5", encoding="ascii")
                except OSError:  # it ended, or is not ours: its mark stays what it was
                    continue


def _status(pid: int, field: str) -> int:
    """Bytes of a field of /proc/PID/status; 0 if it is gone."""
    try:
        found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text("utf-8"))
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


def _name(process: psutil.Process) -> str:
    """A zone by its endpoint, another Python by its module, anything else by its program."""
    try:
        line = process.cmdline()
    except psutil.Error:
        return "?"
    if "--zone" in line:
        node = Path(line[line.index("--config") + 1]).parent.name
        return f"{node}/{line[line.index('--zone') + 1]}"
    if "-m" in line[:3]:
        return line[line.index("-m") + 1].removeprefix("benchmarks.line.")
    known = Path(line[0]).name if line else ""
    return "decoder" if any("decoder" in part for part in line) else known.split(":")[0] or "?"
