"""The ledger of an authority: nothing acknowledged is lost, nothing is changed unseen, several may write."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.authority.parts import CITY, DOMAIN, NOW, House, zone_request

from jinbao.authority.authority import Authority
from jinbao.authority.ledger import FILE, Ledger
from jinbao.authority.profile import ROOT
from jinbao.authority.state import Stage
from jinbao.model.errors import CorruptionError

ROOM = Path(__file__).parents[2]

FOUND_AND_DIE = """
import os, signal, sys
from pathlib import Path
from jinbao.authority.authority import Authority
from jinbao.authority.keys import FileKeys
from jinbao.authority.ledger import Ledger
from jinbao.store.files import Files
from tests.authority.parts import DOMAIN, NOW

class Dying(Files):
    left = int(sys.argv[2])
    def sync(self, path):
        Dying.left -= 1
        if Dying.left < 0 and sys.argv[3] == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        super().sync(path)
        if Dying.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

place = Path(sys.argv[1])
authority = Authority(Ledger(place, Dying()), FileKeys(place / "keys"))
authority.found("root", DOMAIN, "", NOW)
for _ in range(2):
    authority.crl(NOW)
    print("acknowledged", flush=True)
"""


def _acts(directory: Path) -> list[str]:
    with Ledger(directory).exclusive() as news:
        return [entry.kind for entry in news]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_at_any_write_loses_nothing_acknowledged(tmp_path: Path, moment: str) -> None:
    """An authority killed around any of its writes goes on where it was, with all it acknowledged."""
    for left in range(6):
        place = tmp_path / f"{moment}-{left}"
        command = [sys.executable, "-c", FOUND_AND_DIE, str(place), str(left), moment]
        environment = os.environ | {"PYTHONPATH": f"{ROOM / 'node'}:{ROOM}"}

        run = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)
        said = run.stdout.decode().count("acknowledged")
        authority = Authority.at(place)
        with authority.acting() as state:
            is_whole = state.key_in(Stage.ACTIVE) is not None
        if not is_whole:
            authority.found(ROOT, DOMAIN, "", NOW)

        assert run.returncode == -signal.SIGKILL, run.stderr
        assert _acts(place).count("crl") >= said
        assert len(authority.roots()) == 1
        assert len(list((place / "keys").iterdir())) == 1


def test_a_torn_line_is_cut_wherever_it_ends(home: House) -> None:
    """A last line cut at any byte is as if it had not begun; the cut is recorded and the authority goes on."""
    path = home.directory / "140000" / FILE
    before = path.read_bytes()
    home.province.issue(CITY, home.topology, zone_request(), now=NOW)
    line = path.read_bytes()[len(before) :]

    for length in range(1, len(line) - 1, 97):
        path.write_bytes(before + line[:length])
        again = Authority.at(home.directory / "140000")
        assert again.issued() == []
        assert _acts(home.directory / "140000")[-1] == "recovered"
    path.write_bytes(before + line[: len(line) // 2])
    again = Authority.at(home.directory / "140000")
    again.issue(CITY, home.topology, zone_request(), now=NOW)

    assert len(Authority.at(home.directory / "140000").issued()) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: [*lines[:2], lines[2].replace(b"2026", b"2025", 1), *lines[3:]],
        lambda lines: [*lines[:2], *lines[3:]],
        lambda lines: [lines[1], lines[0], *lines[2:]],
        lambda lines: [b"noise", *lines[1:]],
    ],
    ids=["changed", "taken out", "swapped", "noise"],
)
def test_a_changed_ledger_is_refused(home: House, change: object) -> None:
    """A line that was changed, taken out or moved is named, and nothing is issued on top of it."""
    path = home.directory / "140000" / FILE
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join(change(lines)) + b"\n")  # type: ignore[operator]

    with pytest.raises(CorruptionError, match=r"ledger of .*: line"):
        Authority.at(home.directory / "140000").issued()


def test_two_holders_of_one_directory_take_turns(home: House) -> None:
    """What one process or thread records the other sees before it acts; numbers of lists are never given twice."""
    other = Authority.at(home.directory / "140000")
    holders = (home.province, other) * 4
    threads = [threading.Thread(target=holder.crl, args=(NOW,)) for holder in holders]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    lines = (home.directory / "140000" / FILE).read_text().splitlines()
    numbers = [json.loads(line)["number"] for line in lines]
    assert numbers == list(range(1, len(lines) + 1))
    assert len(_acts(home.directory / "140000")) == len(lines)
    [last] = other.crl(NOW)
    assert len([kind for kind in _acts(home.directory / "140000") if kind == "crl"]) == 9
    assert last.extensions[0].value.crl_number == 9  # type: ignore[union-attr]


def test_a_founding_cut_off_half_way_goes_on(tmp_path: Path) -> None:
    """Founding again after a crash uses the key that was made, and ends as one founding would."""
    authority = Authority.at(tmp_path)
    authority.found(ROOT, DOMAIN, "", NOW)
    path = tmp_path / FILE
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))

    again = Authority.at(tmp_path)
    again.found(ROOT, DOMAIN, "", NOW)

    with again.acting() as state:
        assert [key.stage for key in state.keys.values()] == [Stage.ACTIVE]
    assert len(list((tmp_path / "keys").iterdir())) == 1
