"""jinbao: the node appliance of the Golden Insurance Project (金保工程).

Rooms and floors are drawn in `docs/explanation/architecture.md` and held by the
import contracts in `pyproject.toml`. This module holds the version and nothing else.
"""

__version__ = "0.1.0"
