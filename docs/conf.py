"""Sphinx: Markdown pages, one theme, nothing loaded from another host."""

from __future__ import annotations

import tomllib
from pathlib import Path

_ROOT = Path(__file__).parent.parent
_NAME = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"]
_PACKAGE = (_ROOT / "node" / _NAME / "__init__.py").read_text(encoding="utf-8")

project = _NAME
author = "the jinbao maintainers"
copyright = author  # noqa: A001  # Sphinx's own name
release = _PACKAGE.split('__version__ = "')[1].split('"')[0]

extensions = ["myst_parser"]
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"jinbao {release}"
html_static_path: list[str] = []
