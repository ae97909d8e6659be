"""Whether a zone was built from a copy, and nobody has told it yet how far it had come.

A copy cannot know that it is old. What a production zone sealed after it was made is at its exchange zone, and may be
at the parent: sealed once more, other batches would stand under the same numbers. So a zone that was put back from a
copy seals nothing before its exchange zone called, which says how far it is; an exchange zone that was put back itself
calls only after the parent called it. A zone that was never put back waits for nobody, however long its line is down.
A newer epoch ends the wait: what a holder before had sent is taken back by `flow.healing`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from jinbao.flow.ports import Observer
from jinbao.model.errors import UntoldError
from jinbao.model.stream import Mark
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint, Zone
from jinbao.store.files import Files, seal

FILE = "restored.json"
_NEXT = "start that zone and its line; if it is gone for good: jinbao line proceed; docs/how-to/restore.md"


def note_restored(files: Files, directory: Path, epoch: int) -> None:
    """Leave word, durable, that a zone's directory was built from a copy whose journal knows this epoch."""
    temporary = directory / f"{FILE}.tmp"
    temporary.write_text(json.dumps({"epoch": epoch}) + "\n", encoding="utf-8")
    seal(files, temporary, directory / FILE)


class Restored:
    """One zone's wait for the word of whoever holds what it sealed."""

    def __init__(
        self,
        me: Endpoint,
        directory: Path,
        *,
        topology: Callable[[], Topology],
        epoch: Callable[[], int],
        incarnation: Callable[[], str],
        observer: Observer,
    ) -> None:
        self._me, self._file = me, directory / FILE
        self._topology, self._epoch = topology, epoch
        self._incarnation, self._observer = incarnation, observer
        self._built_at = _epoch_of(self._file)

    @property
    def awaited(self) -> Endpoint | None:
        """Whose word is waited for; None for a zone that waits for nobody."""
        if self._built_at is None or self._epoch() > self._built_at:
            return None
        if self._me.zone is Zone.PRODUCTION:
            return Endpoint(self._me.node, Zone.EXCHANGE)
        return self._topology().parent(self._me) if self._me.zone is Zone.EXCHANGE else None

    def hear(self, caller: Endpoint, marks: Collection[Mark], is_empty: bool) -> None:
        """A caller said how far it is, and not further than we: from whom we wait for, that ends the wait.

        An exchange zone without one mark of ours is itself new, unless we are `is_empty`, and says nothing of what was.
        """
        if self.awaited != caller:
            return
        knows = any(m.stream.origin == self._me and m.incarnation == self._incarnation() for m in marks)
        if knows or is_empty or self._me.zone is Zone.EXCHANGE:
            self.end()
            self._observer.event("restored_told", said_by=str(caller))

    def end(self) -> None:
        """Wait no longer; of this copy never again."""
        self._built_at = None
        self._file.unlink(missing_ok=True)

    def require_told(self) -> None:
        """Raise UntoldError while a production zone may not seal."""
        if self._me.zone is Zone.PRODUCTION:
            self._require()

    def told_beside(self, peer: Endpoint, further: Sequence[Mark]) -> Sequence[Mark]:
        """What a call tells a peer beside our marks; raises UntoldError while our production zone may not be called."""
        if self._me.zone is Zone.EXCHANGE and peer == Endpoint(self._me.node, Zone.PRODUCTION):
            self._require()
        return further

    def _require(self) -> None:
        awaited = self.awaited
        if awaited is not None:
            raise UntoldError(
                f"zone {self._me}, put back from a copy",
                expected=f"a call of {awaited}, which says how far it is",
                got="none yet",
                next_step=_NEXT,
            )


def _epoch_of(file: Path) -> int | None:
    """What the file says; None where there is none. It is sealed whole: half of it is no file of ours."""
    try:
        return int(json.loads(file.read_text(encoding="utf-8"))["epoch"])
    except FileNotFoundError:
        return None
