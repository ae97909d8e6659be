"""What leaves the command line is safe: masked, harmless to spreadsheets and terminals, quiet for a closed pipe."""

from __future__ import annotations

import csv
import io
import subprocess
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cli.conftest import Say
from tests.cli.harness import Net, command, environment, spawn

from jinbao.appliance.admin_server import AdminServer
from jinbao.appliance.admin_sockets import ADMIN
from jinbao.appliance.assembly import open_zone
from jinbao.appliance.questions import Asked, dispatch
from jinbao.appliance.settings import load
from jinbao.cli import show
from jinbao.model.zone import Zone

RETIREE = ("pension_macro", "retiree")
CLEAR = ("--unmask", "--reason", "a test")
PERSONAL = {"AAC001", "AAC002", "AAC003", "AAC006"}
FORMULA = tuple("=+-@\t\r\n")
CELLS = st.text(max_size=12) | st.sampled_from(FORMULA).flatmap(lambda c: st.text(max_size=5).map(c.__add__))


@pytest.fixture(scope="module")
def read_only(net: Net) -> Iterator[str]:
    """The settings of a node whose exchange zone may only be read: its `admin.sock` is another account's."""
    config = net.config("100000")
    node = load(Path(config))
    zone = open_zone(node, Zone.EXCHANGE)
    server = AdminServer(
        node.run_directory(Zone.EXCHANGE),
        lambda name, arguments, caller: dispatch(Asked(zone, caller=caller), name, arguments),
    )
    server.start()
    (node.run_directory(Zone.EXCHANGE) / ADMIN).unlink()
    yield config
    server.stop()
    zone.close()


def _first_row(out: str) -> dict[str, str]:
    """The first row of a table by its titles."""
    titles, values = (line.split() for line in out.splitlines()[:2])
    return dict(zip(titles, values, strict=True))


def test_rows_are_masked_unless_asked(net: Net, say: Say) -> None:
    """Personal items of stored rows are masked, and are shown to the owner of the zone by `--unmask`."""
    asked = ("library", "show", *RETIREE, "--limit", "1", "--config", net.config())

    masked, clear = (_first_row(say(*asked, *more).out) for more in ((), CLEAR))

    assert {name for name, value in masked.items() if value != clear[name]} == PERSONAL
    assert all("*" in masked[name] and "*" not in clear[name] for name in PERSONAL)


def test_stopped_rows_are_masked_unless_asked(net: Net, say: Say) -> None:
    """Personal items of quarantined rows are masked in show and export, and shown by `--unmask`."""
    tail = ("pension_macro", "--table", "retiree", "--config", net.config())

    masked, clear = (say("quarantine", "export", *tail, *more).out for more in ((), CLEAR))
    shown = say("quarantine", "show", *tail).out

    assert "140199********" in masked
    assert "140199********" not in clear
    assert "1*************" in shown


def test_a_reader_sees_nothing_unmasked(read_only: str, say: Say) -> None:
    """A caller of `read.sock` gets masked rows, and is refused when it asks for clear ones."""
    asked = ("library", "show", *RETIREE, "--limit", "1", "--config", read_only)

    plain, wanted = say(*asked), say(*asked, *CLEAR)

    assert (wanted.code, wanted.out) == (2, "")
    assert _first_row(plain.out)["AAC002"].startswith("140199********")


@pytest.mark.parametrize(
    "act",
    [
        ("library", "export", *RETIREE, "--output", "{0}/x", "--reason", "x"),
        ("line", "pause", "--reason", "x"),
    ],
    ids=["export", "pause"],
)
def test_a_reader_may_not_act(read_only: str, say: Say, tmp_path: Path, act: tuple[str, ...]) -> None:
    """An act over `read.sock` is refused with the account to use, and leaves no file."""
    said = say(*(part.format(tmp_path) for part in act), "--config", read_only)

    assert said.code == 2
    assert said.err.endswith("expected admin.sock, got read.sock; run as the account that owns the zone\n")
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(CELLS, min_size=1, max_size=4))
def test_no_csv_cell_is_a_formula(cells: list[str]) -> None:
    """No cell begins as a formula does, and without the apostrophe it is the value again."""
    text = show.as_csv([{"a": cell} for cell in cells], ["a"])

    read = [row[0] if row else "" for row in csv.reader(io.StringIO(text, newline=""), strict=True)][1:]
    assert not any(cell.startswith(FORMULA) for cell in read)
    found = [
        cell.removeprefix("'")  # whatever the value: no rule but this one is needed to read it back
        for cell in read
    ]
    assert found == cells


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.text(max_size=8), st.sampled_from(["", "太原市", "a b"])), min_size=1, max_size=4)
)
def test_a_table_is_aligned_and_steers_no_terminal(rows: list[tuple[str, str]]) -> None:
    """Every row of a table is one line without a control character, its last column where the title is."""
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(show, "result", lines.append)
        show.table([{"a": a, "b": b, "c": "|"} for a, b in rows], {"a": "甲", "b": "b", "c": "|"})

    assert len(lines) == len(rows) + 1
    assert {unicodedata.category(c)[0] for line in lines for c in line} <= set("LMNPSZ")
    assert len({show.width(line) for line in lines}) == 1


def test_a_value_of_a_business_database_is_a_formula_no_more(net: Net, say: Say) -> None:
    """The export of a city's stopped rows guards the negative amount that is in them."""
    out = say("quarantine", "export", "pension_macro", "--table", "employer", "--config", net.config()).out

    cells = {cell for row in csv.reader(io.StringIO(out)) for cell in row}
    assert "'-500" in cells
    assert not any(cell.startswith(FORMULA) for cell in cells)


def test_an_exported_file_is_its_owners(net: Net, say: Say, tmp_path: Path) -> None:
    """An export of stopped rows is a file this account alone can read, and opens as UTF-8 in a spreadsheet."""
    output = tmp_path / "bad.csv"

    said = say("quarantine", "export", "pension_macro", "--output", str(output), "--config", net.config())

    assert (said.out, said.err) == ("", f"13 findings written to {output}\n")
    assert output.stat().st_mode & 0o777 == 0o600
    assert output.read_bytes().startswith(b"\xef\xbb\xbftable,key,")


@pytest.mark.parametrize("more", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["in one write", "as it comes"])
def test_a_closed_pipe_is_no_news(net: Net, more: dict[str, str]) -> None:
    """When the reader of the output leaves, the command ends without a word."""
    process = subprocess.Popen(
        command("config", "show", "--config", net.config()),
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()

    _, err = process.communicate(timeout=60)

    assert (err, process.returncode) == (b"", 1)


@pytest.mark.parametrize("encoding", ["", "gb18030", "latin-1"], ids=["by locale", "GB 18030", "Latin 1"])
def test_chinese_prints_wherever(encoding: str) -> None:
    """Chinese goes out in any locale: UTF-8 where it says ASCII, else in its own encoding or escaped."""
    more = {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    run = subprocess.run(
        command("--lang", "zh", "--help"),
        env=environment(**more, **({"PYTHONIOENCODING": encoding} if encoding else {})),
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert (run.returncode, run.stderr) == (0, b"")
    expected = "\\u91d1\\u4fdd" if encoding == "latin-1" else "金保工程"
    assert expected in run.stdout.decode(encoding or "utf-8")


def test_usage_in_chinese_prints_under_ascii() -> None:
    """An error in Chinese reaches stderr where the locale says ASCII."""
    said = spawn("--lang", "zh", "satus", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")

    assert said.code == 2
    assert said.err.endswith("没有这个命令：satus。是否指 status？\n")
