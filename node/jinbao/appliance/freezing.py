"""Copies of a lost node that stand still: what they are declared to be is what the node will be built from.

Records the pauses and waits for what was on its way; `jinbao line resume` ends them. Declares nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from jinbao.appliance.assembly import OpenZone
from jinbao.appliance.guarding import guarded
from jinbao.flow.pace import Worker
from jinbao.model import acts
from jinbao.model.errors import LocalError, UsageError
from jinbao.model.zone import Endpoint
from jinbao.standby.cuts import Cut

DECLARED = "declared: "
"""How the reason of a pause begins that a declaration made; others are for whoever made them to end."""

_LOOK_S = 0.05
_GIVE_UP = "jinbao line resume follows the node again"


def frozen(zone: OpenZone, running: Mapping[str, Worker] | None, node: str, reason: str) -> list[Cut]:
    """The cuts of a node's zones, by zone, of which none moves any more: nobody follows the node from here on.

    `running` are the workers of a zone that runs, by name; None of one that is stopped.
    Raises UsageError for a node that is not protected here or a zone without a copy, and LocalError for a copy that
    cannot be built from, or that goes on moving; then the node is followed no more all the same, unless it still was.
    """
    sound(zone, node)
    peers = [endpoint for endpoint in zone.topology.protected(zone.me) if endpoint.node == node]
    paused = zone.index.paused()
    if fresh := [peer for peer in peers if peer not in paused]:
        zone.ledger.record(*(acts.paused(peer, f"{DECLARED}{reason}") for peer in fresh))
    _wait(zone, running, node, peers)
    return sound(zone, node)


def sound(zone: OpenZone, node: str) -> list[Cut]:
    """The newest cut of every zone of a node; raises as `frozen` where one of them cannot be built from."""
    every = guarded(zone)
    cuts = [cut for cut in every if cut.stream.origin.node == node]
    if not cuts:
        have = ", ".join(dict.fromkeys(cut.stream.origin.node for cut in every)) or "none"
        raise UsageError("node", expected=f"one that is protected here: {have}", got=node[:40] or "none")
    held = zone.index.held()
    for cut in cuts:
        thing = f"copy of {cut.stream.origin}"
        if not cut.lsn:
            raise UsageError(thing, expected="one that came here", got="none")
        if cut.missing:
            step = "jinbao journal scrub; jinbao standby status"
            raise LocalError(
                thing, expected="every segment", got=f"{cut.missing} of them missing", next_step=step
            )
        if cut.stream in held:
            raise LocalError(
                thing,
                expected="a stream nobody holds",
                got=held[cut.stream][2],
                next_step="jinbao line status; jinbao line release",
            )
    return cuts


def _wait(zone: OpenZone, running: Mapping[str, Worker] | None, node: str, peers: Sequence[Endpoint]) -> None:
    """Wait until rounds that began before the pause have ended, and what they brought is cut."""
    began = time.monotonic()
    wait_s = 2 * zone.settings.pace.follow_wait_s  # a round waits so long for news, and brings it then
    names = [f"{lane} {peer}" for peer in peers for lane in ("follow", "fetch")]
    workers = [running[name] for name in names if name in running] if running else []
    for worker in workers:
        worker.wake()
    while True:
        moving = [worker.name for worker in workers if worker.last_success_monotonic <= began]
        moving += [str(cut.stream.origin) for cut in sound(zone, node) if _behind(zone, cut)]
        if not moving:
            return
        if running is None or time.monotonic() >= began + wait_s:
            raise LocalError(
                f"copies of {node}",
                expected="nothing on its way",
                got=", ".join(moving),
                next_step=f"ask again in a minute, while the zone runs; {_GIVE_UP}",
            )
        time.sleep(_LOOK_S)


def _behind(zone: OpenZone, cut: Cut) -> bool:
    """Whether a batch of a journal is here that its cut does not speak of yet."""
    return zone.index.mark(cut.stream).seq != cut.seq
