"""Minimal HTTP server for ``/metrics``, for processes without an API."""

from __future__ import annotations

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

Expose = Callable[[str], tuple[bytes, str]]
"""Maps an ``Accept`` header to the exposition and its content type: ``Aggregator.expose``."""


class Exporter:
    """Serves ``/metrics`` in a thread; a context manager.

    Args:
        expose: produces the page for each scrape.
        host: address to bind to.
        port: 0 picks a free one, which ``port`` then returns.
    """

    def __init__(self, expose: Expose, host: str = "127.0.0.1", port: int = 0) -> None:
        self._server = ThreadingHTTPServer((host, port), _handler(expose))
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), name="metrics-exporter", daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def __enter__(self) -> Exporter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(expose: Expose) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/metrics":
                self.send_error(404, "only /metrics exists here")
                return
            body, content_type = expose(self.headers.get("Accept", ""))
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Logs nothing: scrapes come every few seconds."""

    return Handler
