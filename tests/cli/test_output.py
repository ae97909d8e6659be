"""What every command answers: golden in both languages, and the same facts as one JSON document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Say
from tests.cli.harness import Net
from tests.conftest import Golden

WHY = ("--reason", "a test")
RETIREE = ("pension_macro", "retiree")
UNEMPLOYED = ("decision", "show", "--library", "unemployment_monitor", "--region", "total")

ANSWERS: dict[str, tuple[str, ...]] = {
    "status": ("status",),
    "topology": ("topology", "--zone", "exchange"),
    "trace": ("trace", "1401P000000012", *WHY),
    "trace-stopped": ("trace", "1401P000000115", *WHY),
    "trace-stored": ("trace", "1401P000000012", *WHY, "--zone", "exchange"),
    "trace-unknown": ("trace", "nobody", *WHY),
    "line-status": ("line", "status"),
    "capture-show": ("capture", "show"),
    "quarantine-releases": ("quarantine", "releases", "pension_macro"),
    "journal-list": ("journal", "list", "--limit", "3"),
    "journal-list-kind": ("journal", "list", "--kind", "created"),
    "journal-show": ("journal", "show", "1"),
    "journal-verify": ("journal", "verify"),
    "journal-retention": ("journal", "retention"),
    "quarantine-list": ("quarantine", "list"),
    "quarantine-show": ("quarantine", "show", "pension_macro", "--table", "active_person"),
    "quarantine-export": ("quarantine", "export", *RETIREE[:1], "--table", "retiree"),
    "library-list": ("library", "list"),
    "library-show": ("library", "show", *RETIREE, "--limit", "2"),
    "library-show-as-of": ("library", "show", *RETIREE, "--limit", "2", "--as-of", "202410"),
    "library-show-early": ("library", "show", *RETIREE, "--limit", "2", "--as-of", "202409"),
    "library-count": ("library", "count", *RETIREE),
    "library-digest": ("library", "digest", *RETIREE, "--origin", "140100"),
    "evidence-list": ("evidence", "list", "--limit", "1", "--zone", "production"),
    "evidence-late": ("evidence", "list", "--late"),
    "config-show": ("config", "show"),
    "config-origin": ("config", "show", "--origin"),
    "debug-failpoints": ("debug", "failpoints"),
}
_NO_CONFIG = {"debug-failpoints"}

FACTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "status": ("", ("zone", "version")),
    "topology": ("streams", ("stream", "seq", "accepted")),
    "trace": ("steps", ("stage", "where", "rows", "why")),
    "line-status": ("peers", ("peer", "border")),
    "journal-list": ("acts", ("lsn", "at", "kind", "about")),
    "journal-show": ("", ("lsn", "at", "kind")),
    "journal-retention": ("needed_by", ("who", "bytes")),
    "quarantine-list": ("findings", ("library", "table", "rule", "item", "rows", "text_en")),
    "quarantine-show": ("rows", ("table", "key")),
    "library-list": ("tables", ("library", "table", "name_en", "standard", "rows")),
    "library-show": ("rows", ("_origin", "AAC001", "AAC002", "AAC003")),
    "library-show-as-of": ("rows", ("_origin", "AAC001", "AAC002", "AAC003")),
    "library-count": ("origins", ("origin", "rows")),
    "library-digest": ("digests", ("origin", "rows", "digest")),
    "evidence-list": ("lines", ("submission", "step", "by", "at")),
    "config-origin": ("", ("key", "value", "origin")),
    "debug-failpoints": ("", ("name", "text")),
}


def _asked(net: Net, name: str) -> tuple[str, ...]:
    """The arguments of an answer, settings included."""
    return ANSWERS[name] if name in _NO_CONFIG else (*ANSWERS[name], "--config", net.config())


def _lines(found: Any, key: str) -> list[dict[str, Any]]:
    """The rows of a JSON answer that a table shows."""
    rows = found[key] if key else found
    return rows if isinstance(rows, list) else [rows]


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_the_golden_one(net: Net, say: Say, golden: Golden, name: str, lang: str) -> None:
    """A command answers a person as its golden file says, in the person's language, with nothing on stderr."""
    said = say(*_asked(net, name), lang=lang)

    assert said.err == ""
    golden(f"{lang}/{name}.txt", net.normal(said.out))


@pytest.mark.parametrize("name", FACTS)
def test_json_says_what_the_table_says(net: Net, say: Say, name: str) -> None:
    """With `--json` the answer is one document, and every fact of the table is in it."""
    key, columns = FACTS[name]

    shown = say(*_asked(net, name))
    told = say(*_asked(net, name), "--json")
    rows = _lines(json.loads(told.out), key)

    assert (told.err, told.code) == ("", shown.code)
    assert rows
    missing = [row[c] for row in rows for c in columns if str(row[c] or "") not in shown.out]
    assert missing == []


def test_an_export_to_a_file_answers_programs_too(net: Net, say: Say, tmp_path: Path) -> None:
    """With `--json`, findings that go to a file leave their number on stdout, and no words."""
    asked = ("quarantine", "export", "pension_macro", "--config", net.config())
    whole = json.loads(say(*asked, "--json").out)

    said = say(*asked, "--output", str(tmp_path / "bad.csv"), "--json")

    assert (json.loads(said.out), said.err) == (whole | {"findings": len(whole["findings"])}, "")


def test_indicators_are_the_same_in_every_shape(net: Net, say: Say, golden: Golden) -> None:
    """Indicators as table, CSV and JSON carry the same values; the table is the golden one."""
    asked = (*UNEMPLOYED, "--config", net.config())

    table = say(*asked).out
    lines = say(*asked, "--format", "csv", lang="zh").out
    found = json.loads(say(*asked, "--json").out)["values"]

    golden("en/decision-show.txt", net.normal(table))
    golden("zh/decision-show-csv.txt", lines)
    values = [row["value"] for row in found]
    assert values
    assert [line.split(",")[-2] for line in lines.splitlines()[1:]] == values
    assert [line.split()[-2] for line in table.splitlines()[1:]] == values


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_settings_that_would_start_are_said_so(net: Net, say: Say, golden: Golden, lang: str) -> None:
    """`config check` names tier, node and zones of a file that would start."""
    said = say("config", "check", net.config(), lang=lang)

    assert said.code == 0
    golden(f"{lang}/config-check.txt", net.normal(said.out))


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_sample_city_is_counted(tmp_path: Path, say: Say, golden: Golden, lang: str) -> None:
    """`sample city` says the rows of each table it wrote, and the JSON says the same."""
    asked = ("sample", "city", "140100", "--persons", "5000", "--url")

    said = say(*asked, f"sqlite:///{tmp_path}/a.db", lang=lang)
    told = json.loads(say(*asked, f"sqlite:///{tmp_path}/b.db", "--json").out)

    golden(f"{lang}/sample-city.txt", said.out)
    assert dict(line.split() for line in said.out.splitlines()[1:-1]) == {
        name: str(rows) for name, rows in told["rows"].items()
    }


def test_an_export_says_its_rows(net: Net, say: Say, tmp_path: Path) -> None:
    """`library export` writes a Parquet file for this account alone, and says its rows on stderr."""
    output = tmp_path / "retiree.parquet"
    asked = ("library", "export", *RETIREE, "--output", str(output), *WHY, "--config", net.config())

    said = say(*asked)
    told = json.loads(say(*asked, "--json").out)

    assert (said.out, said.err) == ("", f"{told['rows']} rows written to {output}\n")
    assert output.read_bytes()[:4] == b"PAR1"
    assert output.stat().st_mode & 0o777 == 0o600
