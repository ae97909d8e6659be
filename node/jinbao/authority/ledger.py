"""The ledger of an authority: what it did, one line each, durable before it is said, chained by hash.

Append only. Every line names the SHA-256 of the line before it, so that nothing can be taken out
or changed in the middle unseen. A line without its end was being written when the process
stopped: nobody was told of it, so it is cut away, and the cut is recorded. Several processes may
have it open; one at a time acts, and first reads what the others wrote.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinbao.authority.private_files import make_private, sync_directory
from jinbao.model.errors import CorruptionError, LocalError
from jinbao.store.files import Files

FILE, LOCK = "ledger.jsonl", "lock"

WAIT_S = 10.0
"""An act of another process takes milliseconds, with a person at a signing device seconds."""

_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Entry:
    """One act."""

    number: int
    at: datetime
    kind: str
    body: Mapping[str, Any]


class Ledger:
    """The acts of one authority, in `directory`, or in memory where that is None."""

    def __init__(self, directory: Path | None, files: Files | None = None) -> None:
        self._directory, self._files = directory, files or Files()
        self._thread, self._is_held = threading.RLock(), False
        self._head, self._number, self._read_to = "", 0, 0
        self._unread: list[Entry] = []

    @contextmanager
    def exclusive(self) -> Iterator[list[Entry]]:
        """Nobody else acts meanwhile; gives what was written since the last time. Who has it may take it again."""
        with self._thread:
            if self._directory is None or self._is_held:
                yield self._taken()
                return
            make_private(self._directory)
            descriptor = self._lock(self._directory)
            # The lock is of the descriptor: another one of this process would wait for it.
            self._is_held = True
            try:
                self._catch_up(self._directory / FILE)
                yield self._taken()
            finally:
                self._is_held = False
                os.close(descriptor)

    def _taken(self) -> list[Entry]:
        found, self._unread = self._unread, []
        return found

    @staticmethod
    def _lock(directory: Path) -> int:
        descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        began = time.monotonic()
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                if time.monotonic() - began > WAIT_S:
                    os.close(descriptor)
                    raise LocalError(
                        f"authority {directory}",
                        expected=f"its turn within {WAIT_S:g} s",
                        got="another process",
                    ) from exc
                time.sleep(_POLL_S)
            else:
                return descriptor

    def _catch_up(self, path: Path) -> None:
        """Read what others wrote, and cut away a last line that has no end."""
        content = b""
        if path.exists():
            with path.open("rb") as file:
                file.seek(self._read_to)
                content = file.read()
        whole, _, torn = content.rpartition(b"\n")
        for line in whole.split(b"\n") if whole else []:
            self._unread.append(self._checked(line))
        if torn:
            os.truncate(path, self._read_to)
            self._files.sync(path)
            self._unread.append(self.append("recovered", datetime.now(UTC), {"bytes": len(torn)}))

    def _checked(self, line: bytes) -> Entry:
        thing = f"ledger of {self._directory}: line {self._number + 1}"
        try:
            found = json.loads(line)
            entry = Entry(
                int(found["number"]), datetime.fromisoformat(found["at"]), str(found["kind"]), found["body"]
            )
            said = entry.number, str(found["previous"])
        except (ValueError, KeyError, TypeError) as exc:
            raise CorruptionError(thing, expected="an act", got=type(exc).__name__) from exc
        if said != (self._number + 1, self._head):
            raise CorruptionError(
                thing,
                expected=f"number {self._number + 1} after {self._head[:12] or 'nothing'}",
                got=f"number {said[0]} after {said[1][:12] or 'nothing'}",
                next_step="restore the authority from its backup",
            )
        self._move(line)
        return entry

    def _move(self, line: bytes) -> None:
        self._head, self._number = hashlib.sha256(line).hexdigest(), self._number + 1
        self._read_to += len(line) + 1

    def append(self, kind: str, now: datetime, body: Mapping[str, Any]) -> Entry:
        """Write one act; after return no crash forgets it. Inside `exclusive` only."""
        entry = Entry(self._number + 1, now, kind, json.loads(json.dumps(body)))
        content = {
            "number": entry.number,
            "previous": self._head,
            "at": now.isoformat(),
            "kind": kind,
            "body": body,
        }
        line = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
        if self._directory is not None:
            self._write(self._directory / FILE, line + b"\n")
        self._move(line)
        return entry

    def _write(self, path: Path, line: bytes) -> None:
        is_new = not path.exists()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            written = os.write(descriptor, line)
        finally:
            os.close(descriptor)
        if written != len(line):
            raise LocalError(f"ledger {path}", expected="room for a line", got="a full disk")
        self._files.sync(path)
        if is_new:
            sync_directory(path.parent)
