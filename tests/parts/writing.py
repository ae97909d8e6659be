"""A small zone that writes and says what is durable, one line each; run as a process whose system calls fail.

`python -m tests.parts.writing DIRECTORY COUNT` records that many segments with an act each, and prints
`acked N` once act N is durable, or `refused CODE` for an error of ours; it goes on as long as it is let.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.journal.parts import LIBRARY, open_journal

from jinbao.model.errors import JinbaoError
from jinbao.store.files import telling_full_disk


def main(directory: Path, count: int) -> None:
    """Write, and say so."""
    journal = open_journal(directory)
    journal.store.latch = journal.shelf._files.latch
    for number in range(count):
        try:
            with telling_full_disk("step"):
                ref = journal.segment(*range(number, number + 300))
                journal.put(LIBRARY, [ref])
        except JinbaoError as exc:
            say(f"refused {exc.code}")
        else:
            say(f"acked {number} {ref.sha256}")
    journal.store.close()
    say("done")


def say(line: str) -> None:
    """One line, at once: whoever reads it may be all that is left of it."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
