"""Who may call and who may answer: real certificates over real mutual TLS, each wrong in one way."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from tests.link import raw_call
from tests.link.parts import (
    CITY,
    LIMITS,
    MINISTRY,
    PROVINCE,
    SIBLING,
    STREAM,
    Listening,
    Network,
    Window,
    batches,
    channel,
    dialling,
    listening,
    random_file,
    utc_now,
)

from jinbao.link.caller import CallerCheck
from jinbao.link.client import LineClient
from jinbao.link.hello import VERSION, challenge, check_answer
from jinbao.link.quota import FETCH
from jinbao.link.server import SERVICE
from jinbao.model.batch import SegmentRef
from jinbao.model.errors import IdentityError, JinbaoError, LinkError, StaleEpochError, UnprovableError
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust.book import TrustBook
from jinbao.wire.gen.jinbao.wire.v1 import wire_pb2 as wire

PRODUCTION, DECISION = Endpoint(CITY.node, Zone.PRODUCTION), Endpoint(CITY.node, Zone.DECISION)


@pytest.fixture
def city(network: Network) -> Iterator[Listening]:
    """A city that listens and has something to offer."""
    with listening(network, CITY, Window(batches(network.identity(CITY), 1))) as opened:
        yield opened


def hello(opened: grpc.Channel) -> wire.HelloResponse:
    """Ask who answers, over a bare connection."""
    call = opened.unary_unary(
        f"/{SERVICE}/Hello", wire.HelloRequest.SerializeToString, wire.HelloResponse.FromString
    )
    return call(wire.HelloRequest(nonce=bytes(32), versions=[VERSION]), timeout=5)


def second_epoch(network: Network, endpoint: Endpoint) -> Topology:
    """The topology after a node was granted its second epoch."""
    rows = network.topology.rows
    granted = tuple(replace(row, epoch=2) if row.node == endpoint.node else row for row in rows)
    return replace(network.topology, rows=granted)


@pytest.mark.parametrize("caller", [PROVINCE, PRODUCTION], ids=["parent", "own production zone"])
def test_a_neighbour_is_let_in(network: Network, city: Listening, caller: Endpoint) -> None:
    """A parent and a child get what is offered, and nobody is recorded as refused."""
    with dialling(network, caller, CITY, city.address) as client:
        found = client.headers([], 10, 0.0)

    assert found == city.window.batches
    assert (city.window.asked, city.refusals) == ([caller], [])


@pytest.mark.fault_row(32)
def test_a_caller_without_certificate_ends_in_the_handshake(network: Network, city: Listening) -> None:
    """Without a client certificate there is no connection, and so no call that could be refused."""
    with (
        channel(network, PROVINCE, CITY, city.address, certified=False) as opened,
        pytest.raises(grpc.RpcError) as caught,
    ):
        hello(opened)

    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert (city.window.asked, city.refusals) == ([], [])


@pytest.mark.fault_row(32)
def test_a_certificate_of_another_root_ends_in_the_handshake(
    network: Network, city: Listening, tmp_path: Path
) -> None:
    """The right names certified by another root make no connection."""
    stranger = network.stranger(PROVINCE, tmp_path / "stranger")

    with (
        dialling(network, PROVINCE, CITY, city.address, identity=stranger) as client,
        pytest.raises(LinkError, match="UNAVAILABLE"),
    ):
        client.headers([], 10, 0.0)

    assert (city.window.asked, city.refusals) == ([], [])


@pytest.mark.parametrize(
    ("caller", "called", "reason"),
    [
        (SIBLING, CITY, "expected a neighbour of 140100/exchange, got a zone that is none"),
        (MINISTRY, CITY, "expected a neighbour of 140100/exchange, got a zone that is none"),
        (PRODUCTION, PROVINCE, "expected a neighbour of 140000/exchange, got a zone that is none"),
        (DECISION, CITY, "expected packages by carrier, got a live connection"),
    ],
    ids=["sibling", "ministry to city", "production to province", "decision by line"],
)
def test_a_zone_that_is_no_neighbour_is_refused_and_recorded(
    network: Network, caller: Endpoint, called: Endpoint, reason: str
) -> None:
    """A true certificate of this network lets in nobody but neighbours; the refusal is told and recorded."""
    with (
        listening(network, called) as server,
        dialling(network, caller, called, server.address) as client,
        pytest.raises(IdentityError, match=reason),
    ):
        client.headers([], 10, 0.0)

    [(address, recorded)] = server.refusals
    assert address.startswith("ipv4:127.0.0.1:")
    assert (recorded.code, reason in str(recorded)) == ("identity", True)
    assert server.window.asked == []


@pytest.mark.fault_row(33)
def test_a_city_ends_in_the_ministrys_handshake(network: Network) -> None:
    """A ministry trusts, in a handshake, only who certifies its neighbours: a province's city makes no connection."""
    with (
        listening(network, MINISTRY) as server,
        dialling(network, CITY, MINISTRY, server.address) as client,
        pytest.raises(LinkError, match="UNAVAILABLE"),
    ):
        client.headers([], 10, 0.0)

    assert (server.window.asked, server.refusals) == ([], [])


@pytest.mark.parametrize(
    ("method", "request_bytes"),
    [
        ("Hello", wire.HelloRequest(nonce=bytes(32), versions=[VERSION]).SerializeToString()),
        ("Follow", wire.FollowRequest().SerializeToString()),
        ("Fetch", wire.FetchRequest(sha256="a" * 64).SerializeToString()),
    ],
    ids=["hello", "follow", "fetch"],
)
def test_every_call_asks_who_calls(
    network: Network, city: Listening, method: str, request_bytes: bytes
) -> None:
    """Each method refuses a sibling by itself: no hello that went before is trusted."""
    with channel(network, SIBLING, CITY, city.address) as opened, pytest.raises(grpc.RpcError) as caught:
        list(opened.unary_stream(f"/{SERVICE}/{method}")(request_bytes, timeout=5))

    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert [exc.code for _, exc in city.refusals] == ["identity"]
    assert city.window.asked == []


@pytest.mark.fault_row(41)
def test_an_older_tls_is_refused_and_recorded(network: Network, city: Listening) -> None:
    """A neighbour that speaks TLS 1.2 is refused, whatever its certificate (clause 1.2)."""
    request = wire.HelloRequest(nonce=bytes(32), versions=[VERSION]).SerializeToString()
    caller, path = network.identity(PROVINCE), f"/{SERVICE}/Hello"

    spoken, _ = raw_call.call(city.address, caller, ssl.TLSVersion.TLSv1_2, path, request)

    assert spoken == "TLSv1.2"
    assert [str(exc) for _, exc in city.refusals] == ["TLS version: expected TLSv1.3, got TLSv1.2"]


def test_the_newest_tls_is_let_in_by_hand(network: Network, city: Listening) -> None:
    """The same call spoken by hand over TLS 1.3 is answered with the zone's name."""
    request = wire.HelloRequest(nonce=bytes(32), versions=[VERSION]).SerializeToString()
    caller, path = network.identity(PROVINCE), f"/{SERVICE}/Hello"

    spoken, answer = raw_call.call(city.address, caller, ssl.TLSVersion.TLSv1_3, path, request)

    assert (spoken, city.refusals) == ("TLSv1.3", [])
    assert b"140100/exchange" in answer


@pytest.mark.fault_row(41)
@pytest.mark.parametrize("spoken", ["TLSv1.2", "TLSv1.1", ""], ids=["1.2", "1.1", "unknown"])
def test_a_session_of_another_tls_names_nobody(network: Network, spoken: str) -> None:
    """The check of a caller names both versions when the session is not TLS 1.3."""
    check = CallerCheck(
        CITY,
        book=lambda: TrustBook.of(network.identity(CITY).anchors),
        topology=lambda: network.topology,
        now=utc_now,
    )
    session = {"x509_pem_cert": [network.identity(PROVINCE).pem("chain.pem")]}

    with pytest.raises(IdentityError, match=f"TLS version: expected TLSv1.3, got {spoken}"):
        check.identify(session | {"ssl_tls_version": [spoken.encode()]})


def test_a_certificate_out_of_force_is_refused_with_a_clock_reason(network: Network) -> None:
    """A caller whose certificate has ended by the server's clock is told so in words about clocks."""
    with (
        listening(network, CITY, now=lambda: utc_now() + timedelta(days=30)) as server,
        dialling(network, PROVINCE, CITY, server.address) as client,
        pytest.raises(IdentityError, match="clock: certificate in force"),
    ):
        client.headers([], 10, 0.0)

    assert [exc.code for _, exc in server.refusals] == ["identity"]


def test_the_holder_of_an_older_epoch_is_refused(network: Network) -> None:
    """Once a node was granted a new epoch, its old certificate is refused as stale."""
    granted = replace(network, topology=second_epoch(network, PROVINCE))

    with (
        listening(granted, CITY) as server,
        dialling(network, PROVINCE, CITY, server.address) as client,
        pytest.raises(IdentityError, match="expected epoch 2, got epoch 1"),
    ):
        client.headers([], 10, 0.0)

    assert [type(exc) for _, exc in server.refusals] == [StaleEpochError]


def test_a_sibling_on_the_dialled_address_is_not_believed(network: Network) -> None:
    """A client that dials a city and reaches its sibling's listener takes nothing from it."""
    offer = Window(batches(network.identity(CITY), 1))
    with (
        listening(network, SIBLING, offer) as sibling,
        dialling(network, PROVINCE, CITY, sibling.address) as client,
        pytest.raises(LinkError, match="UNAVAILABLE"),
    ):
        client.headers([], 10, 0.0)

    assert offer.asked == []


def test_a_server_that_is_no_longer_the_row_is_not_believed(network: Network) -> None:
    """A client takes nothing from a city whose certificate is of an older epoch than its row."""
    granted, offer = second_epoch(network, CITY), Window()
    with listening(network, CITY, offer) as server:
        standing = replace(network, topology=granted).standing(PROVINCE, utc_now)
        client = LineClient(standing, CITY, server.address, limits=LIMITS)
        with pytest.raises(StaleEpochError, match="expected epoch 2, got epoch 1"):
            client.headers([], 10, 0.0)

    assert offer.asked == []


@pytest.mark.parametrize(
    ("answering", "signed_for", "nonce", "family"),
    [
        (SIBLING, PROVINCE, b"n" * 32, IdentityError),
        (CITY, SIBLING, b"n" * 32, UnprovableError),
        (CITY, PROVINCE, b"o" * 32, UnprovableError),
    ],
    ids=["a sibling answers", "passed on from another caller", "an old answer"],
)
def test_only_who_was_dialled_passes_the_challenge(
    network: Network, answering: Endpoint, signed_for: Endpoint, nonce: bytes, family: type[JinbaoError]
) -> None:
    """A hello answered by another zone, for another caller or another nonce proves nothing."""
    identity = network.identity(answering)
    signature = identity.sign(challenge(nonce, CITY, signed_for))

    with pytest.raises(family):
        check_answer(
            nonce=b"n" * 32,
            suite_id=identity.suite,
            signature=signature,
            certificates=identity.certificates,
            expected=CITY,
            caller=PROVINCE,
            book=TrustBook.of(identity.anchors, identity.trust),
            topology=network.topology,
            now=utc_now(),
        )


def test_a_mark_that_is_none_is_refused_and_recorded(network: Network, city: Listening) -> None:
    """A follow call whose marks are not of the contract is refused as such, and recorded."""
    request = wire.FollowRequest(marks=[wire.Mark(head="not hex")]).SerializeToString()

    with channel(network, PROVINCE, CITY, city.address) as opened, pytest.raises(grpc.RpcError) as caught:
        list(opened.unary_stream(f"/{SERVICE}/Follow")(request, timeout=5))

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert [exc.code for _, exc in city.refusals] == ["unprovable"]


@pytest.fixture
def bulk(network: Network, tmp_path: Path) -> Iterator[tuple[Listening, SegmentRef]]:
    """A city that lets each peer fetch once at a time, and a segment larger than any window of the wire."""
    path = tmp_path / "large"
    ref = replace(random_file(path, 1), bytes=64 << 20)
    os.truncate(path, ref.bytes)
    offer = Window(batches(network.identity(CITY), 1), {ref.sha256: path})
    with listening(network, CITY, offer, limits=replace(LIMITS, fetches_per_peer_max=1)) as opened:
        yield opened, ref


def test_bulk_is_rationed_per_peer(network: Network, bulk: tuple[Listening, SegmentRef]) -> None:
    """A peer whose fetches are all in use gets no other, while its neighbour gets its own."""
    server, ref = bulk
    with (
        dialling(network, PROVINCE, CITY, server.address) as first,
        dialling(network, PROVINCE, CITY, server.address) as second,
        dialling(network, PRODUCTION, CITY, server.address) as other,
    ):
        running = first.fetch(STREAM, 1, ref, 0)
        next(running)

        with pytest.raises(LinkError, match="RESOURCE_EXHAUSTED: fetches: expected at most 1 at once"):
            next(second.fetch(STREAM, 1, ref, 0))
        assert next(other.fetch(STREAM, 1, ref, 63 << 20))
        assert next(running)


def test_a_fetch_that_is_dropped_frees_its_place(
    network: Network, bulk: tuple[Listening, SegmentRef]
) -> None:
    """A fetch whose caller went away counts no longer, and the peer may fetch again."""
    server, ref = bulk
    with dialling(network, PROVINCE, CITY, server.address) as client:
        running = client.fetch(STREAM, 1, ref, 0)
        next(running)
        client.close()
        deadline = time.monotonic() + 5
        while server.server._quota.running(PROVINCE, FETCH) and time.monotonic() < deadline:
            time.sleep(0.01)

        assert next(client.fetch(STREAM, 1, ref, 63 << 20))
