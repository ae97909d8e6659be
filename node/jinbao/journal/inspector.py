"""The inspector: asks a decoder in a process of its own whether a peer's segment may be read in this one.

Owns that process: starts it when the first segment comes, ends it when it takes too long,
starts another when one died, and blames the segment after a few deaths. Verdicts are
remembered by content, so that nothing is decoded twice. The segment's bytes were already
proved to be those the signed header names.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from jinbao.journal.decoding import InspectLimits, examine
from jinbao.model.batch import SegmentRef
from jinbao.model.errors import LocalError
from jinbao.trust.parquet import Shape

VERDICTS_MAX = 10_000
"""Remembered at once: one is a hundred bytes, and costs milliseconds to make again."""

ANSWER_BYTES_MAX = 4096
_START_S = 60.0
_ENDING_S = 0.5
_ENVIRONMENT = {
    "POLARS_MAX_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
    # This process asked the processor when it loaded polars; a service may not a second time, for that needs
    # memory that is written and run.
    "POLARS_SKIP_CPU_CHECK": "1",
}
"""A process whose output has ended is gone within this; one that still runs is out of time."""

PathOf = Callable[[str], Path]
Died = Callable[[str, str], None]
"""Told of a decoder's end: the segment's hash and why."""

_Asked = tuple[str, int, tuple[tuple[str, bool], ...]]


class Examiner(Protocol):
    """Whoever examines a file: a decoder of its own, or this process."""

    def examine(self, path: Path, shape: Shape, segment: str, within_s: float = math.inf) -> str:
        """Why the file may not be read; empty when it may. Raises TimeoutError when that is not known `within_s`."""
        ...

    def close(self) -> None:
        """End what was started."""
        ...


class Inspector:
    """Verdicts on segments, remembered; one segment at a time."""

    def __init__(self, path_of: PathOf, examiner: Examiner) -> None:
        self._path_of, self._examiner = path_of, examiner
        self._verdicts: OrderedDict[_Asked, str] = OrderedDict()
        self._lock = threading.Lock()

    def objection(self, ref: SegmentRef, columns: Mapping[str, bool], within_s: float = math.inf) -> str:
        """Why the segment may not be read here; empty when it may. `columns` says which are text.

        Raises LocalError when no decoder can be had, CorruptionError when there is no such file, and
        TimeoutError when it is not known `within_s`, for which nothing is to blame.
        """
        asked = (ref.sha256, ref.rows, tuple(columns.items()))
        with self._lock:
            if asked not in self._verdicts:
                path = self._path_of(ref.sha256)
                found = self._examiner.examine(path, Shape(ref.rows, columns), ref.sha256, within_s)
                self._verdicts[asked] = found.replace("segment", f"segment {ref.sha256[:12]}", 1)
                if len(self._verdicts) > VERDICTS_MAX:
                    self._verdicts.popitem(last=False)
            return self._verdicts[asked]

    def close(self) -> None:
        """End the decoder, if one runs."""
        with self._lock:
            self._examiner.close()


class InProcess:
    """The same examination in this process: for a simulator, whose segments are its own."""

    def __init__(self, limits: InspectLimits, died: Died) -> None:
        del died
        self._limits = limits

    def examine(self, path: Path, shape: Shape, segment: str, within_s: float = math.inf) -> str:
        """Why the file may not be read; empty when it may. Takes the time it takes."""
        del segment, within_s
        return examine(path, shape, self._limits.parquet)

    def close(self) -> None:
        """Nothing to end."""


class DecoderProcess:
    """A decoder in a process of its own, started when needed and again when it ended."""

    def __init__(self, limits: InspectLimits, died: Died) -> None:
        self._limits, self._died = limits, died
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The decoder that runs now."""
        return self._process.pid if self._process else None

    def examine(self, path: Path, shape: Shape, segment: str, within_s: float = math.inf) -> str:
        """Why the file may not be read; a segment on which decoders end again and again may not.

        Raises TimeoutError when that is not known `within_s`; its decoder is ended.
        """
        deadline = time.monotonic() + within_s
        job = {
            "path": str(path),
            "rows": shape.rows,
            "columns": list(shape.columns.items()),
            "limits": asdict(self._limits.parquet),
            "job_s": self._limits.job_s,
        }
        cause = ""
        for _ in range(self._limits.deaths_max):
            said = self._ask(json.dumps(job).encode() + b"\n", deadline)
            if said is not None:
                return said
            cause = self._end()
            if time.monotonic() >= deadline:
                raise TimeoutError
            self._died(segment, cause)
        limits = f"{self._limits.memory_bytes} bytes and {self._limits.job_s:g} s"
        return (
            f"segment: expected to be decoded within {limits}, got {self._limits.deaths_max} decoders "
            f"that ended, the last: {cause}"
        )

    def _ask(self, job: bytes, deadline: float) -> str | None:
        """The decoder's answer, or None if it ended or took too long."""
        process = self._running()
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # then there is no answer either
            process.stdin.write(job)
            process.stdin.flush()
        line = self._line(process, min(self._limits.job_s, deadline - time.monotonic()))
        try:
            return str(json.loads(line)["objection"]) if line else None
        except (ValueError, KeyError, TypeError):  # a decoder that was made to say something else
            return None

    def _running(self) -> subprocess.Popen[bytes]:
        """A decoder that is ready; raises LocalError when none can be had."""
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._end()
        command = [sys.executable, "-I", "-m", "jinbao.journal.decoder"]
        command += [str(self._limits.memory_bytes), str(self._limits.idle_s)]
        try:
            process = subprocess.Popen(  # noqa: S603  # our own module, numbers of our settings
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=_ENVIRONMENT,
                start_new_session=True,
            )
        except OSError as exc:
            raise LocalError("decoder", expected="a process of its own", got=str(exc)) from exc
        self._process = process
        if self._line(process, _START_S) != b"ready\n":
            raise LocalError(
                "decoder",
                expected=f"one that is ready within {self._limits.memory_bytes} bytes and {_START_S:g} s",
                got=self._end(),
                next_step="raise limits.decoder_memory_bytes, or free memory",
            )
        return process

    @staticmethod
    def _line(process: subprocess.Popen[bytes], within_s: float) -> bytes:
        """The next line, or nothing if it does not come in time, is too long, or cannot come."""
        assert process.stdout is not None
        said, deadline = b"", time.monotonic() + within_s
        waiting = select.poll()
        waiting.register(process.stdout, select.POLLIN)
        while not said.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not waiting.poll(left * 1000):
                return b""
            part = os.read(process.stdout.fileno(), ANSWER_BYTES_MAX)
            said += part
            if not part or len(said) > ANSWER_BYTES_MAX:
                return b""
        return said

    def _end(self) -> str:
        """End the decoder if it runs; returns how it ended."""
        process, self._process = self._process, None
        if process is None:
            return "none"
        try:
            code = process.wait(_ENDING_S)
        except subprocess.TimeoutExpired:
            code = None
        process.kill()
        with process:  # closes both pipes and waits for what was just killed
            pass
        if code is None:
            return "out of time"
        return f"signal {-code}" if code < 0 else f"exit {code}"

    def close(self) -> None:
        """End the decoder, if one runs."""
        self._end()
