"""Fuzz one target: `python -m tests.fuzz TARGET [libFuzzer options]`; a finding is written beside the corpus.

Inputs that only reach new code go to a folder that is thrown away: what is kept is kept by a person.
"""

from __future__ import annotations

import atexit
import shutil
import sys
import tempfile

import atheris

with atheris.instrument_imports(include=["jinbao"]):
    from tests.fuzz.targets import CORPUS, TARGETS


def main() -> None:
    """Run until the options say enough, or something other than an answer comes out."""
    name, *options = sys.argv[1:]
    found = f"-artifact_prefix={CORPUS}/found-{name}-"
    scratch = tempfile.mkdtemp(prefix="jinbao-fuzz-")
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    atheris.Setup([sys.argv[0], *options, found, scratch, str(CORPUS / name)], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
