"""A proxy before the API that fails on demand, and keeps the requests."""

from __future__ import annotations

import http.client
import json
import socket
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import unquote, urlsplit

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date"}


@dataclass
class Fault:
    """What happens to a request instead of its answer. ``status`` None: the connection is dropped.

    With ``after_handling`` the API acts on the request first, as when an answer is lost.
    """

    status: int | None = None
    code: str = "overloaded"
    retry_after: str | None = None
    after_handling: bool = False


@dataclass(frozen=True)
class Request:
    method: str
    path: list[str]
    """Segments after the first slash, unquoted."""
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes


@dataclass
class FaultyProxy:
    """Runs on a free port of 127.0.0.1 between ``with`` and its end."""

    upstream: str
    """The API's base URL."""
    faults: deque[Fault] = field(default_factory=deque)
    """Consumed one a request, oldest first."""
    events_per_connection: int | None = None
    """A stream's connection is dropped after that many events."""
    cuts: deque[int] = field(default_factory=deque)
    """Bytes after which a stream's connection is dropped, consumed one a connection, oldest first."""
    requests: list[Request] = field(default_factory=list)
    """Everything that was asked, in order."""

    def __enter__(self) -> Self:
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": self}))
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    proxy: FaultyProxy
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = [unquote(part) for part in urlsplit(self.path).path.split("/")[1:]]
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.proxy.requests.append(Request(self.command, path, headers, body))
        fault = self.proxy.faults.popleft() if self.proxy.faults else None
        if fault is not None and not fault.after_handling:
            self._fail(fault)
            return
        with closing(http.client.HTTPConnection(urlsplit(self.proxy.upstream).netloc)) as upstream:
            upstream.request(self.command, self.path, body or None, headers)
            with upstream.getresponse() as answer:
                if fault is not None:
                    answer.read()
                    self._fail(fault)
                elif answer.getheader("content-type", "").startswith("text/event-stream"):
                    self._stream(answer)
                else:
                    told = {name: value for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP}
                    self._send(answer.status, told, answer.read())

    do_POST = do_DELETE = do_GET

    def _fail(self, fault: Fault) -> None:
        if fault.status is None:
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        headers = {"content-type": "application/json", "x-request-id": "req_fault"}
        if fault.retry_after:
            headers["retry-after"] = fault.retry_after
        body = {"error": {"message": "a fault", "type": "server_error", "param": None, "code": fault.code}}
        self._send(fault.status, headers, json.dumps(body).encode())

    def _send(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in {**headers, "content-length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _stream(self, answer: http.client.HTTPResponse) -> None:
        self.send_response_only(answer.status)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.send_header("transfer-encoding", "chunked")  # a client can tell an end from a broken connection
        self.end_headers()
        self.close_connection = True
        left = self.proxy.cuts.popleft() if self.proxy.cuts else sys.maxsize
        for count, event in enumerate(_events(answer), start=1):
            piece = event[:left]
            left -= len(piece)
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.flush()
            if not left or count == self.proxy.events_per_connection:
                return
        self.wfile.write(b"0\r\n\r\n")


def _events(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """Each with the empty line that ends it."""
    event = b""
    while line := answer.readline():
        event += line
        if line in (b"\n", b"\r\n"):
            yield event
            event = b""
