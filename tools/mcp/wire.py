"""HTTP connections to a server behind a URL: limits what the SDK sends, and records what the server really answered.

The SDK invents answers: it turns a gateway's page, a redirect or half an answer into an error that looks like the
server's own. Only the received bytes show whether a call was begun.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2

from flightloop.sse import EventTooLong, SSEDecoder
from tools.mcp.lines import LONGEST_LINE, MOST_PINGS, Flow, TooMuch

MOST_RESPONSE_BYTES = 64 * 1024 * 1024
"""Maximum size of one event stream, which is reopened then. Compressed responses are rejected, since the limit doesn't
apply to their decompressed size."""
MOST_MESSAGE_BYTES = LONGEST_LINE
"""Maximum size of a response that is one message. Parsed, an empty list takes 20 times the bytes that it is sent in."""
MOST_ERROR_BYTES = 64 * 1024
"""Maximum size of an error. A longer one doesn't count as sent by the server itself."""
WINDOW_S = 60.0
PAUSE_S = 1.0
MOST_RESUMED = 30
"""Maximum number of broken streams to resume in ``WINDOW_S``, ``PAUSE_S`` apart (not the server's ``retry``)."""
MOST_ANSWERED = MOST_PINGS * 6
"""Maximum number of the server's own requests that are answered in ``WINDOW_S``."""
MOST_REDIRECTS = 20


class Wire:
    """Traffic on the connections of one session."""

    def __init__(self) -> None:
        self._waiting: dict[int, bool] = {}
        """Requests with a waiting caller, and whether the server itself answered them with an error."""
        self._resumed, self._answered = _Bound(MOST_RESUMED), _Bound(MOST_ANSWERED)
        self._turn = 0.0
        self._redirects: set[tuple[str, str]] = set()

    def hooks(self) -> dict[str, list[Callable[..., Any]]]:
        """Event hooks for the HTTP client of a new connection."""
        flow = Flow()

        async def came(response: httpx2.Response) -> None:
            self._came(response, flow)

        return {"request": [self._goes], "response": [came]}

    @contextmanager
    def waiting(self, request_id: int) -> Iterator[None]:
        """Marks that a caller waits for a request's answer. Broken streams are resumed only during that time."""
        self._waiting[request_id] = False
        try:
            yield
        finally:
            del self._waiting[request_id]

    def refused(self, request_id: int) -> bool:
        """Whether the server itself answered a request with an error. Valid while a caller waits for it."""
        return self._waiting[request_id]

    async def _goes(self, request: httpx2.Request) -> None:
        """Checks a request. Raises RequestError if it must not be sent."""
        if request.method == "GET":
            if "last-event-id" not in request.headers:
                raise httpx2.RequestError("unsolicited messages of a server are not supported")
            if not self._waiting:
                raise httpx2.RequestError("the stream is not resumed: no request waits for its rest")
            self._resumed.count("broken streams")
            now = time.monotonic()
            turn, self._turn = max(now, self._turn), max(now, self._turn) + PAUSE_S
            await asyncio.sleep(turn - now)
        elif request.method == "POST" and "method" not in _read(await request.aread()):
            self._answered.count("requests from the server")

    def _came(self, response: httpx2.Response, flow: Flow) -> None:
        """Checks a response. Raises ReadError if it must not be read."""
        if response.headers.get("content-encoding", "identity") != "identity":
            raise httpx2.ReadError("the server sent a compressed response, which is not supported")
        if response.has_redirect_location:
            self._redirected(response)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        events = response.headers.get("content-type", "").lower().startswith("text/event-stream")
        most = MOST_RESPONSE_BYTES if events else MOST_MESSAGE_BYTES
        response.stream = _Read(response.stream, flow, _Errors(self._note, events=events), most)

    def _redirected(self, response: httpx2.Response) -> None:
        """Handles a redirect, after which the SDK repeats the request. A call is repeated only if a request without
        effects has taken the same redirect before: otherwise the first server may have performed the call."""
        way = str(response.request.url), response.headers["location"]
        if _read(response.request.content).get("method") != "tools/call":
            if len(self._redirects) < MOST_REDIRECTS:
                self._redirects.add(way)
        elif way not in self._redirects:
            del response.headers["location"]

    def _note(self, message: Any) -> None:
        if isinstance(message, dict) and isinstance(message.get("error"), dict):
            request_id = message.get("id")
            if type(request_id) is int and request_id in self._waiting:
                self._waiting[request_id] = True


class _Bound:
    """Limits how often something may happen in ``WINDOW_S``."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._times: deque[float] = deque()

    def count(self, what: str) -> None:
        """Counts one occurrence. Raises RequestError."""
        now = time.monotonic()
        while self._times and now - self._times[0] > WINDOW_S:
            self._times.popleft()
        if len(self._times) >= self._most:
            raise httpx2.RequestError(f"more than {self._most} {what} in {WINDOW_S:g} s")
        self._times.append(now)


class _Errors:
    """Finds errors in a response before the SDK reads them.

    Args:
        note: called with each message that may contain an error.
        events: whether the response is a stream of events, instead of one message.
    """

    def __init__(self, note: Callable[[Any], None], *, events: bool) -> None:
        self._note = note
        self._decoder = SSEDecoder(MOST_ERROR_BYTES) if events else None
        self._body: bytearray | None = None if events else bytearray()

    def push(self, chunk: bytes) -> None:
        if self._decoder is not None:
            try:
                for event in self._decoder.push(chunk):
                    if '"error"' in event.data:
                        self._note(_read(event.data))
            except EventTooLong:
                self._decoder = None
        elif self._body is not None:
            self._body += chunk
            if len(self._body) > MOST_ERROR_BYTES:
                self._body = None

    def end(self) -> None:
        if self._body:
            self._note(_read(self._body))


class _Read(httpx2.AsyncByteStream):
    """A response stream. All responses of a connection together have the limits of `tools.mcp.lines`."""

    def __init__(self, stream: httpx2.AsyncByteStream, flow: Flow, errors: _Errors, most: int) -> None:
        self._stream, self._flow, self._errors, self._most = stream, flow, errors, most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self._most
        async for chunk in self._stream:
            left -= len(chunk)
            if left < 0:
                raise httpx2.ReadError(f"the server sent a response of more than {self._most} bytes")
            try:
                self._flow.count(chunk)
            except TooMuch as problem:
                raise httpx2.ReadError(str(problem)) from None
            self._errors.push(chunk)
            yield chunk
        self._errors.end()

    async def aclose(self) -> None:
        await self._stream.aclose()


def _read(text: str | bytes | bytearray) -> dict[str, Any]:
    """Parses a message. Returns an empty dict if it is invalid."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}
