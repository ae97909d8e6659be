"""One settled network per test process, its zones stopped, and the command line asked in this process."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

import pytest
import structlog
from tests.cli.harness import LOCALES, Net, Said
from tests.sim.world import lay_down, settled

from jinbao.cli.main import main

Say = Callable[..., Said]


@pytest.fixture(scope="session")
def net(tmp_path_factory: pytest.TempPathFactory) -> Net:
    """Ministry, province and one city after a first submission; every zone is stopped."""
    directory = tmp_path_factory.mktemp("cli")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        plan = settled(lay_down(directory / "plan", cities=1), directory / "net")
    finally:
        structlog.reset_defaults()
    for config in plan.directory.glob("*/node.toml"):
        text = config.read_text(encoding="utf-8").replace(str(directory / "plan"), str(plan.directory))
        config.write_text(text, encoding="utf-8")
    return Net(plan.directory)


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Say:
    """Run the command line in this process, in English or Chinese; what it said and its exit code."""

    def run(*arguments: str, lang: str = "en") -> Said:
        for name in os.environ:
            if name.startswith(("JINBAO_", "LC_", "LANG")):
                monkeypatch.delenv(name)
        monkeypatch.setenv("LC_ALL", LOCALES[lang])
        capsys.readouterr()
        # A command before this one in the same process may have said that events go to stderr.
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        out, err = capsys.readouterr()
        return Said(out, err, int(ended.value.code or 0))

    return run
