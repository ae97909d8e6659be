"""The zone's web port: `/metrics`, `/-/healthy`, `/-/ready`, `/runbooks/`. Loopback by default, reads only.

Every request is bounded in time, size and number, and answers nothing about persons. Does not
serve the console.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from jinbao.appliance.runbooks import Runbooks
from jinbao.model.errors import LocalError

REQUESTS_MAX = 8  # a scraper or two, and a load balancer
REQUEST_S = 10.0

RUNBOOKS = "/runbooks"

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class WebPort:
    """One listener; `reasons` says why the zone is not ready, nothing when it is."""

    def __init__(
        self, address: str, *, metrics: Callable[[], bytes], reasons: Callable[[], Sequence[str]]
    ) -> None:
        self._address = address
        self._metrics, self._reasons = metrics, reasons
        self._runbooks = Runbooks()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self._free = threading.BoundedSemaphore(REQUESTS_MAX)
        self.port = 0

    def start(self) -> None:
        """Bind and serve; raises LocalError when the address is not to be had."""
        host, _, port = self._address.rpartition(":")
        handler = type("Handler", (_Handler,), {"web": self})
        try:
            self._server = _Server((host.strip("[]"), int(port)), handler)
        except (OSError, ValueError) as exc:
            raise LocalError(
                f"web port {self._address}",
                expected="a free address",
                got=str(exc),
                next_step="stop what listens there, or change zones.<zone>.http",
            ) from exc
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="web-port", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End and free the address."""
        if self._server is not None and self._thread is not None:
            with suppress(OSError):
                self._server.socket.shutdown(
                    socket.SHUT_RDWR
                )  # wakes the thread, which would look up in half a second
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def answer(self, target: str, headers: Mapping[str, str] | None = None) -> tuple[int, str, bytes]:
        """Status, content type and body of a path and query, for a caller with these headers, by lower-case name."""
        if not self._free.acquire(blocking=False):
            return 503, "text/plain", b"busy\n"
        try:
            return self._page(*target.partition("?")[::2], headers or {})
        finally:
            self._free.release()

    def _page(self, path: str, query: str, headers: Mapping[str, str]) -> tuple[int, str, bytes]:
        if path == "/metrics":
            return 200, METRICS_TYPE, self._metrics()
        if path == "/-/healthy":
            return 200, "application/json", b'{"healthy": true}\n'
        if path == "/-/ready":
            reasons = list(self._reasons())
            body = json.dumps({"ready": not reasons, "reasons": reasons}, ensure_ascii=False)
            return (503 if reasons else 200), "application/json", body.encode() + b"\n"
        if path.startswith(f"{RUNBOOKS}/"):
            return self._runbooks.page(path.removeprefix(f"{RUNBOOKS}/"), query, headers)
        return 404, "text/plain", b"expected /metrics, /-/healthy, /-/ready or /runbooks/\n"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = REQUESTS_MAX


class _Handler(BaseHTTPRequestHandler):
    web: WebPort
    timeout = REQUEST_S  # a caller that sends nothing holds a thread no longer
    server_version = "jinbao"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer one page."""
        status, kind, body = self.web.answer(
            self.path, {name.lower(): value for name, value in self.headers.items()}
        )
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815  # the base class's word

    def log_message(self, *_args: Any) -> None:
        """Say nothing: a scrape is no event."""
