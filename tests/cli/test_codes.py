"""Exit codes and errors: 0 ok, 1 failed, 2 usage, 3 degraded, 4 unreachable; in words, never a traceback."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Say
from tests.cli.harness import Net, Said, spawn

CODES: dict[str, tuple[Any, ...]] = {
    "ok": (0, "library", "count", "pension_macro", "retiree"),
    "failed: no such record": (1, "trace", "nobody", "--reason", "a test"),
    "usage: no such table": (2, "library", "show", "pension_macro", "retire"),
    "degraded: the zone is stopped": (3, "status"),
    "unreachable: only a running zone can": (4, "line", "pull"),
}

ERRORS: dict[str, tuple[Any, ...]] = {
    "unknown table": (2, "library", "show", "pension_macro", "retire"),
    "unknown library": (2, "library", "count", "pension_marco", "retiree"),
    "unknown library of quarantine": (2, "quarantine", "show", "pension_marco"),
    "unknown table of quarantine": (2, "quarantine", "show", "pension_macro", "--table", "retire"),
    "unknown library of decision": (2, "decision", "show", "--library", "pension_marco"),
    "unknown indicator": (2, "decision", "show", "--indicator", "PEN-999"),
    "no such act": (2, "journal", "show", "999999"),
    "act of zero": (2, "journal", "show", "0"),
    "negative limit": (2, "library", "show", "pension_macro", "retiree", "--limit", "-2"),
    "negative page": (2, "journal", "list", "--limit", "-2"),
    "no such month": (2, "library", "show", "pension_macro", "retiree", "--as-of", "209913"),
    "no such stream": (2, "line", "rebase", "not a stream"),
    "no such neighbour": (2, "line", "pause", "--peer", "999999", "--reason", "test"),
    "no reason given": (2, "trace", "nobody"),
    "output into nowhere": (1, "quarantine", "export", "pension_macro", "--output", "/nowhere/x.csv"),
    "file into nowhere": (
        1,
        "library",
        "export",
        "pension_macro",
        "retiree",
        "--output",
        "/nowhere/x",
        "--reason",
        "a test",
    ),
}


def _is_worded(said: Said, code: int) -> bool:
    """One line on stderr of thing, expected, got; nothing on stdout."""
    parts = all(word in said.err for word in (": expected ", ", got "))
    return said.code == code and not said.out and said.err.count("\n") == 1 and parts


@pytest.mark.parametrize("case", CODES)
def test_every_exit_code_has_its_case(net: Net, say: Say, case: str) -> None:
    """A command ends with the code the help promises."""
    code, *arguments = CODES[case]

    said = say(*arguments, "--config", net.config())

    assert said.code == code, said.err


def test_a_process_ends_with_the_code(net: Net) -> None:
    """The code of a command is its process's: 3 of a zone that is not well, 2 of settings that are none."""
    degraded = spawn("status", "--config", net.config())
    usage = spawn("status", "--config", f"{net.directory}/none.toml")

    assert (degraded.code, degraded.err) == (3, "")
    assert (usage.code, usage.out, "Traceback" in usage.err) == (2, "", False)


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_is_one_sentence(net: Net, say: Say, case: str) -> None:
    """What cannot be done is said on stderr in one line: thing, expected, got."""
    code, *arguments = ERRORS[case]

    said = say(*arguments, "--config", net.config())

    assert _is_worded(said, code), said


def test_an_error_is_worded_in_chinese(net: Net, say: Say) -> None:
    """A Chinese reader gets thing, expected and got with Chinese words between."""
    said = say("library", "show", "pension_macro", "retire", "--config", net.config(), lang="zh")

    assert said.err == "table of pension_macro：应为 employer or active_person or retiree，实为 retire\n"


def test_an_error_names_the_next_step(net: Net, say: Say) -> None:
    """An error that can be mended says how."""
    said = say("line", "pull", "--config", net.config())

    assert said.err == "zone 140100/exchange: expected a running zone, got a stopped one; jinbao serve\n"


@pytest.mark.parametrize("name", ["none.toml", "."], ids=["no file", "a directory"])
def test_settings_that_cannot_be_read_are_named(tmp_path: Path, say: Say, name: str) -> None:
    """A settings file that is none is a usage error that names it."""
    said = say("status", "--config", str(tmp_path / name))

    assert _is_worded(said, 2)
    assert str(tmp_path) in said.err


@pytest.mark.parametrize(
    "arguments",
    [("--persons", "10", "--url", "sqlite:///{0}/a.db"), ("--persons", "5000", "--url", "nonsense")],
    ids=["too few", "no database"],
)
def test_a_sample_that_cannot_be_made_is_named(tmp_path: Path, say: Say, arguments: tuple[str, ...]) -> None:
    """A sample city that cannot be made is refused in words."""
    said = say("sample", "city", "140100", *(text.format(tmp_path) for text in arguments))

    assert _is_worded(said, 1), said


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (("satus",), "status"),
        (("library", "lst"), "list"),
        (("library", "list", "--jsn"), "--json"),
        (("--langg", "zh"), "--lang"),
        (("library", "list", "--zone", "exchang"), "exchange"),
    ],
    ids=["noun", "verb", "option", "option of all", "choice"],
)
def test_a_misspelling_is_answered_by_the_nearest(say: Say, arguments: tuple[str, ...], nearest: str) -> None:
    """An unknown command or option ends with code 2 and the nearest there is."""
    said = say(*arguments)

    assert (said.code, said.out) == (2, "")
    assert nearest in said.err.splitlines()[-1]


def test_damage_is_exit_code_1(net: Net, say: Say, tmp_path: Path) -> None:
    """A segment with one byte changed is named by its hash, and the verification fails."""
    home = tmp_path / "100000"
    shutil.copytree(net.directory / "100000", home, symlinks=True)
    config = home / "node.toml"
    config.write_text(config.read_text().replace(str(net.directory / "100000"), str(home)))
    segment = max((home / "exchange" / "segments").rglob("*"), key=lambda p: p.is_file() and p.stat().st_size)
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)

    said = say("journal", "verify", "--config", str(config))

    assert said.code == 1
    assert segment.stem in said.out.replace("/", "")


def test_a_failed_export_leaves_the_old_file(net: Net, say: Say, tmp_path: Path) -> None:
    """An export that is refused leaves what was there before, and no half file beside it."""
    old = tmp_path / "rows.parquet"
    old.write_text("old")

    said = say(
        *("library", "export", "pension_macro", "retire", "--output", str(old)),
        *("--reason", "a test", "--config", net.config()),
    )

    assert said.code == 2
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("rows.parquet", "old")]
