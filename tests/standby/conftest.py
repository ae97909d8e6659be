"""A network with a backup site, laid down once."""

from __future__ import annotations

from tests.cli.conftest import say  # noqa: F401  # a fixture of the command line
from tests.sim.conftest import guarded, guarded_plan, silence  # noqa: F401  # fixtures of the simulator
