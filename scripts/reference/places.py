"""Where the pages are, and the files they are made from."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "reference"
CHINESE = PAGES / "zh.toml"
SCRIPT = ROOT / "scripts" / "make_reference.py"
DOCTOR = ROOT / "node" / "jinbao" / "appliance" / "doctor"
FIGURES = ROOT / "node" / "jinbao" / "sample" / "figures.toml"
MONITORING = ROOT / "monitoring"
STANDARDS = ROOT / "tiers" / "standards"
TESTS = ROOT / "tests"
WIRE = ROOT / "proto" / "jinbao" / "wire" / "v1"
CONTRACTS = (WIRE / "wire.proto", WIRE / "enrolment.proto")
