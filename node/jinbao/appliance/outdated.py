"""Whether others have more of this zone than it has itself: then its database is an old one, put back.

Who follows a zone says with each call how far it is. Beyond our newest batch of the same incarnation
nobody can be, unless we were more once. From then on nothing is sealed, for it would contradict what
is sealed already; the zone ends, and a file keeps it from starting until the newer database is back, or
the parent granted the identity anew by a promotion. Believes its own node, its parent and its backup:
a child could silence a province.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from jinbao.appliance.set_aside import require_other_database
from jinbao.flow.ports import Index, Observer
from jinbao.model.errors import OutdatedError
from jinbao.model.stream import Mark, StreamId
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint, Zone

FILE = "outdated.json"


FURTHER_MAX = 100
"""Streams of other zones of our node that are kept of what callers said: a zone seals a few, and a caller names any."""


class Outdated:
    """What was heard of one zone's newer past; `found` is the word that counts, `told` learns of it once."""

    def __init__(
        self,
        me: Endpoint,
        directory: Path,
        *,
        topology: Callable[[], Topology],
        epoch: Callable[[], int],
        observer: Observer,
    ) -> None:
        self._me, self._file = me, directory / FILE
        self._topology, self._epoch, self._observer = topology, epoch, observer
        self._further: dict[StreamId, Mark] = {}
        self.found: OutdatedError | None = None
        self.told: Callable[[OutdatedError], None] = lambda _: None

    def hear(self, caller: Endpoint, mark: Mark) -> None:
        """A caller has a batch beyond our newest; what an earlier holder sealed is the promotion's business.

        Of another zone of our node it is kept, for that zone: it may be the one that is old.
        """
        if self.found is not None or not self._is_believed(caller) or mark.epoch < self._epoch():
            return
        if mark.stream.origin != self._me:
            if mark.stream in self._further or len(self._further) < FURTHER_MAX:
                self._further[mark.stream] = mark
            return
        word = {
            "stream": str(mark.stream),
            "incarnation": mark.incarnation,
            "epoch": mark.epoch,
            "seq": mark.seq,
            "head": mark.head,
            "said_by": str(caller),
        }
        self.found = _error(self._me, word)
        self._file.write_text(json.dumps(word, indent=1) + "\n", encoding="utf-8")
        self._observer.event("database_outdated", stream=str(mark.stream), seq=mark.seq, said_by=str(caller))
        self.told(self.found)

    def further(self, peer: Endpoint) -> list[Mark]:
        """How far others are in the streams of a zone of our node, where that was further than we are."""
        return [mark for mark in self._further.values() if mark.stream.origin == peer]

    def _is_believed(self, caller: Endpoint) -> bool:
        topology = self._topology()
        backup = Endpoint(topology.backup(self._me.node) or self._me.node, Zone.EXCHANGE)
        return caller.node == self._me.node or caller in {topology.parent(self._me), backup}

    def require_newest(self) -> None:
        """Raise OutdatedError once somebody has more than we have."""
        if self.found is not None:
            raise self.found

    def require_settled(self, index: Index) -> None:
        """Raise OutdatedError for what an earlier process heard, unless the batch is back or the epoch is a newer one.

        Raises LocalError for the database of a former holder that was set aside.
        """
        require_other_database(self._file.parent, index.newest_act(), f"database of {self._me}")
        try:
            word = json.loads(self._file.read_text(encoding="utf-8"))
            stream, place = StreamId.parse(str(word["stream"])), (str(word["incarnation"]), int(word["seq"]))
            head, said_in = str(word["head"]), int(word["epoch"])
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError):  # cut off while it was written: it is heard again
            self._file.unlink()
            return
        ours = index.place(stream, *place)
        if self._epoch() <= said_in and (ours is None or ours.head != head):
            raise _error(self._me, word)
        self._file.unlink()


def _error(me: Endpoint, word: dict[str, object]) -> OutdatedError:
    return OutdatedError(
        f"database of {me}",
        expected=f"{word['stream']}#{word['seq']} with head {str(word['head'])[:12]}, which {word['said_by']} knows of",
        got="an older one",
        next_step="put back the newest database, or promote, or make the zone anew; docs/how-to/replace-a-node.md",
    )
