"""jinbao: the node appliance of the Golden Insurance Project (金保工程).

Rooms and floors are drawn in `docs/explanation/architecture.md` and held by the
import contracts in `pyproject.toml`. This module holds the version, and what must be
said before the column engine and the line's library are loaded.
"""

import os

__version__ = "0.3.0"

# Polars' own choice never gives memory it once used back to the system: a quarter of what a zone holds.
os.environ.setdefault("_RJEM_MALLOC_CONF", "background_thread:true,dirty_decay_ms:500,muzzy_decay_ms:0")

# gRPC's own care for a forked process starts its threads in it, and they die of its closed files before the
# program is there: a signer or a server then ends by SIGABRT (grpc/grpc#43055). We start programs and never fork.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

# A zone's log is lines of JSON. Else each handshake a stranger breaks off would write a line of gRPC's between them.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
