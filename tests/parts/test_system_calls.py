"""Real processes whose system calls fail or kill them, by strace: what was said is durable, and nothing is half there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.house.tree import ROOT
from tests.journal.parts import LIBRARY, Journal, open_journal

from jinbao.journal.verify import verify_journal
from jinbao.model import acts

pytestmark = pytest.mark.parts

WRITES = 6
KILLED = -9


def upgraded(directory: Path) -> Path:
    """A journal with its schema, so that what is struck is the writing of batches."""
    made = open_journal(directory)
    made.ledger.record(acts.created(made.me, "b" * 32))
    made.store.close()
    return directory


def struck(directory: Path, fault: str, *, only: Sequence[Path] = ()) -> tuple[int, list[str]]:
    """Let a process write while strace makes a system call of it fail; its exit code and what it said."""
    command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={fault}"]
    command += [part for path in only for part in ("-P", str(path))]
    ran = subprocess.run(
        [*command, sys.executable, "-m", "tests.parts.writing", str(directory), str(WRITES)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return ran.returncode, ran.stdout.split("\n")[:-1]


def acked(lines: Sequence[str]) -> list[str]:
    """Hashes of the segments that were said to be durable, in order."""
    return [line.split()[2] for line in lines if line.startswith("acked")]


def refused(lines: Sequence[str]) -> list[str]:
    """Codes of what was refused, in order."""
    return [line.split()[1] for line in lines if line.startswith("refused")]


def found(journal: Journal) -> list[str]:
    """Hashes of the segments that batches name, in order of their batches."""
    return [line["sha256"] for line in journal.index.segments() if line["stream"] == str(LIBRARY)]


def whole(directory: Path, lines: Sequence[str]) -> list[str]:
    """Open what is left without a hand's help; what was acknowledged is there in order, once, and all of it is whole."""
    journal = open_journal(directory)
    try:
        journal.shelf.sweep()
        stored, said = found(journal), acked(lines)
        assert verify_journal(journal.store, journal.shelf) == []
        assert not list(journal.shelf.incoming.iterdir())
        assert [sha256 for sha256 in stored if sha256 in said] == said
        assert len(set(stored)) == len(stored)
        assert set(stored) <= set(journal.shelf.stored())
        journal.put(LIBRARY, [journal.segment(9999)])
        return stored
    finally:
        journal.store.close()


@pytest.mark.fault_row(1)
@pytest.mark.parametrize("call", ["fdatasync", "fsync", "rename"])
@pytest.mark.parametrize("nth", [1, 2, 3, 5, 6])
def test_a_process_killed_at_any_durable_act_keeps_what_it_said(tmp_path: Path, call: str, nth: int) -> None:
    """Killed at the n-th sync or rename, a zone comes up by itself with everything it acknowledged, once."""
    directory = upgraded(tmp_path / "zone")

    code, lines = struck(directory, f"{call}:signal=KILL:when={nth}")
    stored = whole(directory, lines)

    assert code in {KILLED, 128 - KILLED}
    assert "done" not in lines
    assert len(stored) - len(acked(lines)) in {0, 1}


@pytest.mark.fault_row(10)
@pytest.mark.parametrize("nth", [1, 2, 5, 9, 14])
def test_no_space_at_a_write_takes_its_transaction_back(tmp_path: Path, nth: int) -> None:
    """When the n-th write to the database finds no space its batch is refused and leaves nothing; the others are stored."""
    directory = upgraded(tmp_path / "zone")
    files = [directory / "zone.db", directory / "zone.db-wal"]

    code, lines = struck(directory, f"pwrite64:error=ENOSPC:when={nth}", only=files)
    stored = whole(directory, lines)

    assert code == 0
    assert stored == acked(lines)
    assert refused(lines) == ["space"]
    assert lines[-1] == "done"


@pytest.mark.fault_row(11)
@pytest.mark.parametrize(("call", "nth"), [("fdatasync", 3), ("fdatasync", 5), ("fsync", 6), ("fsync", 11)])
def test_a_sync_that_failed_is_the_last(tmp_path: Path, call: str, nth: int) -> None:
    """After one sync with EIO nothing is acknowledged any more, though every later sync would succeed."""
    directory = upgraded(tmp_path / "zone")

    code, lines = struck(directory, f"{call}:error=EIO:when={nth}")
    stored = whole(directory, lines)

    assert code == 0
    first = next(at for at, line in enumerate(lines) if line.startswith("refused"))
    assert set(refused(lines)) == {"disk"}
    assert not acked(lines[first:])
    assert len(refused(lines)) + len(acked(lines)) == WRITES
    assert len(stored) - len(acked(lines)) in {0, 1}


@pytest.mark.fault_row(18)
@pytest.mark.parametrize("call", ["pwrite64", "fdatasync", "fsync", "rename"])
def test_a_disk_that_lets_itself_be_read_only_stops_the_writer(tmp_path: Path, call: str) -> None:
    """From the moment the file system is read only nothing is acknowledged, and what was before can be read."""
    directory = upgraded(tmp_path / "zone")
    files = [directory / "zone.db", directory / "zone.db-wal"] if call == "pwrite64" else []

    code, lines = struck(directory, f"{call}:error=EROFS:when=5+", only=files)
    whole(directory, lines)

    assert code == 0
    first = next(at for at, line in enumerate(lines) if line.startswith("refused"))
    assert set(refused(lines)) == {"disk"}
    assert not acked(lines[first:])
