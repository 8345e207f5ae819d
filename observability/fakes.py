"""Fakes for tests: a workload that records every metric, and an in-memory Grafana server."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from threading import Thread
from typing import Any

from observability.catalog import CATALOG, Kind
from observability.metrics import Metrics
from observability.trace_id import trace_id_of

EXAMPLES = {"status": ("200", "503"), "expert": ("0", "1", "2"), "outcome": ("stop", "tool_calls")}
"""Values for some labels that the catalogue leaves open; other open labels get a generated value."""


def record_everything(metrics: Metrics) -> None:
    """Records every metric of the catalogue: increments counters, observes histograms, sets gauges to 0.5."""
    trace_id = trace_id_of("run_fake")
    for metric in CATALOG:
        axes = (label.values or EXAMPLES.get(label.name, (f"some_{label.name}",)) for label in metric.labels)
        for values in product(*axes):
            labels = dict(zip(metric.label_names, values, strict=True))
            if metric.kind is Kind.COUNTER:
                metrics.inc(metric, 1.0, exemplar=trace_id, **labels)
            elif metric.kind is Kind.GAUGE:
                metrics.set(metric, 0.5, **labels)
            else:
                metrics.observe(metric, metric.buckets[len(metric.buckets) // 2], exemplar=trace_id, **labels)


@dataclass
class FakeGrafana:
    """Implements the endpoints that ``grafana.push`` calls.

    Source: Grafana documentation, "Dashboard HTTP API" and "Folder HTTP API".
    """

    token: str = "glsa_test"
    folders: dict[str, dict[str, Any]] = field(default_factory=dict)
    dashboards: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __enter__(self) -> FakeGrafana:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _grafana_handler(self))
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if method == "GET" and path.startswith("/api/folders/"):
            folder = self.folders.get(path.removeprefix("/api/folders/"))
            return (200, folder) if folder else (404, {"message": "folder not found"})
        if (method, path) == ("POST", "/api/folders"):
            if body["uid"] in self.folders:
                return 409, {"message": "a folder with that uid already exists"}
            self.folders[body["uid"]] = {"uid": body["uid"], "title": body["title"], "id": len(self.folders) + 1}
            return 200, self.folders[body["uid"]]
        if (method, path) == ("POST", "/api/dashboards/db"):
            return self._store(body)
        return 404, {"message": f"no such endpoint: {method} {path}"}

    def _store(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        board = body["dashboard"]
        if body.get("folderUid") not in self.folders:
            return 400, {"message": "folder not found"}
        if board["uid"] in self.dashboards and not body.get("overwrite"):
            return 412, {"status": "version-mismatch"}
        self.dashboards[board["uid"]] = board
        return 200, {"status": "success", "uid": board["uid"], "url": f"/d/{board['uid']}/board", "version": 1}


def _grafana_handler(grafana: FakeGrafana) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._serve({})

        def do_POST(self) -> None:
            self._serve(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _serve(self, body: dict[str, Any]) -> None:
            if self.headers.get("Authorization") != f"Bearer {grafana.token}":
                status, answer = 401, {"message": "Invalid API key"}
            else:
                status, answer = grafana.answer(self.command, self.path, body)
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:
            """Logs nothing."""

    return Handler
