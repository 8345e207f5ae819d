"""Who receives the platform's webhooks: a server of its own, which checks signatures."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from flightloop.webhooks import WebhookEvent, verify

SECRET = "whsec_" + base64.b64encode(b"a secret of twenty-four!").decode()


class Receiver(ThreadingHTTPServer):
    """``told`` holds the events whose signature was right."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.told: list[WebhookEvent] = []

    @property
    def setting(self) -> str:
        """For ``FLIGHTLOOP_WEBHOOKS``."""
        url = f"http://127.0.0.1:{self.server_address[1]}/"
        return json.dumps([{"name": "acceptance", "url": url, "secret": SECRET}])

    def ends(self, run_id: str) -> list[str]:
        """How a run ended: its status, each time that it was told."""
        ended = [event.data for event in self.told if event.type == "run.ended"]
        return [data["status"] for data in ended if data["run_id"] == run_id]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.told.append(verify(dict(self.headers), body, SECRET))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Nothing on the terminal."""


@contextmanager
def receiving() -> Iterator[Receiver]:
    with Receiver() as receiver:
        Thread(target=receiver.serve_forever, daemon=True).start()
        try:
            yield receiver
        finally:
            receiver.shutdown()
