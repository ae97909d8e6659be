"""A start spares what a zone does not need: looking for garbage among modules, and drivers of servers it does not have."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from jinbao.cli.loading import loading
from jinbao.store.refusals import with_driver


def test_a_process_that_goes_on_looks_for_garbage_as_usual() -> None:
    """Inside nothing is looked at; then all is as Python has it, and what was made inside is never looked at again."""
    asked = [sys.executable, "-c", "import gc; print(gc.get_threshold())"]
    usual = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    frozen = gc.get_freeze_count()
    try:
        with loading():
            inside = gc.isenabled()
            made = [{} for _ in range(1000)]

        assert not inside
        assert gc.isenabled()
        assert str(gc.get_threshold()) == usual
        assert gc.get_freeze_count() >= frozen + len(made)
    finally:
        gc.unfreeze()


def test_a_module_that_cannot_be_loaded_leaves_the_looking_on() -> None:
    """Whatever ends the loading, garbage is looked for again."""
    try:
        with pytest.raises(ImportError), loading():
            raise ImportError

        assert gc.isenabled()
    finally:
        gc.unfreeze()


def test_a_zone_without_a_server_does_not_load_its_driver() -> None:
    """What serves a zone is loaded without PostgreSQL's driver, and no error of it is waited for."""
    asked = (
        "import sys, jinbao.appliance.serve; from jinbao.store.refusals import with_driver;"
        "print('psycopg' in sys.modules, with_driver())"
    )
    said = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout

    assert said.split("\n")[0] == "False ()"


def test_a_running_zone_is_asked_of_its_database_without_a_store() -> None:
    """Who only asks loads neither the store nor what reads columns."""
    asked = "import sys, jinbao.appliance.database.asking; print({'jinbao.store', 'polars', 'alembic'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout

    assert said.strip() == "set()"


def test_errors_of_a_loaded_driver_are_waited_for() -> None:
    """Once it is loaded its errors are waited for by name, and without a name the one that all others are."""
    import psycopg

    names = "OperationalError", "InterfaceError"

    assert with_driver(OSError) == (OSError, psycopg.Error)
    assert with_driver(names=names) == (psycopg.OperationalError, psycopg.InterfaceError)
