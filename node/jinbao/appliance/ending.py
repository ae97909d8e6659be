"""How a zone ended last: a file that is there while it is open, and stays if it did not end well.

After a kill, a power loss or a disk that failed the next start looks at the database before it
believes it: every page, every act of the journal's chain, and every mark. Segments need no look: one is on the
shelf only after it was durable, and scrubbing reads them all. Repairs nothing.
"""

from __future__ import annotations

from pathlib import Path

from jinbao.journal.verify import verify_acts, verify_marks
from jinbao.model.errors import CorruptionError
from jinbao.store.engine import Store
from jinbao.store.files import Files
from jinbao.store.soundness import require_sound

FILE = "open"


class Ending:
    """The file of one zone's directory, made durable before anything else is written there."""

    def __init__(self, directory: Path, files: Files) -> None:
        self._file = directory / FILE
        self.was_well = not self._file.exists()
        """Whether the zone was closed last, or never opened."""
        if self.was_well:
            self._file.touch(mode=0o600)
            files.sync_directory(directory)

    def check(self, store: Store) -> None:
        """After an end that was none, raise CorruptionError for a database that is not as it was written."""
        if self.was_well:
            return
        require_sound(store)
        for damage in (*verify_acts(store), *verify_marks(store)):
            raise CorruptionError(
                f"journal: {damage.thing}",
                expected="what was recorded",
                got=damage.detail,
                next_step="put back a copy or promote the backup; docs/how-to/when-a-disk-fails.md",
            )

    def well(self) -> None:
        """The zone is closed and all it wrote is where it belongs."""
        self._file.unlink(missing_ok=True)
