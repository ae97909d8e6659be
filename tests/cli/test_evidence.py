"""`jinbao evidence`: a file is exported for this account alone, and proved or refused by anybody with the root."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from tests.cli.conftest import Say
from tests.cli.harness import Net, spawn
from tests.conftest import Golden
from tests.trust.submission import Hierarchy, file, flat, hierarchy

from jinbao.cli.evidence import scaled, step_word
from jinbao.model.receipt import Step

KEY = "1401P000000012"
ASKED = ("--library", "pension_macro", "--table", "active_person", "--reason", "request 2024-31")


@pytest.fixture
def exported(net: Net, say: Say, tmp_path: Path) -> Path:
    """A file of the city's production zone."""
    path = tmp_path / "record.json"
    said = say(
        "evidence",
        "export",
        KEY,
        *ASKED,
        "--out",
        str(path),
        "--config",
        net.config(),
        "--zone",
        "production",
    )
    assert (said.code, said.out) == (0, ""), said.err
    return path


def _root(net: Net) -> tuple[str, str]:
    return "--root", str(net.directory / "140100" / "production" / "identity" / "current" / "anchors.pem")


@pytest.fixture(scope="module")
def whole() -> Hierarchy:
    """A network whose files carry the revocation state of every certificate."""
    return hierarchy()


def _laid(of: Hierarchy, directory: Path) -> tuple[str, str, str]:
    """Its file and its root as arguments."""
    (directory / "whole.json").write_bytes(file(of))
    (directory / "root.pem").write_bytes(of.root.certificate.public_bytes(Encoding.PEM))
    return str(directory / "whole.json"), "--root", str(directory / "root.pem")


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_an_export_says_what_it_leaves_open(
    net: Net, say: Say, tmp_path: Path, golden: Golden, lang: str
) -> None:
    """`evidence export` says on stderr whose record it wrote and what the file does not prove."""
    path = tmp_path / "record.json"

    said = say("evidence", "export", KEY, *ASKED, "--out", str(path), "--config", net.config(), lang=lang)

    golden(f"{lang}/evidence-export.txt", net.normal(said.err.replace(str(tmp_path), "<out>")))
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_proof_is_told_in_words(net: Net, say: Say, exported: Path, golden: Golden, lang: str) -> None:
    """`evidence verify` tells who sent what when, who said what of it, and what is not proved."""
    said = say("evidence", "verify", str(exported), *_root(net), lang=lang)

    assert (said.code, said.err) == (0, "")
    golden(f"{lang}/evidence-verify.txt", net.normal(said.out))


def test_json_says_what_the_words_say(net: Net, say: Say, exported: Path) -> None:
    """With `--json` the verdict is one document with the same facts."""
    shown = say("evidence", "verify", str(exported), *_root(net)).out
    said = say("evidence", "verify", str(exported), *_root(net), "--json")

    found = json.loads(said.out)
    assert (found["proved"], found["revocation_carried"], said.code) == (True, True, 0)
    assert [w["step"] for w in found["words"]].count("applied") == 3
    facts = [found["origin"], found["sealed_at"], found["exported_by"], *found["unproved"].values()]
    facts += [str(cell["value"]) for cell in found["record"] if cell["value"] is not None]
    assert [fact for fact in facts if fact not in shown] == []


def test_revocation_state_is_seen_in_the_code(net: Net, say: Say, exported: Path, tmp_path: Path) -> None:
    """Code 0 where every certificate's state is carried, 3 where not, 1 where it was asked for and is not."""
    without = _laid(flat(), tmp_path)
    codes = [
        say("evidence", "verify", str(exported), *_root(net)).code,
        say("evidence", "verify", *without).code,
        say("evidence", "verify", *without, "--no-require-crl").code,
        say("evidence", "verify", *without, "--require-crl").code,
    ]

    assert codes == [0, 3, 3, 1]


def test_a_refusal_names_the_clause(net: Net, say: Say, exported: Path) -> None:
    """A file that was changed, or stands under another root, ends with code 1 and the clause, in words and as JSON."""
    text = exported.read_text(encoding="utf-8")
    exported.write_text(text.replace(KEY, KEY[:-1] + "3"), encoding="utf-8")

    said = say("evidence", "verify", str(exported), *_root(net))
    told = say("evidence", "verify", str(exported), *_root(net), "--json")

    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("clause E6: seal: expected the signer's over these bytes, got another")
    found = json.loads(told.out)
    assert (found["proved"], found["clause"], told.code) == (False, "E6", 1)


def test_a_stranger_needs_no_node(whole: Hierarchy, tmp_path: Path) -> None:
    """A process without settings, topology or network proves a file."""
    said = spawn("evidence", "verify", *_laid(whole, tmp_path), JINBAO_CONFIG="/nowhere/node.toml")

    assert (said.code, said.err) == (0, "")
    assert "sealed by" in said.out


@pytest.mark.parametrize(
    ("root", "code"), [("/nowhere/root.pem", 1), ("{here}", 2)], ids=["no file", "no certificates"]
)
def test_a_root_that_is_none_is_said_so(say: Say, exported: Path, root: str, code: int) -> None:
    """A root that cannot be read, or holds no certificate, is named."""
    said = say("evidence", "verify", str(exported), "--root", root.format(here=exported))

    assert said.code == code
    assert "expected" in said.err


@pytest.mark.parametrize(
    ("value", "scale", "shown"),
    [(12345, 2, "123.45"), (-5, 2, "-0.05"), (0, 2, "0.00"), (7, 0, 7), (None, 2, None), ("7", 2, "7")],
)
def test_amounts_are_shown_exactly(value: str | int | None, scale: int, shown: str | int | None) -> None:
    """A scaled integer is shown with all its decimals, without arithmetic of floats."""
    assert scaled(value, scale) == shown


@pytest.mark.parametrize("step", Step, ids=str)
def test_every_stage_has_its_word(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads Chinese reads of every stage a receipt may name in Chinese."""
    monkeypatch.setenv("JINBAO_LANG", "zh")

    word = step_word(str(step))

    assert word != str(step)
