"""Renews the parts of `docs/reference/` that follow from code: `.venv/bin/python scripts/make_reference.py`.

What is made, and from what, is in `scripts/reference/`. With `--commands` the tree of commands is written to standard
output instead, as JSON in the language of `JINBAO_LANG`: words are chosen once in a process.
`tests/house/test_reference.py` holds that the committed pages are what this makes.
"""  # noqa: INP001  # a script, not a package

from __future__ import annotations

import json
import sys

from reference.commands import commands_here
from reference.places import ROOT


def main() -> None:
    """Write every page again, and say which changed."""
    if sys.argv[1:] == ["--commands"]:
        sys.stdout.write(json.dumps(commands_here(), ensure_ascii=False))
        return
    from reference.pages import made_pages, renewed  # noqa: PLC0415  # all of the product, which commands alone are not

    for page in made_pages():
        before = page.read_text(encoding="utf-8")
        after = renewed(before)
        if after != before:
            page.write_text(after, encoding="utf-8")
            sys.stderr.write(f"renewed {page.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
