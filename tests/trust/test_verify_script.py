"""The stand-alone script: one page, the standard library and `cryptography`, the same answers as the product's."""

from __future__ import annotations

import ast
import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from tests.house.tree import ROOT as TOP
from tests.trust.example import CITY, NOW, SIBLING
from tests.trust.hierarchy import DAY, TLS, root
from tests.trust.submission import (
    EVERYBODY,
    FRAME,
    MINE,
    Hierarchy,
    evidence,
    exported_after,
    file,
    flat,
    hierarchy,
    rotated,
)
from tests.trust.test_evidence import CHANGES, places, with_change

from jinbao.model.batch import Kind

SCRIPT = TOP / "docs" / "verify_evidence.py"
LINES_MAX = 80

ONLY_THE_PRODUCT_SEES = {
    "an authority of nobody",
    "a CRL of nobody",
    "a state of another table",
    "a cell more",
}
"""What is carried and never used, and what the row's own hash does not know: the script takes no notice."""

PROVED, NO_CRL = 0, 3


@pytest.fixture(scope="module")
def net() -> Hierarchy:
    """A hierarchy whose seals are of the second suite."""
    return hierarchy()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Hierarchy, bytes], int]:
    """The script's exit code for a file under a hierarchy's root; as Python ends, what it cannot read ends in 1."""

    def code(of: Hierarchy, content: bytes) -> int:
        (tmp_path / "file.json").write_bytes(content)
        (tmp_path / "root.pem").write_bytes(of.root.certificate.public_bytes(Encoding.PEM))
        arguments = [str(SCRIPT), str(tmp_path / "file.json"), str(tmp_path / "root.pem")]
        monkeypatch.setattr(sys, "argv", arguments)
        try:
            runpy.run_path(str(SCRIPT))
        except SystemExit as exc:
            return exc.code if isinstance(exc.code, int) else 1
        except Exception:  # noqa: BLE001  # a traceback is a refusal too
            return 1
        raise AssertionError("the script ends by itself")

    return code


def test_the_script_is_one_page_of_known_parts() -> None:
    """Eighty lines at most, and no import but `cryptography` and the standard library."""
    text = SCRIPT.read_text(encoding="utf-8")

    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {a.name for n in imports if isinstance(n, ast.Import) for a in n.names}
    names |= {str(n.module) for n in imports if isinstance(n, ast.ImportFrom)}

    assert len(text.splitlines()) <= LINES_MAX
    assert {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names) == {"cryptography"}


@pytest.mark.parametrize("kind", [Kind.SNAPSHOT, Kind.CHANGE])
@pytest.mark.parametrize(
    ("make", "code"), [(hierarchy, PROVED), (flat, NO_CRL)], ids=["intl-1", "p256-sha256"]
)
def test_a_good_file_is_proved_by_another_python(
    tmp_path: Path, make: Callable[[], Hierarchy], code: int, kind: Kind
) -> None:
    """The script, in a process of its own that knows nothing of the product, proves a good file and prints the record."""
    of = make()
    (tmp_path / "file.json").write_bytes(file(of, evidence(of, kind=kind)))
    (tmp_path / "root.pem").write_bytes(of.root.certificate.public_bytes(Encoding.PEM))

    done = subprocess.run(
        [sys.executable, "-I", SCRIPT, tmp_path / "file.json", tmp_path / "root.pem"],
        capture_output=True,
        check=False,
        timeout=60,
    )

    said = done.stdout.decode().splitlines()
    assert (done.returncode, done.stderr) == (code, b"")
    assert said[-1].startswith("proved")
    assert f"  {FRAME.item(MINE, 'AAC001')}" in said
    assert sum(" by 100000/exchange at " in line for line in said) == 2


def test_it_agrees_after_every_rotation(net: Hierarchy, run: Callable[[Hierarchy, bytes], int]) -> None:
    """After leaf, issuing authority and root were rotated, the script proves the file under either root."""
    old, new = rotated(net, 9)
    made = replace(exported_after(net, 9), authorities=old.authorities, crls=old.crls)

    assert [run(of, file(of, made)) for of in (old, new)] == [PROVED, PROVED]
    assert run(replace(net, root=root()), file(net)) == 1


@pytest.mark.parametrize("name", sorted(CHANGES.keys() - ONLY_THE_PRODUCT_SEES))
def test_a_change_is_refused(net: Hierarchy, run: Callable[[Hierarchy, bytes], int], name: str) -> None:
    """A file that says something else is refused, though the exporting zone sealed it again."""
    _, change = CHANGES[name]

    assert run(net, file(net, change(evidence(net)))) == 1


def test_a_changed_scalar_anywhere_is_refused(net: Hierarchy, run: Callable[[Hierarchy, bytes], int]) -> None:
    """Whatever word, number, hash or base64 of a file is changed, the script refuses it."""
    content = file(net, evidence(net, kind=Kind.CHANGE, said=EVERYBODY[-1:]))
    ways = list(places(json.loads(content)))

    assert len(ways) > 80
    assert [way for way in ways if run(net, with_change(content, way)) != 1] == []


def test_only_the_origin_seals_for_itself(net: Hierarchy, run: Callable[[Hierarchy, bytes], int]) -> None:
    """Neither a sibling, nor another province's authority, a sub-authority, a TLS certificate or one that ended seals."""
    strangers = [
        net.province.leaf(SIBLING),
        net.root.issuing("310000").leaf(CITY),
        net.province.issuing("140000").leaf(CITY),
        net.province.leaf(CITY, usages=TLS),
        net.province.leaf(CITY, first=NOW - 2 * DAY, last=NOW - DAY),
    ]

    for stranger in strangers:
        of = replace(net, sealers={**net.sealers, CITY: stranger}, crls=())
        assert run(of, file(of)) == 1
