"""An identity has another holder: the one before is refused over real TLS, is shown why, and believes proof alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from tests.link.parts import (
    CITY,
    LIMITS,
    MINISTRY,
    PROVINCE,
    SIBLING,
    Network,
    Now,
    Window,
    channel,
    listening,
    utc_now,
)
from tests.link.test_callers import second_epoch
from tests.link.zones import zones

from jinbao.appliance.assembly import OpenZone
from jinbao.appliance.network import AUTHORITIES
from jinbao.appliance.trust_keeper import document_of
from jinbao.authority.demo import DemoAuthorities
from jinbao.authority.identity_files import ZoneIdentity
from jinbao.link.client import LineClient
from jinbao.link.hello import VERSION
from jinbao.link.server import SERVICE
from jinbao.link.standing import GRANT_METADATA, PROOF_BYTES_MAX, Standing
from jinbao.model.errors import (
    IdentityError,
    JinbaoError,
    LinkError,
    RevocationUnknownError,
    RevokedError,
    StaleEpochError,
)
from jinbao.model.grant import Grant, GrantedCut
from jinbao.model.trust import DocumentKind
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust.book import TrustBook
from jinbao.trust.encoding import envelope_message
from jinbao.trust.grants import DECLARATION_CHARACTERS_MAX, seal_grant
from jinbao.wire.gen.jinbao.wire.v1 import wire_pb2 as wire

PRODUCTION = Endpoint(CITY.node, Zone.PRODUCTION)


def grant_of(network: Network, endpoint: Endpoint, by: Endpoint = PROVINCE, declaration: str = "") -> bytes:
    """The envelope of a grant of a node's second epoch, sealed by whoever is asked."""
    cuts = tuple(GrantedCut(zone, 40, "a" * 64) for zone in sorted(Zone))
    made_at = utc_now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
    domain = network.topology.trust_domain
    grant = Grant(domain, endpoint.node, 2, (), cuts, (), declaration or "fire", made_at)
    return envelope_message(seal_grant(grant, network.identity(by))).SerializeToString()


@dataclass(frozen=True)
class Granted(Network):
    """A network in which the city's identity has another holder, as those know who hold a proof of it."""

    proofs: Mapping[str, bytes] = field(default_factory=dict)
    documents: tuple[bytes, ...] | None = None
    """Authorities and lists everybody holds, where they are others than those of the network's first day."""

    def standing(self, me: Endpoint, now: Now, identity: ZoneIdentity | None = None) -> Standing:
        """With the proofs."""
        made = replace(super().standing(me, now, identity), proof=lambda node: self.proofs.get(node, b""))
        if self.documents is not None:
            book = TrustBook.of(made.identity().anchors, self.documents)  # type: ignore[attr-defined]
            made.book = lambda: book
        return made


def granted(network: Network, proof: bytes) -> Granted:
    """Everybody knows the city's second epoch, and has this to show for it."""
    return Granted(network.directory, second_epoch(network, CITY), {CITY.node: proof})


@dataclass
class Old:
    """The city's holder before, who knows of nothing; what it was told, and by whom."""

    network: Network
    me: Endpoint = CITY
    told: list[tuple[list[bytes], Endpoint | None]] = field(default_factory=list)

    def client(self, peer: Endpoint, address: str) -> LineClient:
        """Its line to a neighbour."""
        standing = self.network.standing(self.me, utc_now)
        standing.learn = self._learn
        return LineClient(standing, peer, address, limits=LIMITS)

    def _learn(self, documents: Sequence[bytes], peer: Endpoint | None) -> None:
        self.told.append((list(documents), peer))


CALLS = 8
"""Beyond its soft bound the library drops metadata by chance: one call that goes well shows little."""

METHODS = {
    "Hello": wire.HelloRequest(nonce=bytes(32), versions=[VERSION]).SerializeToString(),
    "Follow": wire.FollowRequest().SerializeToString(),
    "Fetch": wire.FetchRequest(sha256="a" * 64).SerializeToString(),
}


@pytest.mark.fault_row(52)
@pytest.mark.parametrize("method", METHODS)
def test_whoever_is_refused_for_its_epoch_finds_the_grant(network: Network, method: str) -> None:
    """Every method refuses an older epoch as PERMISSION_DENIED, with the parent's grant in `jinbao-grant-bin`."""
    proof = grant_of(network, CITY)
    with (
        listening(granted(network, proof), PROVINCE) as server,
        channel(network, CITY, PROVINCE, server.address) as opened,
        pytest.raises(grpc.RpcError) as caught,
    ):
        list(opened.unary_stream(f"/{SERVICE}/{method}")(METHODS[method], timeout=5))

    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert dict(caught.value.trailing_metadata())[GRANT_METADATA] == proof
    assert [type(exc) for _, exc in server.refusals] == [StaleEpochError]


@pytest.fixture(scope="module")
def taking_back(tmp_path_factory: pytest.TempPathFactory) -> tuple[Network, Mapping[str, tuple[bytes, ...]]]:
    """A network whose authority took the city's certificates back; what is known of that, by how much is."""
    directory = tmp_path_factory.mktemp("taken") / "network"
    with zones(directory) as opened:
        authorities = DemoAuthorities(directory=directory / AUTHORITIES)
        for folder in sorted((directory / AUTHORITIES).iterdir()):
            authorities.authority(folder.name, opened.network.topology.trust_domain)
        authorities.revoke(CITY, opened.network.topology, "superseded")
        listed = authorities.documents()
        certificates = tuple(d for d in listed if document_of(d).kind is DocumentKind.AUTHORITY)
        return opened.network, {"taken back": listed, "no list at hand": certificates}


@pytest.mark.fault_row(52)
@pytest.mark.parametrize("known", ["taken back", "no list at hand"])
def test_a_certificate_taken_back_for_it_is_told_of_the_epoch(
    taking_back: tuple[Network, Mapping[str, tuple[bytes, ...]]], known: str
) -> None:
    """The authority of a promoted node takes the old certificates back: their holder finds the grant all the same."""
    network, documents = taking_back
    proof, old = grant_of(network, CITY), Old(network)
    after = replace(granted(network, proof), documents=documents[known])
    with listening(after, PROVINCE) as server:
        client = old.client(PROVINCE, server.address)
        with pytest.raises(IdentityError, match="expected epoch 2, got epoch 1"):
            client.headers([], 10, 0.0)
        client.close()

    assert old.told == [([proof], PROVINCE)]
    assert [type(exc) for _, exc in server.refusals] == [StaleEpochError]


@pytest.mark.parametrize("known", ["taken back", "no list at hand"])
def test_a_certificate_taken_back_at_its_epoch_is_told_so(
    taking_back: tuple[Network, Mapping[str, tuple[bytes, ...]]], known: str
) -> None:
    """Where nobody was granted the identity, a certificate that was taken back, or may be, is refused as that."""
    network, documents = taking_back
    now = Granted(network.directory, network.topology, {CITY.node: b"a grant"}, documents[known])
    with (
        listening(now, PROVINCE) as server,
        channel(network, CITY, PROVINCE, server.address) as opened,
        pytest.raises(grpc.RpcError) as caught,
    ):
        list(opened.unary_stream(f"/{SERVICE}/Follow")(METHODS["Follow"], timeout=5))

    assert GRANT_METADATA not in dict(caught.value.trailing_metadata())
    family = RevokedError if known == "taken back" else RevocationUnknownError
    assert [type(exc) for _, exc in server.refusals] == [family]


@pytest.mark.parametrize("caller", [SIBLING, CITY], ids=["a sibling", "the new holder"])
def test_nobody_else_is_shown_a_grant(network: Network, caller: Endpoint) -> None:
    """Who is let in, and who is refused for anything but its epoch, is shown no grant."""
    after = granted(network, grant_of(network, CITY))
    server_network = after if caller == SIBLING else replace(after, topology=network.topology)
    called = CITY if caller == SIBLING else PROVINCE
    with (
        listening(server_network, called) as server,
        channel(network, caller, called, server.address) as opened,
    ):
        call = opened.unary_stream(f"/{SERVICE}/Hello")(METHODS["Hello"], timeout=5)
        try:
            list(call)
        except grpc.RpcError:
            assert caller == SIBLING

        assert GRANT_METADATA not in dict(call.trailing_metadata() or ())


@pytest.mark.fault_row(52)
@pytest.mark.parametrize(
    "size", [0, PROOF_BYTES_MAX], ids=["as long as a grant is", "as long as one may be shown"]
)
def test_the_caller_hands_the_grant_on_once(network: Network, size: int) -> None:
    """What a refused caller is shown is learned once a call and whole, up to the longest that is shown."""
    proof = os.urandom(size) or grant_of(network, CITY)
    old = Old(network)
    with listening(granted(network, proof), PROVINCE) as server:
        client = old.client(PROVINCE, server.address)
        for _ in range(CALLS):
            with pytest.raises(IdentityError, match="expected epoch 2, got epoch 1"):
                client.headers([], 10, 0.0)
        client.close()

    assert old.told == [([proof], PROVINCE)] * CALLS


def test_a_grant_that_is_too_long_to_show_is_left_out(network: Network) -> None:
    """One byte more than is ever shown, and the caller is refused all the same, for the same reason, without it."""
    old = Old(network)
    with listening(granted(network, os.urandom(PROOF_BYTES_MAX + 1)), PROVINCE) as server:
        client = old.client(PROVINCE, server.address)
        with pytest.raises(IdentityError, match="expected epoch 2, got epoch 1"):
            client.headers([], 10, 0.0)
        client.close()

    assert old.told == []
    assert [type(exc) for _, exc in server.refusals] == [StaleEpochError]


def test_a_caller_whose_library_cuts_long_metadata_off_is_refused_too(network: Network) -> None:
    """A caller of release 0.1, which takes less metadata than the longest grant, is not let in either."""
    proof = os.urandom(PROOF_BYTES_MAX)
    with (
        listening(granted(network, proof), PROVINCE) as server,
        channel(network, CITY, PROVINCE, server.address) as opened,
        pytest.raises(grpc.RpcError) as caught,
    ):
        list(opened.unary_stream(f"/{SERVICE}/Hello")(METHODS["Hello"], timeout=5))

    assert caught.value.code() in {grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert server.window == Window()


@pytest.mark.parametrize("characters", [500, DECLARATION_CHARACTERS_MAX])
def test_a_grant_with_a_page_of_words_is_shown(network: Network, characters: int) -> None:
    """A grant whose declaration fills its page in one byte a character, with its certificates, is short enough to show."""
    assert len(grant_of(network, CITY, declaration="x" * characters)) <= PROOF_BYTES_MAX


Metadata = tuple[tuple[str, bytes | str], ...]


@contextmanager
def refusing(network: Network, me: Endpoint, metadata: Metadata) -> Iterator[str]:
    """The address of a listener of a zone that refuses every call, with whatever it likes in its trailing metadata."""

    class Refusing(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # not at run time
        def service(self, _details: object) -> Any:
            def refuse(_request: bytes, context: grpc.ServicerContext) -> bytes:
                context.set_trailing_metadata(metadata)
                context.abort(grpc.StatusCode.PERMISSION_DENIED, "expected epoch 2, got epoch 1")
                raise AssertionError

            return grpc.unary_unary_rpc_method_handler(refuse)

    held = network.identity(me)
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool, handlers=[Refusing()], options=[("grpc.so_reuseport", 0)])
        pair = held.pem("key.pem"), held.pem("chain.pem")
        secured = grpc.ssl_server_credentials([pair], held.pem("anchors.pem"), require_client_auth=True)
        port = server.add_secure_port("127.0.0.1:0", secured)
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.stop(0).wait()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Network, OpenZone]]:
    """A network of which the city's exchange zone is open, and learns what it is told."""
    with zones(tmp_path_factory.mktemp("epochs") / "network", CITY) as opened:
        yield opened.network, opened[CITY]


Shown = Callable[[Network], Metadata]


def one(made: Callable[[Network], bytes]) -> Shown:
    """Something in the place of the grant."""
    return lambda network: ((GRANT_METADATA, made(network)),)


BOGUS: dict[str, Shown] = {
    "nothing": one(lambda _network: b""),
    "noise": one(lambda _network: os.urandom(400)),
    "text under its name": lambda _network: ((GRANT_METADATA.removesuffix("-bin"), "140100 epoch 9"),),
    "a certificate": one(lambda network: network.identity(CITY).seal_chain[-1].public_bytes(Encoding.DER)),
    "a topology": one(lambda network: (network.directory / "topology.sealed").read_bytes()),
    "cut off": one(lambda network: grant_of(network, CITY)[:-40]),
    "sealed by a sibling": one(lambda network: grant_of(network, CITY, by=SIBLING)),
    "sealed by the grandparent": one(lambda network: grant_of(network, CITY, by=MINISTRY)),
    "sealed by itself": one(lambda network: grant_of(network, CITY, by=CITY)),
    "longer than is shown": one(lambda network: grant_of(network, CITY) + bytes(PROOF_BYTES_MAX)),
    "longer than is taken": one(lambda _network: os.urandom(200 << 10)),
    "twice, one of them noise": lambda network: (
        (GRANT_METADATA, grant_of(network, CITY, by=SIBLING)),
        (GRANT_METADATA, os.urandom(400)),
    ),
}


@pytest.mark.parametrize("kind", BOGUS)
def test_what_proves_nothing_does_no_harm(running: tuple[Network, OpenZone], kind: str) -> None:
    """Whatever a listener shows in the place of a grant, the zone is as before, and told that it was refused."""
    network, city = running
    topology, acts = city.topology, city.index.overview().acts
    standing = Standing(
        CITY, city.trust.identity, city.trust.book, city.trust.topology, utc_now, city.trust.learn_stapled
    )

    with refusing(network, PROVINCE, BOGUS[kind](network)) as address:
        client = LineClient(standing, PROVINCE, address, limits=LIMITS)
        for _ in range(2):
            with pytest.raises((IdentityError, LinkError)) as caught:
                client.headers([], 10, 0.0)
        client.close()

    assert isinstance(caught.value, LinkError) == (kind == "longer than is taken")
    assert city.topology is topology
    assert not city.superseded
    assert city.trust.sealed_grants() == []
    assert city.index.overview().acts == acts


@pytest.mark.fault_row(52)
def test_a_true_grant_counts_whoever_shows_it(tmp_path: Path) -> None:
    """A grant proves itself: from a listener that refuses the zone records it once, and is superseded from then on."""
    with zones(tmp_path / "network", CITY) as opened:
        city, network = opened[CITY], opened.network
        proof = grant_of(network, CITY)
        standing = Standing(
            CITY, city.trust.identity, city.trust.book, city.trust.topology, utc_now, city.trust.learn_stapled
        )
        with refusing(network, PRODUCTION, ((GRANT_METADATA, proof),)) as address:
            client = LineClient(standing, PRODUCTION, address, limits=LIMITS)
            for _ in range(2):
                with pytest.raises(JinbaoError):
                    client.headers([], 10, 0.0)
            client.close()

        assert city.superseded
        assert city.trust.proof(CITY.node) == proof
        [recorded] = city.ledger.acts(kind="trust_learned")
        assert recorded.act.body["peer"] == str(PRODUCTION)
