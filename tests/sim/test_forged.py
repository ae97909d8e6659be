"""What is forged, altered, replayed or out of order: refused, and nothing is written but the hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace

import pytest
from tests.sim.small import INCARNATION, Showing, SmallZone, honest
from tests.trust.example import CITY, FIRST, NOW, ROOT, SIBLING, Network

from jinbao.model.acts import envelope_json
from jinbao.model.batch import Header, JournalCut, Kind, Manifest, SealedBatch, SegmentRef
from jinbao.model.stream import Mark, StreamId
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust.encoding import HEADER_TYPE, TOPOLOGY_TYPE, decode_header, encode_header
from jinbao.trust.envelope import head_of, seal, seal_bytes

EXCHANGE = Endpoint("140100", Zone.EXCHANGE)
STREAM, OTHER = StreamId(CITY, "pension_macro"), StreamId(CITY, "unemployment_monitor")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """Keys and certificates."""
    return Network(tmp_path_factory.mktemp("network"))


@pytest.fixture(scope="module")
def zones(
    network: Network, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[SmallZone, SmallZone]]:
    """A city's production zone, and its exchange zone that accepted two batches of it."""
    home = tmp_path_factory.mktemp("zones")
    origin, receiver = SmallZone(CITY, network, home / "p"), SmallZone(EXCHANGE, network, home / "x")
    for stream in (STREAM, STREAM, OTHER):
        origin.publish(stream)
    receiver.inbound.step(honest(EXCHANGE, origin))
    receiver.copy(home / "before")
    yield origin, receiver
    origin.store.close()
    receiver.store.close()


@pytest.fixture
def origin(zones: tuple[SmallZone, SmallZone]) -> SmallZone:
    """The one whose batches are forged."""
    return zones[0]


@pytest.fixture
def receiver(zones: tuple[SmallZone, SmallZone]) -> Iterator[SmallZone]:
    """The one they are shown to, as it was before."""
    yield zones[1]
    zones[1].restore(zones[1].directory.parent / "before")


Forging = Callable[[SealedBatch, Network], SealedBatch]


def altered(name: str, at: int) -> Forging:
    """One byte of a field of the envelope is another."""

    def forge(sealed: SealedBatch, _network: Network) -> SealedBatch:
        content = bytearray(getattr(sealed, name))
        content[at] ^= 0x01
        return replace(sealed, **{name: bytes(content)})

    return forge


def truncated(name: str, by: int) -> Forging:
    """A field of the envelope ends too early."""
    return lambda sealed, _network: replace(sealed, **{name: getattr(sealed, name)[:-by]})


def longer(name: str) -> Forging:
    """A field of the envelope has a byte too many."""
    return lambda sealed, _network: replace(sealed, **{name: getattr(sealed, name) + b"\x00"})


def by(endpoint: Endpoint) -> Forging:
    """The same header, sealed by another zone."""
    return lambda sealed, network: seal(decode_header(sealed.payload), network.identity(endpoint))


def _other_type(sealed: SealedBatch, network: Network) -> SealedBatch:
    made = seal_bytes(TOPOLOGY_TYPE, sealed.payload, network.identity(CITY))
    return replace(made, payload_type=HEADER_TYPE)


ENVELOPES: dict[str, Forging] = {
    "suite": lambda s, _n: replace(s, suite="none"),
    "type": lambda s, _n: replace(s, payload_type=TOPOLOGY_TYPE),
    "payload altered in front": altered("payload", 3),
    "payload altered at its end": altered("payload", -1),
    "payload truncated": truncated("payload", 1),
    "payload lengthened": longer("payload"),
    "signature altered": altered("signature", 9),
    "signature truncated": truncated("signature", 4),
    "signature of nothing": lambda s, _n: replace(s, signature=b""),
    "no certificate": lambda s, _n: replace(s, certificates=()),
    "chain cut": lambda s, _n: replace(s, certificates=s.certificates[1:]),
    "another's chain": lambda s, n: replace(s, certificates=n.identity(SIBLING).certificates),
    "certificate altered": lambda s, _n: replace(
        s, certificates=(s.certificates[0][:-1] + bytes([s.certificates[0][-1] ^ 1]), *s.certificates[1:])
    ),
    "re-signed by a sibling": by(SIBLING),
    "re-signed by the ministry": by(ROOT),
    "re-signed by the relay": by(EXCHANGE),
    "signed as another type": _other_type,
}


@pytest.mark.fault_row(45)
@pytest.mark.parametrize("forge", ENVELOPES.values(), ids=ENVELOPES)
def test_a_forged_envelope_writes_nothing_but_the_hold(
    origin: SmallZone, receiver: SmallZone, network: Network, forge: Forging
) -> None:
    """An envelope with any part altered, cut, or made by another key holds its stream at most; the honest one is taken."""
    good, other = origin.next(STREAM), origin.next(OTHER)
    marks, acts = receiver.index.marks(), receiver.kinds()

    receiver.inbound.step(Showing(CITY, lambda _marks: [forge(good, network)]))

    assert receiver.index.marks() == marks
    assert receiver.kinds() in (acts, [*acts, "held"])
    assert {event for event, _ in receiver.events[-1:]} <= {"stream_held", "header_refused"}

    assert receiver.inbound.step(Showing(CITY, lambda _marks: [good, other])) == 2
    assert receiver.index.held() == {}


HEADERS: dict[str, object] = {
    "stream": StreamId(CITY, "medical_monitor"),
    "seq": 4,
    "incarnation": "b" * 32,
    "epoch": 2,
    "previous": "0f" * 32,
    "kind": Kind.SNAPSHOT,
    "made_at": "2026-11-20T07:00:01Z",
    "run": "another",
    "slice_index": 1,
    "slices": 2,
    "period": "202411",
    "standard": "pension_macro@9.9",
    "replaces": (1,),
    "segments": (SegmentRef("person", "0f" * 32, 1, 1),),
    "manifest": Manifest(1, ()),
    "continues": Mark(STREAM, INCARNATION, 1, 1, "0f" * 32),
    "cut": JournalCut(1, "0f" * 32, "2026-11-20T07:00:01Z"),
}


@pytest.mark.fault_row(45)
@pytest.mark.parametrize("field", [field.name for field in fields(Header)])
def test_every_field_of_a_header_is_under_the_seal(
    origin: SmallZone, receiver: SmallZone, field: str
) -> None:
    """A header with any one field changed after it was sealed is refused, and writes nothing but the hold."""
    good = origin.next(STREAM)
    header = decode_header(good.payload)
    changed = replace(header, **{field: HEADERS[field]})  # type: ignore[arg-type]  # by name
    marks, acts = receiver.index.marks(), receiver.kinds()

    receiver.inbound.step(Showing(CITY, lambda _marks: [replace(good, payload=encode_header(changed))]))

    assert changed != header
    assert receiver.index.marks() == marks
    assert receiver.kinds() == [*acts, "held"]
    assert receiver.events[-1][1]["code"] == "unprovable"


def test_the_example_header_is_whole() -> None:
    """Every field of a header has another value to be changed to, and the example is made before now."""
    assert set(HEADERS) == {field.name for field in fields(Header)}
    assert f"{NOW:%Y-%m-%dT%H:%M:%SZ}" > FIRST.made_at


@pytest.mark.fault_row(46)
def test_old_batches_again_change_nothing(origin: SmallZone, receiver: SmallZone) -> None:
    """Batches replayed, doubled and in any order write nothing and hold nothing, under whatever signature."""
    old = [origin.index.batch(STREAM, seq) for seq in (2, 1, 2, 1)]
    again = [origin.forge(decode_header(s.payload)) for s in old if s is not None]
    acts = receiver.kinds()

    for shown in (old, again):
        assert receiver.inbound.step(Showing(CITY, lambda _marks, s=shown: s)) == 0  # type: ignore[misc]

    assert {s.signature for s in again}.isdisjoint({s.signature for s in old if s is not None})
    assert receiver.kinds() == acts


@pytest.mark.fault_row(46)
@pytest.mark.parametrize(
    ("order", "accepted", "reason"),
    [
        ((4,), 0, "expected batch 3, got 4"),
        ((4, 3), 0, "expected batch 3, got 4"),
        ((3, 5), 1, "expected batch 4, got 5"),
    ],
    ids=["skipped", "reordered", "skipped later"],
)
def test_a_gap_is_held_until_it_is_filled(
    origin: SmallZone,
    receiver: SmallZone,
    network: Network,
    order: tuple[int, ...],
    accepted: int,
    reason: str,
) -> None:
    """A batch out of order is refused with the seq that was expected; the stream goes on once it comes."""
    chain = {decode_header(s.payload).seq: s for s in _further(origin, network)}

    taken = receiver.inbound.step(Showing(CITY, lambda _marks: [chain[seq] for seq in order]))
    held = receiver.index.held()[STREAM]
    receiver.inbound.step(Showing(CITY, lambda _marks: list(chain.values())))

    assert (taken, held[1]) == (accepted, "sequence_gap")
    assert reason in held[2]
    assert receiver.index.held() == {}
    assert receiver.index.mark(STREAM).seq == 5


def _further(origin: SmallZone, network: Network) -> list[SealedBatch]:
    """Batches 3 to 5 of the stream, nowhere recorded."""
    last, made = origin.index.head(STREAM), list[SealedBatch]()
    for seq in (3, 4, 5):
        header = replace(FIRST, seq=seq, previous=last.head)
        made.append(seal(header, network.identity(CITY)))
        last = replace(last, seq=seq, head=head_of(made[-1]))
    return made


@pytest.mark.fault_row(46)
@pytest.mark.parametrize("seq", [1, 2], ids=["long ago", "the newest"])
def test_an_old_place_with_other_content_is_equivocation(
    origin: SmallZone, receiver: SmallZone, network: Network, seq: int
) -> None:
    """Another payload at a place held before holds the stream with both heads till a person looks; others flow."""
    ours = receiver.index.batch(STREAM, seq)
    assert ours is not None
    other = seal(replace(decode_header(ours.payload), run="another"), network.identity(CITY))

    receiver.inbound.step(Showing(CITY, lambda _marks: [other]))
    receiver.restart()
    taken = receiver.inbound.step(Showing(CITY, lambda _marks: [origin.next(STREAM), origin.next(OTHER)]))

    [hold] = receiver.ledger.acts(kind="held")
    assert hold.act.body["evidence"] == [envelope_json(ours), envelope_json(other)]
    assert taken == 1
    assert {s: code for s, (_, code, _) in receiver.index.held().items()} == {STREAM: "equivocation"}
    [(_, audience, word)] = [due for due in receiver.index.receipts_due(9) if due[2].stage == "held"]
    assert (audience, word.seq, word.head, word.incarnation) == ("140100", seq, head_of(other), INCARNATION)
