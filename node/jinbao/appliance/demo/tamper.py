"""What an intruder with access to a disk would do behind the product's back, so that it can be found."""

from __future__ import annotations

import os
import sqlite3  # only an intruder opens a zone's database
from contextlib import closing

from jinbao.appliance.demo.processes import DemoNetwork
from jinbao.model.zone import Endpoint, Tier, Zone

_BUSY_S = 30.0


def tamper(network: DemoNetwork, kind: str) -> str:
    """Change something behind the product's back, as an intruder with disk access would; returns what."""
    acts = {"row": _tamper_row, "segment": _tamper_segment, "receipt": _tamper_receipt}
    return acts[kind](network)


def _tamper_row(network: DemoNetwork) -> str:
    """Raise one pension at the province by a hundred yuan, in its database."""
    province = network.of_tier(Tier.PROVINCE)[0]
    path = network.settings[province].directory(Zone.EXCHANGE) / "zone.db"
    with closing(sqlite3.connect(path, timeout=_BUSY_S)) as database:
        key = database.execute('SELECT min("AAC001") FROM pension_macro__retiree').fetchone()[0]
        database.execute(
            'UPDATE pension_macro__retiree SET "AIC263" = "AIC263" + 10000 WHERE "AAC001" = ?', (key,)
        )
        database.commit()
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
