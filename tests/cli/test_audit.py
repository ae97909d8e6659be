"""`jinbao audit` as the auditor uses it: lists, verification and exports, golden in both languages."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.cli.conftest import Say
from tests.cli.harness import Net, Said
from tests.conftest import Golden

from jinbao.appliance.assembly import open_zone
from jinbao.appliance.auditing import keep_trail
from jinbao.appliance.settings import load
from jinbao.model.zone import Zone

RETIREE = ("pension_macro", "retiree")
NUMBER = "140199194401010019"


@pytest.fixture
def home(net: Net, tmp_path: Path) -> Path:
    """The ministry's settings over a copy of its zones, in which nothing was asked yet."""
    copy = tmp_path / "100000"
    shutil.copytree(net.directory / "100000", copy, ignore=shutil.ignore_patterns("*.sock"), symlinks=True)
    config = copy / "node.toml"
    config.write_text(config.read_text("utf-8").replace(str(net.directory / "100000"), str(copy)), "utf-8")
    return config


def ask_some(say: Say, home: Path) -> None:
    """One act, one look at persons, one attempt without a reason; then what was recorded is sealed."""
    where = ("--config", str(home))
    say("line", "pause", "--peer", "140000", "--reason", "a moved cable", *where)
    say("library", "show", *RETIREE, "--limit", "1", "--unmask", "--reason", "=asked by the insured", *where)
    say("library", "show", *RETIREE, "--limit", "1", "--unmask", *where)
    seal(home)


def seal(home: Path) -> None:
    """What a running zone does each interval."""
    zone = open_zone(load(home), Zone.EXCHANGE)
    keep_trail(zone)
    zone.close()


def plain(said: Said) -> str:
    """The answer without account and times."""
    text = re.sub(r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "<time>", said.out)
    text = re.sub(r"(?<=<time>  )\S+", "<account>", text)
    return re.sub(r"(?<=\S)  +(?=\S)", "  ", text)


def own_number(say: Say, home: Path) -> str:
    """The number of the person whose row is shown first."""
    asked = ("library", "show", *RETIREE, "--limit", "1", "--unmask", "--reason", "test", "--json")
    return str(json.loads(say(*asked, "--config", str(home)).out)["rows"][0]["AAC002"])


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_trail_is_listed(home: Path, say: Say, golden: Golden, lang: str) -> None:
    """The list says who did what, whose record it was, why and how it ended, newest first, persons masked."""
    ask_some(say, home)

    said = say("audit", "list", "--config", str(home), lang=lang)

    assert (said.code, said.err) == (0, "")
    golden(f"{lang}/audit-list.txt", plain(said))


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_an_untouched_trail_is_said_to_be(home: Path, say: Say, golden: Golden, lang: str) -> None:
    """Verification counts entries, seals and what they cover, and ends with 0."""
    ask_some(say, home)

    said = say("audit", "verify", "--config", str(home), lang=lang)

    assert (said.code, said.err) == (0, "")
    golden(f"{lang}/audit-verify.txt", said.out)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_touched_trail_is_named(home: Path, say: Say, golden: Golden, lang: str) -> None:
    """An entry that was edited past its triggers is named with its number, and verification ends with 1."""
    ask_some(say, home)
    with closing(sqlite3.connect(home.parent / "exchange" / "zone.db")) as connection:
        connection.execute("DROP TRIGGER audit_entry_no_update")
        connection.execute("UPDATE audit_entry SET account = 'another' WHERE number = 2")
        connection.commit()

    said = say("audit", "verify", "--config", str(home), lang=lang)

    assert said.code == 1
    golden(f"{lang}/audit-verify-touched.txt", re.sub(r"(?<=\S)  +(?=\S)", "  ", said.out))


def test_json_holds_every_line(home: Path, say: Say) -> None:
    """The list as JSON holds the same lines, each with everything that was recorded of it."""
    ask_some(say, home)

    found = json.loads(say("audit", "list", "--json", "--config", str(home)).out)["entries"]
    verified = json.loads(say("audit", "verify", "--json", "--config", str(home)).out)

    told = [(line["action"], line["outcome"]) for line in found[1:]]
    assert told == [("library.show", "refused"), ("library.show", "done"), ("line.pause", "done")]
    assert json.loads(found[-1]["arguments"]) == {"peer": "140000"}
    assert (verified["ok"], verified["sealed"], verified["heads"]) == (True, 5, 1)


def test_a_person_finds_who_looked(home: Path, say: Say) -> None:
    """With a person's number in hand the auditor finds who saw that record, and nothing of another's."""
    number = own_number(say, home)

    mine, others = (
        json.loads(say("audit", "list", "--person", n, "--json", "--config", str(home)).out)["entries"]
        for n in (number, NUMBER)
    )

    looked = [line["reason"] for line in mine if line["action"] == "library.show"]
    assert looked == ["test"]
    assert [line["action"] for line in others] == ["audit.list"]


FILTERS: dict[str, tuple[tuple[str, ...], int]] = {
    "action": (("--action", "line.pause"), 1),
    "noun": (("--action", "library"), 2),
    "outcome": (("--outcome", "refused"), 1),
    "another account": (("--who", "nobody-of-note"), 0),
    "before it began": (("--until", "2000-01-01"), 0),
    "since then": (("--since", "2000-01-01", "--action", "library"), 2),
    "newest only": (("--limit", "1", "--action", "library"), 1),
}


@pytest.mark.parametrize("case", FILTERS)
def test_the_list_is_filtered(home: Path, say: Say, case: str) -> None:
    """Each filter leaves the lines it names."""
    arguments, count = FILTERS[case]
    ask_some(say, home)

    found = json.loads(say("audit", "list", *arguments, "--json", "--config", str(home)).out)["entries"]

    assert len(found) == count


@pytest.mark.parametrize("layout", ["jsonl", "csv"])
def test_an_export_verifies_elsewhere(home: Path, say: Say, tmp_path: Path, layout: str) -> None:
    """An export is this account's alone, and verifies by the authorities' certificates without the zone."""
    ask_some(say, home)
    output, anchors = tmp_path / f"trail.{layout}", tmp_path / "anchors.pem"
    shutil.copy(home.parent / "exchange" / "identity" / "current" / "anchors.pem", anchors)
    checked = ("audit", "verify", "--file", str(output), "--anchors", str(anchors))

    said = say("audit", "export", "--format", layout, "--output", str(output), "--config", str(home))
    shutil.rmtree(home.parent)
    whole = say(*checked)
    text = output.read_text("utf-8-sig").replace("a moved cable", "an act of god")
    output.write_text(text, "utf-8")
    touched = say(*checked)

    assert (said.code, said.out) == (0, "")
    assert output.stat().st_mode & 0o777 == 0o600
    assert (whole.code, whole.out.split(",")[0]) == (0, "ok: 6 entries are what was written")
    assert touched.code == 1
    assert "entry 1  altered" in re.sub(" +", "  ", touched.out).replace("entry  1", "entry 1")


def test_an_export_of_a_touched_head_does_not_verify(home: Path, say: Say, tmp_path: Path) -> None:
    """A head whose seal is another's proves nothing; a file that is no export says so."""
    ask_some(say, home)
    output, anchors = (
        tmp_path / "trail.jsonl",
        home.parent / "exchange" / "identity" / "current" / "anchors.pem",
    )
    checked = ("audit", "verify", "--file", str(output), "--anchors", str(anchors))
    say("audit", "export", "--output", str(output), "--config", str(home))
    lines = output.read_text("utf-8").splitlines()
    found = json.loads(lines[-1])
    found["sealed"]["signature"] = found["sealed"]["signature"][:-8] + "AAAAAAA="

    output.write_text("\n".join([*lines[:-1], json.dumps(found)]), "utf-8")
    forged = say(*checked)
    output.write_text("something else\n", "utf-8")
    none = say(*checked)

    assert (forged.code, "unprovable" in forged.out) == (1, True)
    assert (none.code, ": expected an export of jinbao audit export, got" in none.err) == (1, True)


def test_no_cell_of_an_export_is_a_formula(home: Path, say: Say, tmp_path: Path) -> None:
    """A reason that begins as a formula does is harmless in the CSV, and verbatim in what is verified."""
    ask_some(say, home)
    output = tmp_path / "trail.csv"

    say("audit", "export", "--format", "csv", "--output", str(output), "--config", str(home))

    rows = list(csv.DictReader(io.StringIO(output.read_text("utf-8-sig"), newline="")))
    (shown,) = [row for row in rows if "asked by" in row["reason"]]
    assert shown["reason"] == "'=asked by the insured"
    assert json.loads(shown["body"])["reason"] == "=asked by the insured"
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "-", "@"))]


def test_a_file_needs_its_anchors(say: Say, tmp_path: Path) -> None:
    """An export is verified by certificates somebody names, never by those of the zone that is doubted."""
    said = say("audit", "verify", "--file", str(tmp_path / "x"))

    assert (said.code, "--file needs --anchors" in said.err) == (2, True)
