"""Defences taken away, one fault row at a time: a plugin for pytest that exists in tests only.

`pytest -p tests.defences` with `WITHOUT_DEFENCE=33` runs the tests marked with row 33,
and no others, while the defence of that row is switched off. They must fail; if they pass,
they saw nothing.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

import pytest

ROW = int(os.environ.get("WITHOUT_DEFENCE", "0"))
OFF: dict[int, Callable[[], None]] = {}
"""Row to what takes its defence away."""


def replace(path: str, substitute: object) -> None:
    """Put something in the place of `module:name` or `module:Class.name`, everywhere it is imported already."""
    module_name, _, name = path.partition(":")
    owner: Any = importlib.import_module(module_name)
    *classes, last = name.split(".")
    for inner in classes:
        owner = getattr(owner, inner)
    before = getattr(owner, last)
    setattr(owner, last, substitute)
    for module in [m for n, m in sys.modules.items() if n.startswith("jinbao")]:
        if getattr(module, last, None) is before:
            setattr(module, last, substitute)


def _nothing(*_: object, **__: object) -> None:
    """A check that checks nothing."""


def off(*rows: int) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Register what takes the defence of rows away."""

    def register(function: Callable[[], None]) -> Callable[[], None]:
        OFF.update(dict.fromkeys(rows, function))
        return function

    return register


@off(29)
def _no_look() -> None:
    replace("jinbao.link.diagnosis:why", lambda *_: "")


@off(32)
def _no_usage() -> None:
    replace("jinbao.trust.identity:check_usage", _nothing)


@off(33)
def _no_issuer() -> None:
    replace("jinbao.trust.identity:check_issuer", _nothing)


@off(34)
def _any_name() -> None:
    from cryptography import x509

    from jinbao.model.zone import Endpoint, Tier, Zone
    from jinbao.trust.identity import Identity

    def lax(certificate: x509.Certificate) -> Identity:
        """Believe the first name that looks like one, whatever stands around it."""
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uri = names.get_values_for_type(x509.UniformResourceIdentifier)[0]
        _, _, domain, tier, region, node, zone, _, epoch = uri.lower().rstrip(".").split("/")
        return Identity(domain, Tier(tier), region, Endpoint(node, Zone(zone)), int(epoch))

    replace("jinbao.trust.identity:parse_identity", lax)


@off(35)
def _no_dates() -> None:
    replace("jinbao.trust.chain:check_time", _nothing)


@off(36, 37)
def _no_lists() -> None:
    replace("jinbao.trust.book:TrustBook._check_revoked", _nothing)


@off(38)
def _no_way_between_roots() -> None:
    replace("jinbao.trust.book:_is_new_root", lambda *_: False)


@off(41)
def _any_tls() -> None:
    caller = importlib.import_module("jinbao.link.caller")
    identify = caller.CallerCheck.identify

    def blind(self: object, session: dict[str, object]) -> object:
        return identify(self, {k: v for k, v in session.items() if k != "ssl_tls_version"})

    caller.CallerCheck.identify = blind


@off(30)
def _order_by_clock() -> None:
    """Take a batch for old if it was made before the last one, whatever its number."""
    from jinbao.trust.verify import Verifier

    seen: dict[object, str] = {}
    verify = Verifier.verify

    def by_clock(self: Verifier, sealed: object, *rest: object) -> object:
        found = verify(self, sealed, *rest)  # type: ignore[arg-type]
        if found is None or found.header.made_at < seen.get((id(self), found.header.stream), ""):
            return None
        seen[id(self), found.header.stream] = found.header.made_at
        return found

    replace("jinbao.trust.verify:Verifier.verify", by_clock)


@off(31)
def _no_clock_watch() -> None:
    replace("jinbao.flow.holding:ClockWatch.see", _nothing)


@off(39)
def _never_due() -> None:
    from jinbao.authority.renewal import Renewal

    replace("jinbao.authority.renewal:standing", lambda *_, **__: Renewal.FRESH)


@off(40)
def _any_key() -> None:
    replace("jinbao.authority.enrolling:Enrolling._check_same", _nothing)


@off(42)
def _any_size() -> None:
    from dataclasses import fields

    from jinbao.link.limits import LinkLimits

    at = [f.name for f in fields(LinkLimits)].index("request_bytes_max")
    defaults = list(LinkLimits.__init__.__defaults__ or ())
    defaults[at] = 1 << 30
    LinkLimits.__init__.__defaults__ = tuple(defaults)


@off(43)
def _any_frame() -> None:
    replace("jinbao.trust.zstd:check_frame", _nothing)


@off(44)
def _no_inspection() -> None:
    replace("jinbao.trust.parquet:check_parquet", _nothing)
    replace("jinbao.journal.inspector:Inspector.objection", lambda *_: "")
    replace("jinbao.journal.decoding:examine", lambda *_: "")


@off(45)
def _any_signature() -> None:
    replace("jinbao.trust.suites:check_signature", _nothing)


@off(46)
def _any_order() -> None:
    replace("jinbao.trust.verify:check_follows", _nothing)


@off(47)
def _one_view() -> None:
    replace("jinbao.flow.witness:Witness._contradiction", _nothing)


@off(48)
def _short_is_fine() -> None:
    replace("jinbao.trust.verify:check_short", _nothing)


@off(49)
def _patience() -> None:
    from dataclasses import fields

    from jinbao.link.limits import LinkLimits

    names = [f.name for f in fields(LinkLimits)]
    defaults = list(LinkLimits.__init__.__defaults__ or ())
    for name in ("request_s", "handshake_s"):
        defaults[names.index(name)] = 600.0
    LinkLimits.__init__.__defaults__ = tuple(defaults)
    init = LinkLimits.__init__

    def patient(self: LinkLimits, **given: object) -> None:
        init(self, **{k: v for k, v in given.items() if k not in {"request_s", "handshake_s"}})

    LinkLimits.__init__ = patient  # type: ignore[method-assign]


@off(50)
def _any_text() -> None:
    replace("jinbao.model.quoting:quoted", lambda text, _most=0: text)
    replace("jinbao.trust.bounds:_matching", lambda _pattern, text, _meant: text)


@off(51)
def _nothing_masked() -> None:
    replace("jinbao.model.masking:mask_numbers", lambda text: text)
    replace("jinbao.model.masking:mask", lambda text: text)


@off(22)
def _from_the_start() -> None:
    """Fetch every segment from its first byte, whatever is there already."""
    from jinbao.journal.segments import SegmentShelf

    receive = SegmentShelf.receive

    def anew(self: SegmentShelf, ref: Any, chunks: Any) -> None:
        self.temporary(f"{ref.sha256}.part").unlink(missing_ok=True)
        receive(self, ref, chunks)

    replace("jinbao.journal.segments:SegmentShelf.receive", anew)


@off(26)
def _no_deadline() -> None:
    from jinbao.link.limits import LinkLimits

    init = LinkLimits.__init__

    def endless(self: LinkLimits, **given: object) -> None:
        init(self, **given | {"call_s": 600.0, "keepalive_s": 600.0})

    LinkLimits.__init__ = endless  # type: ignore[method-assign]


@off(27)
def _one_time_for_all() -> None:
    from jinbao.link.limits import LinkLimits

    replace("jinbao.link.limits:LinkLimits.chunk_s", property(LinkLimits.call_s.__get__))  # type: ignore[attr-defined]


@off(17)
def _never_slow() -> None:
    replace("jinbao.flow.disk:WriteWatch.see", lambda *_: False)


@off(28)
def _nobody_waits() -> None:
    """Sweep what no neighbour fetched, and foresee nothing."""
    replace("jinbao.journal.retention:_named", lambda _: {})
    replace("jinbao.flow.disk:DiskForecast.look", lambda *_: float("inf"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests of the row."""
    if not ROW:
        return
    chosen = [i for i in items if any(m.args == (ROW,) for m in i.iter_markers("fault_row"))]
    config.hook.pytest_deselected(items=[i for i in items if i not in chosen])
    items[:] = chosen


if ROW:  # at once: conftest modules are read before anything is configured
    OFF[ROW]()
