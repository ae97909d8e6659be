"""What a demonstration does in the names of others: its authorities' operators, and the clerks of its cities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from jinbao.appliance.demo.processes import DemoNetwork
from jinbao.appliance.network import AUTHORITIES
from jinbao.authority.demo import DemoAuthorities
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust.book import TrustBook
from jinbao.trust.documents import open_topology
from jinbao.trust.encoding import decode_envelope
from jinbao.trust.identity import ROOT

_RAISE = """
UPDATE "AC02" SET "AAE240" = "AAE240" + 1, "AAC040" = "AAC040" + 1 WHERE "AAE140" IN ('110', '210')
AND "AAC001" IN (SELECT DISTINCT "AAC001" FROM "AC02" WHERE "AAE140" = '110' ORDER BY "AAC001" LIMIT 10)
"""


def authorities_of(directory: Path) -> tuple[DemoAuthorities, Topology]:
    """The authorities beside a demonstration's nodes, and the topology as it was signed."""
    authorities, folders = DemoAuthorities(directory=directory / AUTHORITIES), directory / AUTHORITIES
    root = authorities.authority(ROOT, "").roots()
    documents = authorities.documents()
    # The topology is proved by all authorities there are; they are not known by name yet.
    for folder in sorted(folders.iterdir()):
        documents += authorities.authority(folder.name, "").documents()
    sealed = decode_envelope((directory / "topology.sealed").read_bytes())
    topology = open_topology(sealed, TrustBook.of(root, documents), authorities.now)
    for folder in sorted(folders.iterdir()):
        authorities.authority(folder.name, topology.trust_domain)
    return authorities, topology


def raise_wages(network: DemoNetwork, city: str) -> int:
    """Raise some wages in a city and have them captured; the run that was the newest before."""
    engine = sa.create_engine(network.business(city))
    with engine.begin() as business:
        business.exec_driver_sql(_RAISE)
    engine.dispose()
    answer: dict[str, Any] = network.ask(Endpoint(city, Zone.PRODUCTION), "capture.run")
    return int(answer["after_run"])
