"""Fuzz one target: `python -m tests.fuzz TARGET [libFuzzer options]`; new findings are written beside the corpus."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["jinbao"]):
    from tests.fuzz.targets import CORPUS, TARGETS


def main() -> None:
    """Run until the options say enough, or something other than an answer comes out."""
    name, *options = sys.argv[1:]
    folder = CORPUS / name
    seeds = [str(folder)] if folder.is_dir() else []
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={CORPUS}/found-{name}-", *seeds], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
