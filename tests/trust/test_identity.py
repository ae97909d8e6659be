"""Whom a certificate speaks for: exactly one name of the grammar, exactly the topology's row, a chain in force."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.trust.certificates import HOST, URI, Holder, certify, root
from tests.trust.example import CITY, NOW, TOPOLOGY, Network, with_epoch

from jinbao.model.errors import IdentityError, StaleEpochError
from jinbao.model.zone import Tier
from jinbao.trust.book import TrustBook
from jinbao.trust.identity import Identity, Use, check_row, dns_name, parse_identity

ROOT = root()
CITY_IDENTITY = Identity("jinbao.test", Tier.CITY, "140100", CITY, 1)
DAY = timedelta(days=1)


def check(holder: Holder, *, anchor: Holder = ROOT) -> None:
    """All three questions, in the order a receiver asks them."""
    TrustBook.of([anchor.certificate]).prove(holder.certificate, holder.rest, NOW, Use.LINE)
    check_row(parse_identity(holder.certificate), TOPOLOGY)


def test_a_name_says_who_holds_it() -> None:
    """The example's certificate passes every check and is read as the identity it was made from."""
    holder = certify(ROOT)

    check(holder)

    assert parse_identity(holder.certificate) == CITY_IDENTITY
    assert (CITY_IDENTITY.uri, dns_name(CITY)) == (URI, HOST)


def test_every_zone_of_a_network_is_known(network: Network) -> None:
    """Each zone's issued certificate passes every check and names that zone."""
    for endpoint in TOPOLOGY.endpoints():
        leaf, *rest = network.identity(endpoint).chain

        network.book.prove(leaf, rest, NOW, Use.LINE)
        check_row(parse_identity(leaf), TOPOLOGY)

        assert parse_identity(leaf).endpoint == endpoint


@pytest.mark.fault_row(34)
@pytest.mark.parametrize(
    ("uris", "hosts", "got"),
    [
        ((), (), "got none"),
        ((), (HOST,), "got 0 URI, 1 DNS"),
        ((URI, URI), (HOST,), "got 2 URI, 1 DNS"),
        ((URI, URI.replace("140100", "140200")), (HOST,), "got 2 URI, 1 DNS"),
        ((URI,), (), "got 1 URI, 0 DNS"),
        ((URI,), (HOST, HOST), "got 1 URI, 2 DNS"),
        ((URI,), (HOST.replace("140100", "140200"),), "expected production.140100"),
        ((URI,), (HOST.upper(),), "expected production.140100"),
        ((URI,), (HOST + ".",), "expected production.140100"),
        ((URI,), ("*.140100.jinbao.internal",), "expected production.140100"),
    ],
    ids=[
        "no names",
        "no URI",
        "same twice",
        "two URIs",
        "no host",
        "two hosts",
        "other",
        "upper",
        "dot",
        "star",
    ],
)
def test_there_is_one_uri_and_its_host(uris: tuple[str, ...], hosts: tuple[str, ...], got: str) -> None:
    """A certificate with more or fewer names than one URI and its own DNS name is refused."""
    holder = certify(ROOT, uris=uris, hosts=hosts)

    with pytest.raises(IdentityError, match=got):
        check(holder)


@pytest.mark.fault_row(34)
@pytest.mark.parametrize(
    "uri",
    [
        URI.upper(),
        URI.replace("jinbao", "Jinbao"),
        URI.replace("city", "City"),
        URI.replace("spiffe", "https"),
        URI + "/",
        URI + ".",
        URI + "%0A",
        URI + "?x",
        URI.replace("/e/1", ""),
        URI.replace("/e/1", "/e/0"),
        URI.replace("/e/1", "/e/01"),
        URI.replace("/e/1", "/e/-1"),
        URI.replace("/e/1", "/e/1234567890"),
        URI.replace("/140100/140100/", "/140100/../140100/"),
        URI.replace("/140100/140100/", "/140100//140100/"),
        URI.replace("production", ".."),
        URI.replace("production", "attic"),
        URI.replace("city", "county"),
        URI.replace("140100", "14010"),
        URI.replace("140100/production", "140100-standby/production"),
        URI.replace("jinbao.test", ""),
        URI.replace("jinbao.test", "jinbao.test:443"),
        URI.replace("jinbao.test", "a@jinbao.test"),
    ],
)
def test_a_uri_outside_the_grammar_is_refused(uri: str) -> None:
    """Any other spelling of a name is no name."""
    with pytest.raises(IdentityError, match="certificate URI: expected spiffe://"):
        check(certify(ROOT, uris=(uri,)))


@pytest.mark.parametrize(
    ("uri", "host"),
    [
        (URI.replace("jinbao.test", "jinbao.demo"), HOST),
        (URI.replace("jinbao.test", "jinbao.test."), HOST),
        (URI.replace("jinbao.test", "jinbao..test"), HOST),
        (URI.replace("/city/", "/province/"), HOST),
        (URI.replace("/140100/140100/", "/140200/140100/"), HOST),
        (URI.replace("/140100/140100/", "/140100/140900/"), HOST.replace("140100", "140900")),
        (
            URI.replace("city/140100/140100", "province/140000/140000"),
            HOST.replace("140100", "140000"),
        ),
        (URI.replace("/e/1", "/e/2"), HOST),
    ],
    ids=["domain", "domain with dot", "domain with two", "tier", "region", "node", "zone", "later epoch"],
)
def test_a_name_that_is_not_its_row_is_refused(uri: str, host: str) -> None:
    """A name of the grammar, well certified, is refused unless the topology has exactly that row."""
    with pytest.raises(IdentityError, match="caller "):
        check(certify(ROOT, uris=(uri,), hosts=(host,)))


def test_an_older_epoch_is_stale() -> None:
    """A certificate of an epoch before the row's is refused as stale, one of the row's is not."""
    topology = with_epoch("140100", 3)

    check_row(replace(CITY_IDENTITY, epoch=3), topology)

    with pytest.raises(StaleEpochError, match="expected epoch 3, got epoch 2"):
        check_row(replace(CITY_IDENTITY, epoch=2), topology)


@pytest.mark.parametrize(
    ("first", "last"),
    [(-10 * DAY, -DAY), (DAY, 10 * DAY), (timedelta(seconds=1), DAY), (-DAY, timedelta(seconds=-1))],
    ids=["expired", "not yet", "a second early", "a second late"],
)
def test_a_certificate_out_of_force_is_refused(first: timedelta, last: timedelta) -> None:
    """A certificate before its first or after its last second is refused with the clock as the reason."""
    holder = certify(ROOT, first=NOW + first, last=NOW + last)

    with pytest.raises(IdentityError, match="clock: certificate in force"):
        check(holder)


def test_a_certificate_is_in_force_at_its_ends() -> None:
    """The first and the last second of a certificate belong to it."""
    check(certify(ROOT, first=NOW, last=NOW + DAY))
    check(certify(ROOT, first=NOW - DAY, last=NOW))


def test_an_unknown_root_is_refused() -> None:
    """A chain that ends at an authority of the same name with another key is refused."""
    with pytest.raises(IdentityError, match="expected an issuer this zone trusts, got CN=root"):
        check(certify(root()))


def test_nobody_certifies_itself() -> None:
    """A certificate signed by its own key leads to nobody this zone trusts."""
    with pytest.raises(IdentityError, match="expected an issuer this zone trusts"):
        check(certify())


def test_an_authority_is_no_zone() -> None:
    """An authority's certificate with a zone's names is refused as a leaf."""
    with pytest.raises(IdentityError, match="expected a zone's, got an authority's"):
        check(certify(ROOT, authority=True))


@pytest.mark.parametrize(
    "usages",
    [(), (ExtendedKeyUsageOID.CLIENT_AUTH,), (ExtendedKeyUsageOID.SERVER_AUTH,)],
    ids=["none", "client only", "server only"],
)
def test_a_zone_is_both_sides_of_a_line(usages: tuple[ExtendedKeyUsageOID, ...]) -> None:
    """A certificate not meant for client and server authentication both is refused."""
    with pytest.raises(IdentityError, match="certificate usage"):
        check(certify(ROOT, usages=usages))  # type: ignore[arg-type]  # members of the class are identifiers


def test_an_intermediate_authority_is_followed() -> None:
    """A leaf under an authority under the root is accepted with the authority in its chain, refused without."""
    middle = certify(ROOT, subject="middle", uris=(), hosts=(), usages=(), authority=True)
    leaf = certify(middle)

    check(leaf)

    with pytest.raises(IdentityError, match="expected an issuer this zone trusts, got CN=middle"):
        check(replace(leaf, rest=()))


def test_a_zone_certifies_nobody() -> None:
    """A leaf signed by another zone's certificate is refused, though that one is in order."""
    with pytest.raises(IdentityError, match="expected an issuer this zone trusts"):
        check(certify(certify(ROOT)))


def test_an_intermediate_authority_out_of_force_is_refused() -> None:
    """A chain is refused when the authority in its middle has expired."""
    middle = certify(
        ROOT, subject="m", uris=(), hosts=(), usages=(), authority=True, first=NOW - 9 * DAY, last=NOW - DAY
    )

    with pytest.raises(IdentityError, match="clock: certificate in force"):
        check(certify(middle))
