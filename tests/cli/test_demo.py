"""`jinbao demo` as a program reads it: one document, however long the network then runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jinbao.appliance.demo import DemoNetwork
from jinbao.cli import demo, show


class Interrupted(DemoNetwork):
    """A network whose operator presses Ctrl-C at once."""

    def watch(self) -> None:
        """Stay no longer."""
        raise KeyboardInterrupt


@pytest.mark.parametrize("as_json", [True, False], ids=["a program", "a person"])
def test_what_to_try_is_no_part_of_the_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    """A network that stays after its proof tells a person what to try on stdout, and leaves a program's document alone."""
    last, result = tmp_path / "last", {"directory": str(tmp_path)}
    monkeypatch.setattr(demo, "_LAST", last)
    if as_json:
        show.as_json(result)

    demo.stay(Interrupted(tmp_path, 0, 0, lambda _message, _values: None), result, as_json=as_json)

    said = capsys.readouterr()
    people, told = (said.err, said.out) if as_json else (said.out, said.out)
    assert "jinbao demo lose city" in people
    if as_json:
        assert json.loads(told) == result
    assert not last.exists()
