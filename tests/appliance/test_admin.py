"""What a zone answers on its own host: questions over its sockets, and its web port."""

from __future__ import annotations

import http.client
import io
import json
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.link.zones import SETTINGS, serving

from jinbao.appliance.admin_client import AskedError, _ask_socket, ask, is_running
from jinbao.appliance.admin_sockets import ADMIN, PATH_BYTES_MAX, READ
from jinbao.appliance.assembly import open_zone
from jinbao.appliance.metrics import METRICS
from jinbao.appliance.network import DEMO_NODES, make_network
from jinbao.appliance.serve import ZoneService
from jinbao.appliance.settings import Settings
from jinbao.appliance.web import REQUESTS_MAX, WebPort
from jinbao.model.errors import JinbaoError, LocalError, UsageError
from jinbao.model.zone import Zone

MINISTRY, PROVINCE = "100000", "140000"
EXPORTED = {"library": "pension_macro", "table": "active_person", "reason": "a test"}

QUESTIONS: dict[str, dict[str, Any]] = {
    "report.segments": {},
    "journal.list": {"limit": 4},
    "library.list": {},
    "report.line": {},
}
"""Questions whose answer does not depend on whether the zone runs."""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Settings]:
    """Ministry and one province, nothing running."""
    directory = tmp_path_factory.mktemp("admin")
    return make_network(directory, DEMO_NODES[:2], overrides=SETTINGS)[1]


def answers(settings: Settings) -> dict[str, Any]:
    """What a zone says to every question, and the bytes it exports."""
    found: dict[str, Any] = {
        name: ask(settings, Zone.EXCHANGE, name, given) for name, given in QUESTIONS.items()
    }
    file = io.BytesIO()
    found["library.export"] = ask(settings, Zone.EXCHANGE, "library.export", EXPORTED, attachment=file)
    return found | {"exported": file.getvalue()}


@pytest.fixture(scope="module")
def stopped(network: dict[str, Settings]) -> dict[str, Any]:
    """The province's answers before it was started."""
    ask(network[PROVINCE], Zone.EXCHANGE, "line.resume", {"peer": MINISTRY})
    return answers(network[PROVINCE])


@pytest.fixture(scope="module")
def served(
    network: dict[str, Settings], stopped: dict[str, Any]
) -> Iterator[tuple[ZoneService, dict[str, Any]]]:
    """The province's exchange zone, running, and its answers before any other zone could tell it something."""
    with serving(open_zone(network[PROVINCE], Zone.EXCHANGE)) as service:
        assert is_running(network[PROVINCE], Zone.EXCHANGE)
        yield service, answers(network[PROVINCE])


@pytest.fixture(scope="module")
def province(served: tuple[ZoneService, dict[str, Any]]) -> ZoneService:
    """The province's exchange zone, running."""
    return served[0]


def test_a_running_zone_answers_as_the_stopped_one_did(
    served: tuple[ZoneService, dict[str, Any]], stopped: dict[str, Any]
) -> None:
    """An answer over the socket is the answer of the stopped zone, attachments byte for byte."""
    _, running = served

    assert running == stopped
    kinds = [act["kind"] for act in running["journal.list"]["acts"]]
    assert kinds == ["created", "audited", "resumed", "audited"]
    assert running["exported"].startswith(b"PAR1")


def test_only_a_running_zone_says_it_runs(province: ZoneService, network: dict[str, Settings]) -> None:
    """Status tells a running zone from a stopped one, and each says why it is not ready."""
    running = ask(network[PROVINCE], Zone.EXCHANGE, "status")
    decision = ask(network[PROVINCE], Zone.DECISION, "status")

    assert (running["running"], decision["running"]) == (True, False)
    assert decision["reasons"] == ["the zone is stopped"]


def test_the_sockets_are_told_apart_by_permission(
    province: ZoneService, network: dict[str, Settings]
) -> None:
    """Only its own account may open admin.sock; a group may open read.sock, and nobody else anything."""
    run = network[PROVINCE].run_directory(Zone.EXCHANGE)

    modes = [stat.S_IMODE(path.stat().st_mode) for path in (run, run / ADMIN, run / READ)]

    assert modes == [0o750, 0o600, 0o660]


def test_an_act_over_the_reading_socket_is_refused(
    province: ZoneService, network: dict[str, Settings]
) -> None:
    """Over read.sock a question is answered and an act is refused, naming the socket it needs."""
    path = network[PROVINCE].run_directory(Zone.EXCHANGE) / READ
    before = _ask_socket(path, "journal.list", {}, None)

    with pytest.raises(AskedError, match=r"act line.pause: expected admin.sock, got read.sock") as caught:
        _ask_socket(path, "line.pause", {"peer": MINISTRY}, None)

    assert (caught.value.code, caught.value.exit_code) == ("role", 2)
    after = _ask_socket(path, "journal.list", {}, None)
    assert [act["kind"] for act in after["acts"][len(before["acts"]) :]] == ["audited"]


def test_a_reader_cannot_unmask(province: ZoneService, network: dict[str, Settings]) -> None:
    """Over read.sock a request to unmask is refused, with the account to use."""
    run = network[PROVINCE].run_directory(Zone.EXCHANGE)

    with pytest.raises(AskedError, match=r"unmask: expected admin\.sock, got read\.sock"):
        _ask_socket(run / READ, "library.show", EXPORTED | {"unmask": True}, None)


@pytest.mark.parametrize(
    ("question", "arguments", "message"),
    [
        ("statos", {}, "question statos: expected a known question, got statos; did you mean status?"),
        (
            "journal.list",
            {"limt": 5},
            "question journal.list: limt: expected a known argument, got limt; did you mean limit?",
        ),
        ("status", {"xyz": 1}, "question status: xyz: expected a known argument, got xyz; it takes none"),
        (
            "journal.list",
            {"limit": 0},
            "question journal.list: limit: expected Input should be greater than 0, got 0",
        ),
    ],
    ids=["question", "argument", "no arguments", "value"],
)
@pytest.mark.parametrize("zone", [Zone.EXCHANGE, Zone.DECISION], ids=["running", "stopped"])
def test_what_is_misspelt_is_named(
    province: ZoneService,
    network: dict[str, Settings],
    zone: Zone,
    question: str,
    arguments: dict[str, Any],
    message: str,
) -> None:
    """A question or argument nobody knows is refused with the nearest one, running or stopped alike."""
    with pytest.raises((UsageError, AskedError)) as caught:
        ask(network[PROVINCE], zone, question, arguments)

    assert str(caught.value) == message
    assert (caught.value.code, caught.value.exit_code) == ("usage", 2)


def test_a_socket_lies_as_deep_as_it_must(tmp_path: Path) -> None:
    """A zone whose sockets' path is longer than a socket's name holds is asked all the same."""
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    settings = make_network(deep, DEMO_NODES[:1], overrides=SETTINGS)[1][MINISTRY]
    path = settings.run_directory(Zone.EXCHANGE) / READ
    assert len(str(path)) > PATH_BYTES_MAX

    with serving(open_zone(settings, Zone.EXCHANGE)):
        found = ask(settings, Zone.EXCHANGE, "status")
        read = _ask_socket(path, "topology", {}, None)
        assert path.is_socket()

    assert (found["zone"], found["running"], read["version"]) == ("100000/exchange", True, 1)
    assert not path.exists()


def get(service: ZoneService, path: str, method: str = "GET") -> tuple[int, bytes]:
    """Status and body of one page."""
    address = service.zone.settings.zones[service.zone.me.zone].http
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_metrics_are_what_the_table_says(province: ZoneService) -> None:
    """The page of metrics parses, and holds every gauge and counter of the table and nothing else of ours."""
    status, body = get(province, "/metrics")

    families = {family.name: family for family in text_string_to_metric_families(body.decode())}
    assert status == 200
    assert set(families) == {metric.name.removesuffix("_total") for metric in METRICS}
    [acts] = families["jinbao_journal_acts"].samples
    assert acts.value == len(province.zone.ledger.acts())
    offsets = families["jinbao_peer_clock_offset_seconds"].samples
    assert [sample.labels for sample in offsets] == [{"peer": "100000/exchange"}]


def test_a_zone_that_runs_is_healthy(province: ZoneService) -> None:
    """The page of health says yes as long as the process answers, whatever its neighbours do."""
    assert get(province, "/-/healthy") == (200, b'{"healthy": true}\n')


@pytest.mark.parametrize("path", ["/", "/metricsx", "/-/readyy", "/runbooks"])
def test_another_page_names_those_there_are(province: ZoneService, path: str) -> None:
    """A page there is not is answered with the pages there are."""
    assert get(province, path) == (404, b"expected /metrics, /-/healthy, /-/ready or /runbooks/\n")


def test_head_says_the_same_without_a_body(province: ZoneService) -> None:
    """HEAD answers with GET's status and no body."""
    assert get(province, "/-/healthy?deep=1", "HEAD") == (200, b"")


def test_a_zone_is_ready_once_its_neighbours_answer(
    province: ZoneService, network: dict[str, Settings]
) -> None:
    """While its parent is unreachable a zone is not ready and says why; once the parent answers it is."""
    reasons = await_ready(province, 503)
    with ExitStack() as stack:
        stack.enter_context(serving(open_zone(network[MINISTRY], Zone.EXCHANGE)))

        assert await_ready(province, 200) == []

    [reason] = reasons
    assert reason.startswith("follow 100000/exchange: hello 100000/exchange at 127.0.0.1:")
    assert "UNAVAILABLE" in reason


def await_ready(service: ZoneService, wanted: int) -> list[str]:
    """The reasons once the page of readiness has the wanted status; within ten seconds."""
    deadline = time.monotonic() + 10
    while True:
        status, body = get(service, "/-/ready")
        found = json.loads(body)
        assert found["ready"] is (status == 200)
        if status == wanted:
            return list(found["reasons"])
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def test_the_web_port_takes_no_more_than_it_can(tmp_path: Path) -> None:
    """With as many requests as it may have in hand, the web port turns the next one away at once."""
    going, inside = threading.Event(), threading.Semaphore(0)

    def slow() -> bytes:
        inside.release()
        going.wait(5)
        return b"done"

    web = WebPort("127.0.0.1:0", metrics=slow, reasons=list)
    threads = [threading.Thread(target=web.answer, args=("/metrics",)) for _ in range(REQUESTS_MAX)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert inside.acquire(timeout=5)

    turned_away = web.answer("/metrics")
    going.set()
    for thread in threads:
        thread.join()

    assert turned_away == (503, "text/plain", b"busy\n")
    assert web.answer("/metrics")[0] == 200


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "127.0.0.1:many"], ids=["taken", "no port"])
def test_a_web_address_that_cannot_be_had_is_named(address: str) -> None:
    """A web port that cannot listen says at which address, and the zone does not start."""
    first = WebPort("127.0.0.1:0", metrics=bytes, reasons=list)
    first.start()
    wanted = address.format(port=first.port)

    try:
        with pytest.raises(LocalError, match=f"web port {wanted}: expected a free address"):
            WebPort(wanted, metrics=bytes, reasons=list).start()
    finally:
        first.stop()


def test_a_zone_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Asking a zone whose directory holds none says so, and makes no directory."""
    settings = Settings(
        node=MINISTRY,
        tier="ministry",
        data_directory=tmp_path / "none",
        topology_file=tmp_path / "topology",
        zones={Zone.EXCHANGE: {}},
    )

    with pytest.raises(JinbaoError, match=r"zone 100000/exchange: expected a zone at .*, got none"):
        ask(settings, Zone.EXCHANGE, "status")

    assert not (tmp_path / "none").exists()
