#!/usr/bin/env python3
"""Compiles the modules of a wheel as they will lie in site-packages; for `jinbao bundle build` alone.

usage: compile_wheel.py WHEEL SITE

Writes `SITE/PACKAGE/__pycache__/NAME.pyc` for each module, without tests. A compiled module names its source by its path in
site-packages and holds no time: the same wheel and Python give the same bytes, which is why one process does one wheel,
in order, under PYTHONHASHSEED=0. Needs the standard library alone.
"""

from __future__ import annotations

import importlib.util
import py_compile
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

LEFT_OUT = {"test", "tests"}


def main() -> None:
    """Compile one wheel; a file that no Python of this version can read is left out, as an installer leaves it."""
    wheel, site = Path(sys.argv[1]), Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as scratch, zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            if is_module(PurePosixPath(name)):
                made = site / importlib.util.cache_from_source(name)
                made.parent.mkdir(parents=True, exist_ok=True)
                py_compile.compile(
                    archive.extract(name, scratch),
                    str(made),
                    dfile=name,
                    quiet=2,
                    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
                )


def is_module(path: PurePosixPath) -> bool:
    """Whether a file of a wheel is a module that goes where it is named, and no test."""
    is_data = path.parts[0].endswith((".data", ".dist-info"))
    return path.suffix == ".py" and not is_data and not LEFT_OUT & set(path.parts[:-1])


if __name__ == "__main__":
    main()
