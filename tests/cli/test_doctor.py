"""`jinbao doctor` as a person and a program meet it: golden in both languages, codes, JSON, and what --fix does."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.appliance.hospital import make_older
from tests.cli.conftest import Say
from tests.cli.harness import Net
from tests.conftest import Golden

from jinbao.appliance.ending import FILE as OPEN
from jinbao.model.zone import Zone

CITY = "140100"
FIELDS = {
    "check", "zone", "state", "code", "thing", "expected_en", "expected_zh", "got_en", "got_zh", "fix",
    "advice_en", "advice_zh", "numbers",
}  # fmt: skip
"""Of a line of `--json`: fields may come to be more, and never fewer."""

_DIFFERS = (
    (r"\d+ MiB", "<size> MiB"),
    (r"SQLite \d+\.\d+\.\d+(: one connection.*needs|：仅由.*要求)?", "SQLite <version>"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "<time>"),
)


@pytest.fixture
def own(net: Net, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Net]:
    """A copy of the network to be hurt, on a machine in China."""
    shutil.copytree(net.directory, tmp_path / "net", symlinks=True)
    for config in (tmp_path / "net").glob("*/node.toml"):
        text = config.read_text(encoding="utf-8").replace(str(net.directory), str(tmp_path / "net"))
        config.write_text(text, encoding="utf-8")
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    yield Net(tmp_path / "net")
    monkeypatch.undo()
    time.tzset()


def normal(net: Net, text: str) -> str:
    """The text without what differs from run to run."""
    text = net.normal(text)
    for pattern, name in _DIFFERS:
        text = re.sub(pattern, name, text)
    return text


def told(own: Net, say: Say, *more: str) -> dict[str, Any]:
    """The answer of `--json`."""
    found: dict[str, Any] = json.loads(say("doctor", "--json", "--config", own.config(), *more).out)
    return found


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_what_is_found_is_the_golden_one(own: Net, say: Say, golden: Golden, lang: str) -> None:
    """A stopped city without a backup and without anybody above is told as its golden file says, with exit code 1."""
    said = say("doctor", "--config", own.config(), lang=lang)

    assert (said.err, said.code) == ("", 1)
    golden(f"{lang}/doctor.txt", normal(own, said.out))


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_checks_are_named(say: Say, golden: Golden, lang: str) -> None:
    """`--list` names every check in the person's language, needs no settings, and says the same in JSON."""
    said = say("doctor", "--list", lang=lang)
    found = json.loads(say("doctor", "--list", "--json").out)

    golden(f"{lang}/doctor-list.txt", said.out)
    assert [one["check"] for one in found] == [line.split()[0] for line in said.out.splitlines()[1:]]


def test_json_carries_every_field(own: Net, say: Say) -> None:
    """Each line of `--json` has every field of the contract, a finding that is not ok a text in both languages."""
    found = told(own, say)

    assert found["state"] == "red"
    assert all(set(line) >= FIELDS for line in found["lines"])
    for line in found["lines"]:
        assert line["code"].startswith(f"{line['check']}.")
        assert line["got_en"]
        assert line["got_zh"]
        if line["state"] == "red":
            assert line["fix"], line


@pytest.mark.parametrize(
    ("only", "code"),
    [("schema", 0), ("backup", 1), ("lock", 3), ("clok", 2)],
    ids=["well", "red", "a warning", "no such check"],
)
def test_an_exit_code_says_the_worst(own: Net, say: Say, only: str, code: int) -> None:
    """0 where all is well, 1 for red, 3 for a warning, 2 and the nearest name for a check there is not."""
    (own.directory / CITY / "exchange" / OPEN).touch()

    said = say("doctor", "--only", only, "--config", own.config())

    assert said.code == code
    assert code != 2 or "did you mean clock?" in said.err


def test_a_zone_that_is_not_there_is_no_finding(own: Net, say: Say) -> None:
    """A zone that the node does not run is a wrong use, as everywhere."""
    said = say("doctor", "--zone", "production", "--config", own.config("140000"))

    assert said.code == 2
    assert "expected exchange or decision" in said.err


def hurt(own: Net) -> None:
    """Three faults that are safe to mend, and one that is not."""
    home = own.directory / CITY
    (home / "exchange" / "identity" / "current" / "key.pem").chmod(0o640)
    (home / "exchange").chmod(0o750)
    make_older(own.database(CITY, Zone.EXCHANGE))
    orphan = home / "decision" / "segments" / "00" / f"{'0' * 64}.parquet"
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"PAR1")
    os.utime(orphan, (1, 1))


MENDED = (
    "permissions +140100/exchange +done +mode 600",
    "schema +140100/exchange +done +1 steps",
    "segments +140100/decision +done +4 bytes",
    "backup +140100/exchange +left +left to a person",
)

HURT = ("--only", "permissions", "--only", "schema", "--only", "segments", "--only", "backup")


def test_fix_does_what_is_safe_and_says_what_it_leaves(own: Net, say: Say) -> None:
    """With `--fix` modes, schema and orphans are mended and said to be, a missing backup is left and said to be."""
    hurt(own)

    said = say("doctor", "--fix", *HURT, "--config", own.config())
    again = told(own, say, *HURT)

    assert said.code == 1  # nobody made a backup
    assert {line["check"] for line in again["lines"] if line["state"] != "ok"} == {"backup"}
    for words in MENDED:
        assert re.search(words, said.out), words


def test_fix_tells_a_program_the_same(own: Net, say: Say) -> None:
    """With `--fix --json` each finding has its repair, done or left, in both languages; a second time only what is left."""
    hurt(own)

    first = told(own, say, "--fix", *HURT)["repairs"]
    second = told(own, say, "--fix", *HURT)["repairs"]

    assert {one["code"]: one["done"] for one in first} == {
        "permissions.open": True,
        "schema.older": True,
        "segments.orphans": True,
        "backup.none": False,
    }
    assert all(one["said_en"] and one["said_zh"] for one in first)
    assert {one["code"] for one in second} == {"backup.none"}


def test_without_fix_nothing_changes(own: Net, say: Say) -> None:
    """Looking at a node leaves every file of it as it was, contents, modes and names."""
    hurt(own)
    home = own.directory / CITY

    def state() -> dict[str, tuple[int, bytes]]:
        files = [path for path in home.rglob("*") if path.is_file() and path.name != "lock"]
        modes = {str(path): (path.stat().st_mode, b"") for path in home.rglob("*") if path.is_dir()}
        return modes | {str(path): (path.stat().st_mode, path.read_bytes()) for path in files}

    before = state()
    say("doctor", "--config", own.config())

    assert state() == before
