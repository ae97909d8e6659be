"""The command line as tests run it, in this process or in its own, and its answers without what differs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from jinbao.model.zone import Zone

ROOT = Path(__file__).parents[2]
LOCALES = {"en": "en_US.UTF-8", "zh": "zh_CN.UTF-8"}

_OURS = ("JINBAO_", "LC_", "LANG", "PYTHON")
_DIFFERS = (
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[0-9.]*(Z|\+00:00)", "<time>"),
    (r"\b[0-9a-f]{64}\b", "<sha256>"),
    (r"\b[0-9a-f]{32}\b", "<id>"),
    (r"(?m)^(journal acts|流水条数)  +\d+$", r"\1  <acts>"),
    (r"ok: \d+ acts", "ok: <acts> acts"),
    (r"正确：\d+ 条流水", "正确：<acts> 条流水"),
    (r"127\.0\.0\.1:\d+", "<address>"),
    (r'("(?:segment_|may_go_|freed_)?bytes"): \d+', r"\1: <bytes>"),
    (r"(?m)^(segment bytes|bytes in all|段字节数|总字节)  +\d+$", r"\1  <bytes>"),
    (r"(?m)^(rebuild|\d{6}/[a-z]+)  +\d{3,}$", r"\1  <bytes>"),
    (r"(?m)^(version|版本)  +\S+$", r"\1  <version>"),
    (r"(?<=\S)  +(?=\S)", "  "),  # widths follow from what stood here; alignment has its own test
)


@dataclass(frozen=True)
class Said:
    """What a run of the command line left: both streams and the exit code."""

    out: str
    err: str
    code: int


@dataclass(frozen=True)
class Net:
    """A settled network whose zones are all stopped."""

    directory: Path

    def config(self, node: str = "140100") -> str:
        """The settings file of a node."""
        return str(self.directory / node / "node.toml")

    def database(self, node: str, zone: Zone) -> Path:
        """The SQLite file of a zone."""
        return self.directory / node / zone / "zone.db"

    def normal(self, text: str) -> str:
        """The text with what differs from run to run named instead."""
        text = text.replace(str(self.directory), "<net>")
        for pattern, name in _DIFFERS:
            text = re.sub(pattern, name, text)
        return text


def environment(**more: str) -> dict[str, str]:
    """This process's environment without any word on language or settings, and with what is given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return kept | {"PYTHONPATH": str(ROOT / "node")} | more


def command(*arguments: str) -> list[str]:
    """The command line as a process would be started."""
    return [sys.executable, "-m", "jinbao.cli.main", *arguments]


def spawn(*arguments: str, **more: str) -> Said:
    """Run the command line in its own process, in English unless the environment given says else."""
    run = subprocess.run(
        command(*arguments),
        env=environment(**({"LC_ALL": "C.UTF-8"} | more)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return Said(run.stdout.decode(), run.stderr.decode(), run.returncode)
