"""The simulator's network and the line's, for what hostile peers do to them."""

from tests.link.conftest import network
from tests.sim.conftest import plans, quiet, settled_plan, silence

__all__ = ["network", "plans", "quiet", "settled_plan", "silence"]
