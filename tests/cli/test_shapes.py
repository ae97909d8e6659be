"""What `--json` answers, as programs rely on it: the keys and kinds of each document, golden.

Not its values, which `test_output.py` compares with what people are shown. The page of the reference that lists these
shapes is made of the golden files.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Say
from tests.cli.harness import Net, Said
from tests.cli.test_authorities import NODE, WALK
from tests.cli.test_output import ANSWERS, WHY
from tests.conftest import Golden

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[0-9.]*(Z|\+00:00)")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

NAMES_MIN = 12
"""So many keys of one kind are names: the longest object of counts with keys of its own has six."""

READS: dict[str, tuple[str, ...]] = {
    "status": ANSWERS["status"],
    "doctor": ("doctor", "--only", "timezone"),
    "topology": ANSWERS["topology"],
    "trace": ANSWERS["trace"],
    "config show": ("config", "show", "--origin"),
    "capture show": ANSWERS["capture-show"],
    "line status": ANSWERS["line-status"],
    "database check": ("database", "check", "--zone", "exchange"),
    "database migrate": ("database", "migrate", "--plan", "--zone", "exchange"),
    "standby status": ("standby", "status", "--zone", "production"),
    "trust list": ("trust", "list"),
    "journal list": ANSWERS["journal-list"],
    "journal retention": ANSWERS["journal-retention"],
    "journal show": ANSWERS["journal-show"],
    "journal verify": ANSWERS["journal-verify"],
    "quarantine export": ("quarantine", "export", "pension_macro"),
    "quarantine list": ANSWERS["quarantine-list"],
    "quarantine releases": ANSWERS["quarantine-releases"],
    "quarantine show": ANSWERS["quarantine-show"],
    "library count": ANSWERS["library-count"],
    "library digest": ANSWERS["library-digest"],
    "library list": ANSWERS["library-list"],
    "library show": ANSWERS["library-show"],
    "evidence list": ANSWERS["evidence-list"],
    "decision show": ("decision", "show", "--library", "unemployment_monitor", "--region", "total"),
    "audit list": ("audit", "list", "--limit", "2"),
    "audit verify": ("audit", "verify"),
    "debug failpoints": ANSWERS["debug-failpoints"],
}
"""Commands that change nothing, by their words, as they are asked."""

WRITES: dict[str, tuple[str, ...]] = {
    "line pause": ("line", "pause", "--peer", "140000", *WHY),
    "line resume": ("line", "resume", "--peer", "140000"),
    "line export": ("line", "export", "DIR", "--peer", "140000"),
    "standby key rotate": ("standby", "key", "rotate", "--zone", "exchange"),
    "journal scrub": ("journal", "scrub"),
    "journal mend": ("journal", "mend"),
    "library export": ("library", "export", "pension_macro", "retiree", "--output", "OUT", *WHY),
    "audit export": ("audit", "export", "--output", "OUT"),
    "support bundle": ("support", "bundle", "OUT"),
}
"""Commands that record or write something, asked of a network of the test's own; OUT is a file, DIR a directory."""

TOPOLOGY = """
trust_domain = "jinbao.example"
version = 1
[[nodes]]
node = "100000"
name_zh = "部级数据中心"
name_en = "Ministry"
tier = "ministry"
zones = ["exchange"]
addresses.exchange = "127.0.0.1:1"
"""

_NO_CONFIG = {"debug failpoints"}


def shape(value: Any) -> Any:
    """Keys with the kinds of their values; a list as the one shape all its items have, names that are values as one key."""
    if isinstance(value, dict):
        named = all(_KEY.fullmatch(key) for key in value) and not _is_list_of_names(value)
        return (
            {key: shape(value[key]) for key in sorted(value)}
            if named
            else {"<name>": _one(list(value.values()))}
        )
    if isinstance(value, list):
        return [_one(value)] if value else []
    return _kind(value)


def _is_list_of_names(value: dict[str, Any]) -> bool:
    """Whether the keys are tables, say, and grow with the product: many, and all their values plain and of one kind."""
    kinds = {type(one) for one in value.values()}
    return len(value) >= NAMES_MIN and len(kinds) == 1 and not kinds & {dict, list}


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "time" if _TIME.fullmatch(value) else "text"
    names = {bool: "true or false", int: "whole number", float: "number", type(None): "null"}
    return names[type(value)]


def _one(values: list[Any]) -> Any:
    """The shape of several values: keys that some lack end with `?`, kinds that differ are joined."""
    shapes = [shape(value) for value in values]
    if all(isinstance(one, dict) for one in shapes):
        keys = sorted({key for one in shapes for key in one})
        return {
            key + ("" if all(key in one for one in shapes) else "?"): _joined(
                [s[key] for s in shapes if key in s]
            )
            for key in keys
        }
    return _joined(shapes)


def _joined(shapes: list[Any]) -> Any:
    different = [one for at, one in enumerate(shapes) if one not in shapes[:at]]
    if len(different) == 1:
        return different[0]
    if all(isinstance(one, dict) for one in different):
        return _merged(different)
    full = [one for one in different if one != []]
    return full[0] if len(full) == 1 else " or ".join(sorted(map(_word, different)))


def _merged(shapes: list[dict[str, Any]]) -> dict[str, Any]:
    keys = sorted({key.rstrip("?") for one in shapes for key in one})
    found = {}
    for key in keys:
        have = [one.get(key, one.get(f"{key}?")) for one in shapes if key in one or f"{key}?" in one]
        found[key if all(key in one for one in shapes) else f"{key}?"] = _joined(have)
    return found


def _word(one: Any) -> str:
    return one if isinstance(one, str) else "an object" if isinstance(one, dict) else "a list"


def _held(golden: Golden, name: str, said: Said) -> None:
    """Compare the shape of an answer with its golden file."""
    assert said.out, said.err
    _compared(golden, name, shape(json.loads(said.out)))


def _compared(golden: Golden, name: str, found: Any) -> None:
    text = json.dumps(found, indent=1, ensure_ascii=False)
    golden(f"json/{name.replace(' ', '-')}.json", text + "\n")


@pytest.mark.parametrize("name", READS)
def test_an_answer_keeps_its_shape(net: Net, say: Say, golden: Golden, name: str) -> None:
    """A program that reads a command's `--json` finds the keys and kinds it found before."""
    settings = () if name in _NO_CONFIG else ("--config", net.config())

    told = say(*READS[name], *settings, "--json")

    assert told.err == ""
    _held(golden, name, told)


@pytest.fixture
def own(net: Net, tmp_path: Path) -> Net:
    """The settled network, to change."""
    shutil.copytree(net.directory, tmp_path / "net", symlinks=True)
    for config in (tmp_path / "net").glob("*/node.toml"):
        text = config.read_text(encoding="utf-8").replace(str(net.directory), str(tmp_path / "net"))
        config.write_text(text, encoding="utf-8")
    return Net(tmp_path / "net")


@pytest.mark.parametrize("name", WRITES)
def test_an_act_keeps_its_shape(own: Net, say: Say, golden: Golden, tmp_path: Path, name: str) -> None:
    """A program that has a command do something finds in its `--json` the keys and kinds it found before."""
    places = {"OUT": str(tmp_path / "out"), "DIR": str(tmp_path)}
    asked = (places.get(word, word) for word in WRITES[name])

    _held(golden, name, say(*asked, "--config", own.config(), "--json"))


def test_a_backup_keeps_its_shapes(own: Net, say: Say, golden: Golden, tmp_path: Path) -> None:
    """What the commands of backups tell programs is as it was: made, listed, proved and restored."""
    config, here = ("--config", own.config()), str(tmp_path / "backup")
    root = ("--root", str(next(own.directory.glob("140100/exchange/identity/*/anchors.pem"))))

    _held(golden, "backup create", say("backup", "create", here, *config, "--json"))
    _held(golden, "backup list", say("backup", "list", here, "--json"))
    _held(golden, "backup verify", say("backup", "verify", here, *root, *config, "--json"))
    place = ("140100/exchange", "--to", str(tmp_path / "restored"))
    _held(golden, "backup restore", say("backup", "restore", here, *place, *root, *config, "--json"))


def test_evidence_keeps_its_shapes(own: Net, say: Say, golden: Golden, tmp_path: Path) -> None:
    """What `evidence export` and `evidence verify` tell programs is as it was."""
    record = ("1401P000000012", "--library", "pension_macro", "--table", "active_person")
    file, config = str(tmp_path / "record.json"), ("--config", own.config())
    root = str(next(own.directory.glob("140100/exchange/identity/*/anchors.pem")))

    told = say("evidence", "export", *record, "--out", file, *config, *WHY, "--json")
    _held(golden, "evidence export", told)
    _held(golden, "evidence verify", say("evidence", "verify", file, "--root", root, "--json"))


def test_an_authority_keeps_its_shapes(
    say: Say, golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What authorities, enrolment and a sealed topology tell programs is as it was."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "node.toml").write_text(NODE.format(place=tmp_path))
    (tmp_path / "topology.toml").write_text(TOPOLOGY)
    (tmp_path / "pass").write_text("correct horse\n")
    (tmp_path / "pass").chmod(0o600)

    told: dict[str, list[Any]] = {}
    for line in (*WALK, "trust seal topology.toml --out topology.sealed --config node.toml"):
        said = say(*line.split(), "--json")
        assert said.code == 0, (line, said)
        name = " ".join(line.split()[: 1 if line.startswith("enrol") else 2])
        told.setdefault(name, []).append(json.loads(said.out))

    for name, answers in told.items():
        _compared(golden, name, _one(answers))


def test_a_sample_and_rules_keep_their_shapes(say: Say, golden: Golden, tmp_path: Path) -> None:
    """What `sample city` and `monitoring write` tell programs is as it was."""
    city = ("sample", "city", "140100", "--persons", "5000", "--url", f"sqlite:///{tmp_path}/a.db")

    _held(golden, "sample city", say(*city, "--json"))
    _held(golden, "monitoring write", say("monitoring", "write", str(tmp_path / "watch"), "--json"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": 1, "b": None}, {"a": "whole number", "b": "null"}),
        ([{"a": 1}, {"a": 1.5, "b": "x"}], [{"a": "number or whole number", "b?": "text"}]),
        ({"140100/exchange": 3, "140200/exchange": 4}, {"<name>": "whole number"}),
        ([], []),
    ],
    ids=["an object", "items that differ", "names that are values", "nothing"],
)
def test_a_shape_has_no_values(value: Any, expected: Any) -> None:
    """A shape says keys and kinds, and nothing that differs from one network to another."""
    assert shape(value) == expected
