"""A real Prometheus, a real Alertmanager and a webhook, as a bureau would set them up from the files the product writes."""

from __future__ import annotations

import json
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from jinbao.appliance import monitoring
from jinbao.appliance.loopback import free_port
from jinbao.appliance.settings import Settings


class Webhook:
    """Keeps what an Alertmanager posts, in order, with the moment it came."""

    def __init__(self) -> None:
        self.posts: list[tuple[float, dict[str, Any]]] = []
        keep = self.posts

        class _Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                keep.append((time.monotonic(), json.loads(body)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/alerts"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def of(self, status: str) -> list[dict[str, Any]]:
        """The posts of one status, `firing` or `resolved`."""
        return [post for _, post in list(self.posts) if post["status"] == status]

    def close(self) -> None:
        """End."""
        self._server.shutdown()
        self._server.server_close()


class Watcher:
    """One Prometheus over some nodes, with its own Alertmanager if it is given a webhook."""

    def __init__(
        self, directory: Path, nodes: Mapping[str, Settings], webhook: str = "", every: str = "10s"
    ) -> None:
        """`every` is how often it scrapes and judges; as it ships unless a test need not wait so long."""
        self.directory = directory
        prometheus, alertmanager = (f"127.0.0.1:{free_port()}" for _ in range(2))
        self.url, self.alertmanager = f"http://{prometheus}", f"http://{alertmanager}"
        monitoring.write(
            directory, dict(monitoring.shipped(webhook or monitoring.WEBHOOK, alertmanager)), force=True
        )
        config = directory / "prometheus.yml"
        config.write_text(
            config.read_text("utf-8").replace("_interval: 10s", f"_interval: {every}"), encoding="utf-8"
        )
        for node, settings in nodes.items():
            targets = json.dumps(monitoring.targets(settings))
            (directory / "targets" / f"{node}.json").write_text(targets, encoding="utf-8")
        self._processes = [
            self._start(
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={directory}/data",
                f"--web.listen-address={prometheus}",
            )
        ]
        if webhook:
            self._processes.append(
                self._start(
                    "prometheus-alertmanager",
                    f"--config.file={directory}/alertmanager/alertmanager.yml",
                    f"--storage.path={directory}/alerts",
                    f"--web.listen-address={alertmanager}",
                    "--cluster.listen-address=",
                )
            )

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        with (self.directory / f"{command[0]}.log").open("ab") as log:
            return subprocess.Popen([*command, "--log.level=warn"], stdout=log, stderr=log)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The answer to an expression now: series with their values."""
        found = _get(f"{self.url}/api/v1/query", query=expression)["data"]
        return found["result"] if found["resultType"] == "vector" else [found]

    def firing(self, severity: str = "critical") -> list[dict[str, Any]]:
        """Alerts of a severity that fire now."""
        alerts = _get(f"{self.url}/api/v1/alerts")["data"]["alerts"]
        return [a for a in alerts if a["state"] == "firing" and a["labels"]["severity"] == severity]

    def close(self) -> None:
        """End."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(20)


def _get(url: str, **query: str) -> Any:
    with urllib.request.urlopen(f"{url}?{urllib.parse.urlencode(query)}", timeout=10) as answer:
        return json.loads(answer.read())


def within(seconds: float, found: Callable[[], Any], thing: str) -> Any:
    """Wait until something is there, and give it back; fails with what was awaited."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            value = found()
        except OSError:  # not up yet
            value = None
        if value:
            return value
        time.sleep(0.3)
    raise AssertionError(f"expected {thing} within {seconds:g} s, got none")


def run(command: Sequence[str], **more: Any) -> str:
    """What a tool says on stdout and stderr; fails with it unless it ends well."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **more)
    assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr
