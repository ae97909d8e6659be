"""What an intruder with access to a disk would do behind the product's back, so that it can be found."""

from __future__ import annotations

import os

import sqlalchemy as sa

from jinbao.appliance.demo.databases import with_all_rights
from jinbao.appliance.demo.processes import DemoNetwork
from jinbao.model.zone import Endpoint, Tier, Zone


def tamper(network: DemoNetwork, kind: str) -> str:
    """Change something behind the product's back, as an intruder with disk access would; returns what."""
    acts = {"row": _tamper_row, "segment": _tamper_segment, "receipt": _tamper_receipt}
    return acts[kind](network)


def _tamper_row(network: DemoNetwork) -> str:
    """Raise one pension at the province by a hundred yuan, in its database."""
    province = network.of_tier(Tier.PROVINCE)[0]
    # Only an intruder opens a zone's database; on a server, one who came by its superuser.
    engine = sa.create_engine(with_all_rights(network.settings[province].database(Zone.EXCHANGE)))
    with engine.begin() as database:
        key = database.execute(sa.text('SELECT min("AAC001") FROM pension_macro__retiree')).scalar_one()
        raised = 'UPDATE pension_macro__retiree SET "AIC263" = "AIC263" + 10000 WHERE "AAC001" = :key'
        database.execute(sa.text(raised), {"key": key})
    engine.dispose()
    return f"pension_macro/retiree {key} at {province}/exchange"


def _tamper_segment(network: DemoNetwork) -> str:
    """Flip one bit in the largest segment of the province."""
    province = network.of_tier(Tier.PROVINCE)[0]
    return _flip(network, province, Zone.EXCHANGE, largest=True)


def _tamper_receipt(network: DemoNetwork) -> str:
    """Flip one bit in a batch of receipts a city filed."""
    return _flip(network, network.cities()[0], Zone.PRODUCTION, largest=False)


def _flip(network: DemoNetwork, node: str, zone: Zone, *, largest: bool) -> str:
    root = network.settings[node].directory(zone) / "segments"
    named = {d["sha256"] for d in network.ask(Endpoint(node, zone), "report.segments")["segments"]}
    files = [path for path in root.glob("[0-9a-f][0-9a-f]/*.parquet") if path.stem in named]
    chosen = sorted(files, key=lambda path: path.stat().st_size)[-1 if largest else 0]
    content = bytearray(chosen.read_bytes())
    content[len(content) // 2] ^= 1
    chosen.write_bytes(content)
    os.sync()
    return f"segment {chosen.stem[:12]} at {node}/{zone}"
