"""``FakeServer``: flightloop's HTTP contract over a ``World``, for tests of clients, with faults on demand."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import BaseModel, ValidationError

from flightloop.errors import FlightloopError, Forbidden, NotFound, Unauthorized, invalid_request
from flightloop.keys import Caller, Role
from flightloop.runs import Run
from flightloop.testing.routes import Answer, Request, Streamed, route
from flightloop.testing.world import World


@dataclass
class Fault:
    """What happens to a request instead of its answer. ``status`` None: the connection is dropped.

    With ``after_handling`` the server acts on the request first, as when an answer is lost.
    """

    status: int | None = None
    code: str = "overloaded"
    retry_after: str | None = None
    after_handling: bool = False


@dataclass(frozen=True)
class Holder:
    """Whose key it is, and the platform that it sees."""

    caller: Caller
    world: World


@dataclass
class FakeServer:
    """A real HTTP server on a free port of 127.0.0.1, running between ``with`` and its end.

    ``on_run`` is called in a thread of its own for each created or resumed run and appends its events.
    """

    world: World = field(default_factory=World)
    api_key: str = "test-key"
    """Of an admin of the tenant ``default``, who sees ``world``."""
    others: dict[str, Holder] = field(default_factory=dict)
    """Further keys that are accepted."""
    port: int = 0
    on_run: Callable[[World, Run], None] | None = None
    faults: deque[Fault] = field(default_factory=deque)
    """Consumed one a request, oldest first."""
    events_per_connection: int | None = None
    """A stream's connection is dropped after that many events."""
    cuts: deque[int] = field(default_factory=deque)
    """Bytes after which a stream's connection is dropped, consumed one a connection, oldest first."""
    connections: set[socket.socket] = field(default_factory=set)
    """Those that are open; they are cut when the server ends, as when a process dies."""
    requests: list[Request] = field(default_factory=list)
    """Everything that was asked, in order."""

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"fake": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        self._http.daemon_threads = True
        self.port = self._http.server_address[1]
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def holder(self, authorization: str | None) -> Holder:
        """Raises Unauthorized."""
        scheme, _, key = (authorization or "").partition(" ")
        owner = Caller(key_id="own", name="key:default", role=Role.ADMIN, tenant_id="default")
        holders = self.others | {self.api_key: Holder(owner, self.world)}
        if scheme != "Bearer" or key not in holders:
            raise Unauthorized("the API key is missing or wrong")
        return holders[key]

    def work_on(self, run: Run, world: World) -> None:
        if self.on_run:
            threading.Thread(target=self.on_run, args=(world, run), daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    fake: FakeServer
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.fake.connections.add(self.connection)

    def finish(self) -> None:
        self.fake.connections.discard(self.connection)
        with suppress(OSError):
            super().finish()

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: a test reads ``FakeServer.requests``."""

    def _serve(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(
            self.command, [unquote(part) for part in url.path.split("/")[1:]], dict(parse_qsl(url.query)), headers, body
        )
        self.fake.requests.append(request)
        fault = self.fake.faults.popleft() if self.fake.faults else None
        if fault and not fault.after_handling:
            self._fail(fault)
            return
        answer = self._answer(request)
        if fault:
            self._fail(fault)
        elif isinstance(answer, Streamed):
            self._stream(answer)
        else:
            self._send(answer)

    def _answer(self, request: Request) -> Answer | Streamed:
        try:
            holder = self.fake.holder(request.headers.get("authorization"))
            answer = _routed(holder, request)
        except ValidationError as error:
            return _failed(invalid_request(error.errors()))
        except FlightloopError as error:
            return _failed(error)
        except LookupError:
            return _failed(NotFound(f"no such path: {self.path}"))
        if answer.starts is not None:
            self.fake.work_on(answer.starts, holder.world)
        return answer

    def _fail(self, fault: Fault) -> None:
        if fault.status is None:
            self.close_connection = True
            return
        headers = {"retry-after": fault.retry_after} if fault.retry_after else {}
        body = {"error": {"message": "a fault", "type": "server_error", "param": None, "code": fault.code}}
        self._send(Answer(body, fault.status, headers))

    def _send(self, answer: Answer) -> None:
        content = b"" if answer.body is None else _json(answer.body)
        self.send_response(answer.status)
        for name, value in {"x-request-id": "req_fake", "content-type": "application/json", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _stream(self, answer: Streamed) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.send_header("transfer-encoding", "chunked")  # a client can tell an end from a broken connection
        self.end_headers()
        self.close_connection = True
        left = self.fake.cuts.popleft() if self.fake.cuts else sys.maxsize
        for count, message in enumerate(answer.messages, start=1):
            piece = message.encode()[:left]
            left -= len(piece)
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.flush()
            if not left or count == self.fake.events_per_connection:
                return
        self.wfile.write(b"0\r\n\r\n")


def _routed(holder: Holder, request: Request) -> Answer | Streamed:
    if request.path == ["v1", "whoami"]:
        return Answer(holder.caller)
    if request.method != "GET" and not holder.caller.role.allows(Role.OPERATOR):
        raise Forbidden(f"this needs the role operator; the key {holder.caller.name} has {holder.caller.role}")
    return route(holder.world, request)


def _json(body: Any) -> bytes:
    return body.model_dump_json(by_alias=True).encode() if isinstance(body, BaseModel) else json.dumps(body).encode()


def _failed(error: FlightloopError) -> Answer:
    return Answer(error.body(), error.status)
