"""One origin, one relay, one receiver against a model: whatever is done to them, no acknowledged batch is lost or forged.

The model is a list of heads per zone and stream: what the zone sealed or accepted. Real
databases, real seals; a crash strikes at a failpoint and the zone opens what is durable.
"""

from __future__ import annotations

import copy
import random
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.sim.small import HEADERS_MAX, Showing, SmallZone, honest
from tests.trust.example import CITY, PROVINCE, SIBLING, Network

from jinbao.model import acts, failpoint
from jinbao.model.batch import SealedBatch
from jinbao.model.stream import Mark, StreamId, fair_share
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust.encoding import decode_header, short_of
from jinbao.trust.envelope import head_of, seal

RELAY = Endpoint("140100", Zone.EXCHANGE)
STREAMS = (StreamId(CITY, "pension_macro"), StreamId(CITY, "unemployment_monitor"))
EDGES = ((RELAY, CITY), (PROVINCE, RELAY))
"""Who follows whom."""
CRASHES = ("ledger.before_record", "ledger.after_record", "inbound.after_fetch", "inbound.after_accept")

_edges, _streams, _seeds = st.sampled_from(EDGES), st.sampled_from(STREAMS), st.integers(0, 1 << 16)


class Crash(BaseException):
    """The process is gone."""


@dataclass
class Known:
    """What one zone must hold: heads by stream, streams a person must release, peers it paused."""

    chains: dict[StreamId, list[str]] = field(default_factory=lambda: {stream: [] for stream in STREAMS})
    lasting: dict[StreamId, str] = field(default_factory=dict)
    paused: set[Endpoint] = field(default_factory=set)


class Line(RuleBasedStateMachine):
    """The three zones, what is done to them, and what must hold after every step."""

    network: Network
    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(dir=self.template.parent))
        shutil.copytree(self.template, self.directory, dirs_exist_ok=True, symlinks=True)
        self.zones = {
            e: SmallZone(e, self.network, self.directory / e.zone / e.node) for e in (CITY, RELAY, PROVINCE)
        }
        self.known = {endpoint: Known() for endpoint in self.zones}
        self.copies: dict[Endpoint, Known] = {}
        self.runs = 0

    def teardown(self) -> None:
        """Close the databases and remove them."""
        failpoint.set_hook(None)
        for zone in self.zones.values():
            zone.store.close()
        shutil.rmtree(self.directory)

    # What the model expects of an honest round.

    def _learn(self, me: Endpoint, other: Endpoint) -> None:
        """Move the model as one honest round moves a zone."""
        mine, theirs = self.known[me], self.known[other]
        behind = [s for s in STREAMS if theirs.chains[s] != mine.chains[s] and theirs.chains[s]]
        for stream in behind:
            here, there = mine.chains[stream], theirs.chains[stream]
            if stream in mine.lasting:
                continue
            shared = here == there[: len(here)]
            if shared:
                mine.chains[stream] = there[: len(here) + fair_share(HEADERS_MAX, len(behind))]
            elif there != here[: len(there)]:
                mine.lasting[stream] = "equivocation"
            elif other == CITY:
                mine.lasting[stream] = "rollback"

    # Honest steps.

    @initialize(counts=st.tuples(st.integers(0, 3), st.integers(0, 3)))
    def begin(self, counts: tuple[int, int]) -> None:
        """Some batches are everywhere before anything happens to them."""
        for stream, count in zip(STREAMS, counts, strict=True):
            for _ in range(count):
                self.seal(stream)
        for edge in EDGES * 2:
            self.follow(edge)

    @rule(stream=_streams)
    def seal(self, stream: StreamId) -> None:
        """The origin seals the next batch."""
        self.runs += 1
        sealed = self.zones[CITY].publish(stream, run=f"run-{self.runs}")
        self.known[CITY].chains[stream].append(head_of(sealed))

    @rule(edge=_edges)
    def follow(self, edge: tuple[Endpoint, Endpoint]) -> None:
        """A zone follows its neighbour for a round, unless an operator paused it."""
        me, other = edge
        zone = self.zones[me]
        assert (other in zone.index.paused()) is (other in self.known[me].paused)
        if other in zone.index.paused():
            return
        zone.inbound.step(honest(me, self.zones[other]))
        self._learn(me, other)

    @rule(edge=_edges, name=st.sampled_from(CRASHES), hits=st.integers(1, 4))
    def crash(self, edge: tuple[Endpoint, Endpoint], name: str, hits: int) -> None:
        """A zone dies somewhere in a round, opens again, and makes the round anew: nothing is lost or doubled."""
        left = [hits]

        def hook(passed: str) -> None:
            left[0] -= passed == name
            if passed == name and left[0] <= 0:
                raise Crash

        me, other = edge
        if other in self.known[me].paused:
            return
        before = {stream: list(chain) for stream, chain in self.known[me].chains.items()}
        failpoint.set_hook(hook)
        try:
            self.zones[me].inbound.step(honest(me, self.zones[other]))
        except Crash:
            pass
        finally:
            failpoint.set_hook(None)
        self.zones[me].restart()
        self._learn(me, other)
        for stream in STREAMS:
            self._settle_for_what_is_durable(me, stream, before[stream])

    def _settle_for_what_is_durable(self, me: Endpoint, stream: StreamId, before: Sequence[str]) -> None:
        """After a crash a zone may have come anywhere between where it was and where the round leads."""
        goal, zone = self.known[me].chains[stream], self.zones[me]
        got = zone.index.head(stream).seq
        assert len(before) <= got <= len(goal)
        self.known[me].chains[stream] = goal[:got]
        if stream not in zone.index.held():
            self.known[me].lasting.pop(stream, None)

    @rule(me=st.sampled_from([CITY, RELAY, PROVINCE]))
    def restart(self, me: Endpoint) -> None:
        """A zone restarts between two steps."""
        self.zones[me].restart()

    @rule(edge=_edges)
    def pause(self, edge: tuple[Endpoint, Endpoint]) -> None:
        """An operator pauses or resumes a neighbour."""
        me, other = edge
        paused = self.known[me].paused
        act = acts.resumed(other) if other in paused else acts.paused(other, "a test")
        self.zones[me].ledger.record(act)
        paused ^= {other}

    @rule(edge=_edges, stream=_streams)
    def release(self, edge: tuple[Endpoint, Endpoint], stream: StreamId) -> None:
        """A person lets a held stream go on."""
        me, _ = edge
        if stream in self.zones[me].index.held():
            self.zones[me].ledger.record(acts.released(stream, "a test"))
            self.known[me].lasting.pop(stream, None)

    # Trouble on the way.

    @rule(edge=_edges, seed=_seeds)
    def replay(self, edge: tuple[Endpoint, Endpoint], seed: int) -> None:
        """Old batches come again, any number of times, in any order."""
        me, other = edge
        old = [
            self.zones[me].index.batch(stream, seq)
            for stream in STREAMS
            for seq in range(1, len(self.known[me].chains[stream]) + 1)
        ]
        shown = random.Random(seed).choices([s for s in old if s is not None], k=6) if old else []
        assert self.zones[me].inbound.step(Showing(other, lambda _marks: shown)) == 0

    @rule(edge=_edges, stream=_streams, seed=_seeds)
    def skip(self, edge: tuple[Endpoint, Endpoint], stream: StreamId, seed: int) -> None:
        """Batches come without the one before them: nothing is taken till the gap is filled."""
        me, other = edge
        here, there = self.known[me].chains[stream], self.known[CITY].chains[stream]
        later = [self.zones[CITY].index.batch(stream, seq) for seq in range(len(here) + 2, len(there) + 1)]
        if here != there[: len(here)] or not later:
            return
        random.Random(seed).shuffle(later)
        assert self.zones[me].inbound.step(Showing(other, lambda _marks: [s for s in later if s])) == 0

    @rule(edge=_edges, stream=_streams, seed=_seeds)
    def forge(self, edge: tuple[Endpoint, Endpoint], stream: StreamId, seed: int) -> None:
        """The next batch comes altered, cut, or sealed by somebody else."""
        me, other = edge
        rng = random.Random(seed)
        name = rng.choice(["payload", "signature", "cut", "signer"])
        shown = self._next(me, stream, "forged")
        if name == "signer":
            shown = seal(decode_header(shown.payload), self.network.identity(SIBLING))
        elif name == "cut":
            shown = replace(shown, payload=shown.payload[: rng.randrange(len(shown.payload))])
        else:
            content = bytearray(getattr(shown, name))
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            shown = replace(shown, **{name: bytes(content)})
        assert self.zones[me].inbound.step(Showing(other, lambda _marks: [shown])) == 0

    # An origin, or a thief of its key, that says two things.

    def _next(self, me: Endpoint, stream: StreamId, run: str, **changes: object) -> SealedBatch:
        """A batch right after what a zone has, sealed by the origin's own key and held nowhere."""
        chain = self.known[me].chains[stream]
        first = decode_header(self.zones[CITY].next(stream).payload)
        header = replace(first, seq=len(chain) + 1, previous=chain[-1] if chain else "", run=run)
        return self.zones[CITY].forge(replace(header, **changes))  # type: ignore[arg-type]  # by name

    @rule(edge=_edges, stream=_streams, back=st.integers(0, 5))
    def equivocate(self, edge: tuple[Endpoint, Endpoint], stream: StreamId, back: int) -> None:
        """The origin's key says another thing at a place that is held, or of what came before the next."""
        me, other = edge
        known = self.known[me]
        if not known.chains[stream]:
            return
        seq = max(1, len(known.chains[stream]) + 1 - back)
        shown = self._next(me, stream, "another", seq=seq, previous="0f" * 32)
        assert self.zones[me].inbound.step(Showing(other, lambda _marks: [shown])) == 0
        known.lasting.setdefault(stream, "equivocation")

    @rule(edge=_edges, stream=_streams, late=st.booleans())
    def fall_short(self, edge: tuple[Endpoint, Endpoint], stream: StreamId, late: bool) -> None:
        """A neighbour says that it cannot continue the mark: a rollback of the origin, nothing of a relay or if late."""
        me, other = edge
        known = self.known[me]
        first = self.zones[me].index.batch(stream, 1)
        if first is None or len(known.chains[stream]) < 2:
            return

        def answer(marks: Sequence[Mark]) -> list[SealedBatch]:
            [mark] = [mark for mark in marks if mark.stream == stream]
            return [short_of(first, replace(mark, seq=mark.seq - 1) if late else mark)]

        assert self.zones[me].inbound.step(Showing(other, answer)) == 0
        if other == CITY and not late:
            known.lasting.setdefault(stream, "rollback")

    @rule(me=st.sampled_from([CITY, RELAY, PROVINCE]))
    def keep_copy(self, me: Endpoint) -> None:
        """An operator keeps a copy of a zone."""
        self.zones[me].copy(self.directory / f"copy-{me.node}-{me.zone}")
        self.copies[me] = copy.deepcopy(self.known[me])

    @precondition(lambda self: self.copies)
    @rule(seed=_seeds)
    def restore(self, seed: int) -> None:
        """An operator puts an old copy in the place of a zone."""
        me = random.Random(seed).choice(sorted(self.copies))
        self.zones[me].restore(self.directory / f"copy-{me.node}-{me.zone}")
        self.known[me] = copy.deepcopy(self.copies[me])

    @rule(stream=_streams, ahead=st.integers(1, 2), again=st.integers(0, 3))
    def return_to_an_old_copy(self, stream: StreamId, ahead: int, again: int) -> None:
        """The origin shows some batches, falls back to what it was before them, and seals others."""
        self.keep_copy(CITY)
        for _ in range(ahead):
            self.seal(stream)
        self.follow((RELAY, CITY))
        self.zones[CITY].restore(self.directory / f"copy-{CITY.node}-{CITY.zone}")
        self.known[CITY] = copy.deepcopy(self.copies[CITY])
        for _ in range(again):
            self.seal(stream)
        self.follow((RELAY, CITY))

    # What must hold.

    @invariant()
    def every_acknowledged_batch_is_there_once(self) -> None:
        """Each zone holds what it acknowledged, once, in an unbroken chain, and nothing else."""
        for endpoint, zone in self.zones.items():
            for stream, heads in self.known[endpoint].chains.items():
                expected = list(zip(range(1, len(heads) + 1), ["", *heads], heads, strict=False))
                assert zone.chain(stream) == expected

    @invariant()
    def contradicted_streams_wait_for_a_person(self) -> None:
        """A contradiction is held with its code, over restarts, and the origin is told of each; nothing else is."""
        for endpoint, zone in self.zones.items():
            held = {stream: code for stream, (_, code, _) in zone.index.held().items()}
            lasting = {stream: code for stream, code in held.items() if code in {"equivocation", "rollback"}}
            assert lasting == self.known[endpoint].lasting
            told = {
                receipt.stream for _, _, receipt in zone.index.receipts_due(1000) if receipt.stage == "held"
            }
            assert lasting.keys() <= told


def _machine(network: Network, template: Path) -> type[RuleBasedStateMachine]:
    return type("Line", (Line,), {"network": network, "template": template})


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> type[RuleBasedStateMachine]:
    """The machine over three new zones, made once and copied for every run."""
    network, template = (
        Network(tmp_path_factory.mktemp("network")),
        tmp_path_factory.mktemp("machine") / "zones",
    )
    for endpoint in (CITY, RELAY, PROVINCE):
        SmallZone(endpoint, network, template / endpoint.zone / endpoint.node).store.close()
    return _machine(network, template)


def _run(machine: type[RuleBasedStateMachine], examples: int, steps: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.fault_row(46)
def test_three_zones_do_what_the_model_says(machine: type[RuleBasedStateMachine]) -> None:
    """Seals, rounds, crashes, replays, forgeries, rollbacks and pauses in any order leave three zones as the model says."""
    _run(machine, examples=20, steps=25)


@pytest.mark.night
@pytest.mark.fault_row(46)
def test_three_zones_do_what_the_model_says_for_hours(machine: type[RuleBasedStateMachine]) -> None:
    """What a dozen runs show by day holds for thousands of longer ones by night."""
    _run(machine, examples=3000, steps=60)
