"""What is shipped for monitoring, as tests read it: alerts, their tests, pages, commands and queries."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml
from tests.house.tree import ROOT

MONITORING = ROOT / "monitoring"


def loaded(name: str) -> Any:
    """A YAML file as it says."""
    return yaml.safe_load((MONITORING / name).read_text(encoding="utf-8"))


def rules(name: str, kind: str) -> list[dict[str, Any]]:
    """The rules of a file that have `kind`, `alert` or `record`."""
    return [rule for group in loaded(name)["groups"] for rule in group["rules"] if kind in rule]


def alerts() -> list[dict[str, Any]]:
    """Every alert, in order; one name may have two severities."""
    return rules("alerts.yml", "alert")


def panels() -> Iterator[tuple[str, str, str]]:
    """Dashboard, title and expression of every query there is."""
    for path in sorted((MONITORING / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            for target in panel["targets"]:
                yield path.stem, panel["title"], target["expr"]


def pages() -> dict[str, str]:
    """Every page of the runbooks by file name."""
    return {
        path.name: path.read_text(encoding="utf-8") for path in sorted((MONITORING / "runbooks").glob("*.md"))
    }


def commands(text: str) -> list[str]:
    """Commands a page shows, in order: lines of shell blocks, and what stands in code within a sentence."""
    found = re.findall(r"^(jinbao [^\n]+)$|`(jinbao [^`\n]+)`", text, flags=re.MULTILINE)
    return [alone or inside for alone, inside in found]


def first_command(text: str) -> str:
    """The first command of a page's Diagnosis."""
    _, _, rest = text.partition("\n## Diagnosis\n")
    return commands(rest or text.partition("\n## 诊断\n")[2])[0]
