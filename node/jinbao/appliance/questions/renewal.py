"""Acts on a running zone's own certificates: renewed over the network, or by a request and an answer that are carried.

The zone does it itself, for it alone has the passphrase its keys lie under. What it then holds is in use before the
answer is given. Enrolment by a token, and the renewal of a stopped zone, are the command line's by files.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable

from pydantic import Field

from jinbao.appliance import enrolment
from jinbao.appliance.questions.registry import Asked, Body, Reasoned, question
from jinbao.authority import joining
from jinbao.authority.trust_files import TRUST_BYTES_MAX
from jinbao.model.audit import Role
from jinbao.model.errors import UsageError
from jinbao.model.zone import Zone
from jinbao.wire.gen.jinbao.wire.v1 import enrolment_pb2 as wire


class Address(Reasoned):
    """Where the authority answers, HOST:PORT, if not where the zone enrolled, and why it is renewed."""

    address: str = Field("", max_length=260)


class OneAnswer(Reasoned):
    """The authority's answer, its file's bytes in base64, and why it is installed."""

    content: str = Field(max_length=2 * TRUST_BYTES_MAX)


@question("trust.renew", kind="act", changes=True, role=Role.SECURITY, arguments=Address)
def renew(asked: Asked, arguments: Address) -> Body:
    """Renew this zone's certificates with new keys at its authority, and take them up."""
    zone = asked.zone
    if zone.me.zone is Zone.DECISION:
        raise UsageError(
            f"renewal of {zone.me}",
            expected="by a request that is carried: it opens no connection",
            got="over the network",
            next_step="jinbao enrol --renew --zone decision --request FILE",
        )
    directory = zone.settings.directory(zone.me.zone) / "identity"
    return _taken_up(
        asked, lambda: enrolment.renew(zone.me.zone, directory, zone.ports.now(), arguments.address)
    )


@question("trust.request", kind="act", changes=True, role=Role.SECURITY, arguments=Reasoned)
def request(asked: Asked, _arguments: Reasoned) -> Body:
    """A request for new certificates of this zone, to be carried to its authority; the new keys wait here."""
    zone = asked.zone
    directory = zone.settings.directory(zone.me.zone) / "identity"
    with zone.trust.renewal:
        made = joining.renew_request(zone.identity, directory)
    content = wire.EnrolmentFile(renew=made).SerializeToString()
    return {"zone": str(zone.me.zone), "content": b64encode(content).decode("ascii")}


@question("trust.install", kind="act", changes=True, role=Role.SECURITY, arguments=OneAnswer)
def install(asked: Asked, arguments: OneAnswer) -> Body:
    """Install the authority's answer to the request of this zone, once it is proved, and take it up."""
    zone = asked.zone
    try:
        content = b64decode(arguments.content, validate=True)
    except Base64Error as exc:
        raise UsageError("trust.install: content", expected="base64", got=str(exc)) from exc
    directories = {zone.me.zone: zone.settings.directory(zone.me.zone) / "identity"}
    answer = joining.response_of(content)
    return _taken_up(asked, lambda: joining.install(directories, answer, zone.ports.now()))


def _taken_up(asked: Asked, lay: Callable[[], object]) -> Body:
    """Lay another identity down and use it from now on; what the zone has then."""
    zone = asked.zone
    with zone.trust.renewal:
        lay()
        zone.trust.reload()
    return enrolment.facts(zone.me.zone, zone.identity)
