"""Adds limits to uvicorn's HTTP/1.1 protocol: on a request head's size, on the time to receive it, and on connections.

They apply before the caller is authenticated. A head's size is counted while it arrives. Responses have no time limit.

A client may offer another protocol (``Upgrade``), as Java's does with every request. The offer is declined, and the
request is read like any other (RFC 9110, 7.8). The parser would read the body of such a request as the next request,
which a proxy in front of the server would not notice, so the body goes to a parser that knows of no offer.
"""

from __future__ import annotations

import json
from asyncio import TimerHandle, Transport
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from agent.serve.open_connections import Connections
from flightloop.errors import FlightloopError, InvalidRequest

LINGER_S = 1.0
"""Seconds between a refusal and closing the connection; closing at once would discard the response while the client
still sends."""
PIPELINED = 8
"""Requests that may be queued behind the one being answered."""


class HeadTooLarge(InvalidRequest):
    code = "head_too_large"
    status = 431


class RequestTimeout(InvalidRequest):
    code = "request_timeout"
    status = 408


@dataclass(frozen=True)
class HttpLimits:
    """Limits on requests."""

    head_bytes: int = 64 * 1024
    """Maximum bytes of the request line and headers."""
    head_fields: int = 100
    head_s: float = 10.0
    """Maximum seconds to receive the head."""
    body_stall_s: float = 30.0
    """Maximum seconds between two pieces of a body."""
    body_rate: int = 16 * 1024
    """Minimum average rate of a body in bytes per second, after the first ``body_stall_s``."""


class BoundedHttp(HttpToolsProtocol):
    """A connection with limits. Time limits apply while a request is being received."""

    def __init__(self, connections: Connections, limits: HttpLimits, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._connections, self._limits = connections, limits
        self._reading = True  # receiving a request, or waiting for one
        self._fresh = 0  # bytes received since the last complete head or piece of a body
        self._head, self._fields = 0, 0
        self._framing: list[bytes] = []  # headers that say where the body ends
        self._known_head = False  # the parser reads a head again whose request has begun
        self._body, self._body_began = 0, 0.0
        self._deadline: float | None = None
        self._timer: TimerHandle | None = None
        self._problem: FlightloopError | None = None
        self._refused = False

    # -- the connection ---------------------------------------------------------------------------

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._deadline = self.loop.time() + self._limits.head_s
        self._watch()
        self._connections.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline = None
        self._watch()
        self._connections.closed(self)
        super().connection_lost(exc)

    def drop(self) -> None:
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        self._fresh += len(data)
        if self._refused:
            if self._fresh > 4 * self._limits.head_bytes:
                self.transport.abort()
            return
        self._parse(data)
        if self._refused:
            return
        if self._fresh > self._limits.head_bytes:
            self._refuse(self._too_large())
        elif self._reading and self._deadline is None:
            self._deadline = self.loop.time() + self._limits.head_s
        self._watch()

    def _parse(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._read_on(data[offer.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("")

    def _read_on(self, rest: bytes) -> None:
        """Reads the body of a request with an offer to upgrade, and what follows it: ``rest``, and all further data."""
        close = b"" if self.parser.should_keep_alive() else b"connection: close\r\n"
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self._known_head = True
        self.parser.feed_data(b"POST / HTTP/1.1\r\n" + b"".join(self._framing) + close + b"\r\n")
        self._known_head = False
        if rest:
            self._parse(rest)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._connections.waits(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self._reading:
            self._connections.answered(self)

    # -- a request --------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._known_head:
            return
        super().on_message_begin()
        self._framing.clear()
        self._reading = True
        self._head, self._fields = 0, 0
        self._deadline = self.loop.time() + self._limits.head_s

    def on_url(self, url: bytes) -> None:
        if self._known_head:
            return
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:  # also called for trailers
        if self._known_head:
            return
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self._framing.append(name + b": " + value + b"\r\n")
        self._fields += 1
        self._count(len(name) + len(value))
        super().on_header(name, value.strip(b" \t"))  # RFC 9110, 5.5; the parser keeps trailing whitespace

    def on_headers_complete(self) -> None:
        if self._known_head:
            return
        if len(self.pipeline) >= PIPELINED:
            self._problem = InvalidRequest(f"more than {PIPELINED} requests are waiting on this connection")
            raise self._problem
        super().on_headers_complete()
        self._fresh = 0
        self._begin_body()

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._fresh = 0
        self._body += len(body)
        stall, rate = self._limits.body_stall_s, self._limits.body_rate
        self._deadline = min(self.loop.time(), self._body_began + self._body / rate) + stall

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # the body comes yet: `_read_on`
        super().on_message_complete()
        if self.cycle.response_complete:  # answered before its body was read
            self._deadline = self.loop.time() + self._limits.head_s
        else:
            self._reading, self._deadline = False, None
            self._connections.answered(self)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete:  # otherwise the next pipelined request has begun
            self._reading = True
            self._connections.waits(self)

    def _begin_body(self) -> None:
        self._body, self._body_began = 0, self.loop.time()
        self._deadline = self._body_began + self._limits.body_stall_s

    def _count(self, size: int) -> None:
        self._head += size
        if self._head > self._limits.head_bytes or self._fields > self._limits.head_fields:
            self._problem = self._too_large()
            raise self._problem

    def _too_large(self) -> FlightloopError:
        return HeadTooLarge(
            f"the request head exceeds {self._limits.head_bytes} bytes or {self._limits.head_fields} headers"
        )

    # -- time -------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Arms the timer. A timer that fires too early is kept, because every piece of a body moves the deadline."""
        if self._timer is not None and (self._deadline is None or self._timer.when() > self._deadline):
            self._timer.cancel()
            self._timer = None
        if self._timer is None and self._deadline is not None:
            self._timer = self.loop.call_at(self._deadline, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._deadline is not None and self.loop.time() >= self._deadline:
            if self.flow.read_paused:  # the server does not read
                self._begin_body()
            else:
                self._refuse(RequestTimeout("the request was not sent in time"))
        self._watch()

    # -- refusal ----------------------------------------------------------------------------------

    def send_400_response(self, msg: str) -> None:
        """Called by uvicorn when the parser or a callback above has raised."""
        self._refuse(self._problem or InvalidRequest("this is not a valid HTTP/1.1 request"))

    def _should_upgrade_to_ws(self) -> bool:
        return False

    def _refuse(self, error: FlightloopError) -> None:
        self._refused, self._deadline = True, None
        self._watch()
        cycle = self.cycle
        asked = self._fresh or not self._reading or (cycle is not None and not cycle.response_complete)
        if not asked or self.pipeline or (cycle is not None and cycle.response_started and not cycle.response_complete):
            self.transport.abort()  # no request is pending, or another response is being sent
            return
        if cycle is not None:
            cycle.disconnected = True  # the application must not answer it
            cycle.message_event.set()
        self.transport.write(_answer(error))
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.loop.call_later(LINGER_S, self.transport.abort)
        else:
            self.transport.close()


def _answer(error: FlightloopError) -> bytes:
    body = json.dumps(error.body(), separators=(",", ":")).encode()
    head = (
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body
