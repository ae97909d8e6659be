"""A disk that forgets: what was not synced before a power loss is gone, shortened or back under its old name.

Works on the real files of a test directory. A killed process loses nothing of this; only
`lose_power` does. What may survive by luck is decided by the seed.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jinbao.store.files import Files


@dataclass(frozen=True)
class _Change:
    """One change of a directory that is not durable yet, and how to take it back."""

    directory: Path
    undo: Callable[[], None]


class SimFiles(Files):
    """The files port over `roots`, whose present contents are durable; `attic` keeps what was replaced or removed."""

    def __init__(self, roots: list[Path], attic: Path, rng: random.Random) -> None:
        super().__init__()
        self._roots, self._attic, self._rng = roots, attic, rng
        self._durable: dict[Path, tuple[int, int]] = {}
        self._changes: list[_Change] = []
        self._kept = 0
        attic.mkdir(parents=True, exist_ok=True)
        for path in self._files():
            self._durable[path] = _state(path)

    def _files(self) -> list[Path]:
        return [p for root in self._roots for p in sorted(root.rglob("*")) if p.is_file()]

    def sync(self, path: Path) -> None:
        """Make the contents of a file, or the names in a directory, durable."""
        if path.is_dir():
            self._changes = [change for change in self._changes if change.directory != path]
        else:
            self._durable[path] = _state(path)

    def rename(self, source: Path, target: Path) -> None:
        """Rename; until the target's directory is synced a power loss may take it back."""
        replaced = self._keep(target) if target.exists() else None
        source.replace(target)
        self._move(source, target)

        def undo() -> None:
            if target.exists() and source.parent.is_dir():
                target.replace(source)
                self._move(target, source)
            if replaced is not None:
                replaced.replace(target)
                self._durable[target] = _state(target)

        self._changes.append(_Change(target.parent, undo))

    def remove(self, path: Path) -> None:
        """Remove; until the directory is synced a power loss may bring it back."""
        if not path.is_file():
            return
        kept, state = self._keep(path), self._durable.pop(path, None)
        path.unlink()

        def undo() -> None:
            kept.replace(path)
            if state is not None:
                self._durable[path] = state

        self._changes.append(_Change(path.parent, undo))

    def touch(self, path: Path) -> None:
        """Make a file young; its contents stay as durable as they were."""
        durable = self._durable.get(path) == _state(path)
        super().touch(path)
        if durable:
            self._durable[path] = _state(path)

    def _keep(self, path: Path) -> Path:
        """Another name for a file's contents, out of the way."""
        self._kept += 1
        kept = self._attic / str(self._kept)
        kept.hardlink_to(path)
        return kept

    def _move(self, source: Path, target: Path) -> None:
        if target.is_file():
            if (state := self._durable.pop(source, None)) is not None:
                self._durable[target] = state
            return
        for path in [p for p in self._durable if p == source or source in p.parents]:
            self._durable[target / path.relative_to(source)] = self._durable.pop(path)

    def lose_power(self) -> None:
        """Forget what was not synced: the newest changes of names first, then unsynced contents."""
        surviving = self._rng.randrange(len(self._changes) + 1) if self._rng.random() < 0.3 else 0
        for change in reversed(self._changes[surviving:]):
            change.undo()
        self._changes.clear()
        for path in self._files():
            size, durable = path.stat().st_size, self._durable.get(path)
            if durable == _state(path):
                continue
            kept = durable[0] if durable is not None and durable[0] <= size else 0
            with path.open("rb+") as file:
                file.truncate(self._rng.randint(kept, max(kept, size - 1)))
        for path in self._files():
            self._durable[path] = _state(path)
        for root in self._roots:
            for path in sorted(root.rglob("tmp-*")):
                if path.is_dir() and self._rng.random() < 0.5:
                    shutil.rmtree(path)


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns
