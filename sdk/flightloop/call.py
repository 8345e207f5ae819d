"""HTTP calls as data, and their retry policy; nothing here does I/O.

Resources build a ``Call`` or a ``Feed``; a blocking or an async transport executes it.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Generic, Protocol, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from flightloop.errors import ConnectionFailed, FlightloopError, NotFlightloop, Unauthorized, error_for, invalid_request
from flightloop.settings import ClientSettings

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 8.0
LONGEST_RETRY_AFTER_S = 60.0
RECONNECTS = 8


@dataclass(frozen=True)
class Call(Generic[T]):
    """One HTTP call."""

    method: str
    path: str
    parse: Callable[[Any], T]
    """Converts the response's JSON (None for an empty body) to the result."""
    params: Mapping[str, Any] = field(default_factory=dict)
    body: BaseModel | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    idempotent: bool = True
    """Whether the call may be sent again after its response was lost."""

    def request(self) -> dict[str, Any]:
        """Arguments for httpx's ``request`` and ``stream``."""
        headers = dict(self.headers)
        content = None
        if self.body is not None:
            content = self.body.model_dump_json(exclude_none=True, by_alias=True)
            headers["content-type"] = "application/json"
        params = {name: value for name, value in self.params.items() if value is not None}
        return {"method": self.method, "url": self.path, "params": params, "content": content, "headers": headers}


class Feed(Protocol[T_co]):
    """A stream of items over one or more connections. ``deadline`` is a ``time.monotonic`` value."""

    done: bool
    deadline: float | None

    def call(self) -> Call[Any]:
        """Request that starts or continues the stream."""

    def push(self, chunk: bytes) -> Iterable[T_co]:
        """Items completed by these bytes."""

    def lost(self, *, whole: bool) -> None:
        """Handles the end of a connection. ``whole``: the server closed it regularly. Sets ``done`` unless the
        transport should reconnect with ``call``."""


@contextmanager
def refused_here() -> Iterator[None]:
    """Turns validation errors of a request into the error that the server would return, before sending it."""
    try:
        yield
    except ValidationError as error:
        raise invalid_request(error.errors()) from None


Steps = Generator[Call[Any] | Feed[Any], Any, T]
"""Calls and feeds to execute in order. Results, or lists of items, are sent back to the generator."""


def parsed_by(kind: type[T]) -> Callable[[Any], T]:
    """A parser of JSON documents for a type."""
    adapter: TypeAdapter[T] = TypeAdapter(kind)
    return adapter.validate_python


def http_options(settings: ClientSettings) -> dict[str, Any]:
    """Arguments for httpx's clients."""
    return {
        "base_url": settings.base_url,
        "headers": {"authorization": f"Bearer {settings.api_key}", "accept": "application/json"},
        "timeout": settings.timeout_s,
        "trust_env": settings.proxied,
    }


def result_of(call: Call[T], response: httpx.Response) -> T:
    """Parses a response.

    Raises:
        NotFlightloop: the response is not one of this API.
    """
    try:
        return call.parse(response.json() if response.content else None)
    except ValidationError as error:
        raise _foreign(response, invalid_request(error.errors()).message) from error
    except ValueError as error:  # not JSON
        raise _foreign(response) from error


def undecodable(error: httpx.DecodingError) -> NotFlightloop:
    """The error for a response whose body can't be decompressed."""
    return NotFlightloop(f"{_address(error.request)} returns a body that can't be decompressed: {error}")


def check_stream(response: httpx.Response) -> None:
    """Raises NotFlightloop if a response is not an event stream."""
    if not response.headers.get("content-type", "").startswith("text/event-stream"):
        raise _foreign(response)


def _foreign(response: httpx.Response, why: str = "") -> NotFlightloop:
    why = why or f"it returns {response.headers.get('content-type') or 'no content type'}"
    return NotFlightloop(f"{_address(response.request)} is not a flightloop API, or has another version: {why}")


def _address(request: httpx.Request) -> str:
    """URL of a request, without query and password."""
    return str(request.url.copy_with(query=None, userinfo=b""))


def error_of(response: httpx.Response) -> FlightloopError:
    """The error for a response with an error status."""
    try:
        body = response.json()
    except ValueError:
        body = None
    # A proxy may have added the same header again.
    request_id = next(iter(response.headers.get_list("x-request-id")), None)
    return error_for(
        response.status_code,
        body,
        request_id=request_id,
        retry_after=_retry_after(response),
        address=_address(response.request),
    )


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds to wait. The header contains seconds or, from some proxies, a date (RFC 9110, 10.2.3)."""
    given = response.headers.get("retry-after", "")
    with suppress(ValueError):
        seconds = float(given)
        return max(0.0, seconds) if math.isfinite(seconds) else None
    try:
        return max(0.0, (parsedate_to_datetime(given) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):  # TypeError: a date without a time zone
        return None


class Attempts:
    """Counts failures of one call: ``delay`` returns the time to wait, or raises if there is no further attempt."""

    def __init__(self, call: Call[Any], settings: ClientSettings, deadline: float | None = None) -> None:
        self._call, self._settings, self._deadline = call, settings, deadline
        self._failures = 0
        self._allowed = settings.retries

    def succeeded(self) -> None:
        """Resets the count after a stream received data, and allows time for a server restart."""
        self._failures = 0
        self._allowed = max(self._allowed, RECONNECTS)

    def delay(self, failure: FlightloopError | httpx.TransportError) -> float:
        """Seconds to wait before the next attempt, at most until the deadline.

        Raises:
            FlightloopError: another attempt can't help, or none is left.
        """
        if isinstance(failure, Unauthorized) and self._settings.key_from:
            raise self._unauthorized(failure)
        error = failure if isinstance(failure, FlightloopError) else self._connection_failed(failure)
        # An "overloaded" response means that nothing was done; after a lost response, everything may have been done.
        unsent = isinstance(failure, FlightloopError | httpx.ConnectError | httpx.ConnectTimeout)
        too_long = (error.retry_after or 0.0) > LONGEST_RETRY_AFTER_S
        self._failures += 1
        if not error.retryable or too_long or self._failures > self._allowed:
            raise error
        if not (unsent or self._call.idempotent):
            raise error
        wait = error.retry_after
        if wait is None:
            ceiling = min(FIRST_DELAY_S * 2 ** (self._failures - 1), LONGEST_DELAY_S)
            wait = random.uniform(ceiling / 2, ceiling)
        if self._deadline is not None:
            wait = min(wait, max(0.0, self._deadline - time.monotonic()))
        return wait

    def _unauthorized(self, failure: Unauthorized) -> Unauthorized:
        """The same error, with the server that was asked. It may be another one than the key belongs to."""
        asked = f"asked {self._settings.base_url} with the key of {self._settings.key_from}"
        told = f"{failure.message} ({asked}); if the platform runs elsewhere, set FLIGHTLOOP_URL"
        return Unauthorized(told, param=failure.param, request_id=failure.request_id)

    def _connection_failed(self, failure: httpx.TransportError) -> ConnectionFailed:
        if self._deadline is not None and time.monotonic() >= self._deadline:
            raise TimeoutError("the caller's timeout has expired") from failure
        what = str(failure) or type(failure).__name__
        return ConnectionFailed(
            f"no answer from {self._settings.base_url} ({what}); if it runs elsewhere, set FLIGHTLOOP_URL;"
            " is the server up?"
        )


def silence_s(settings: ClientSettings, deadline: float | None) -> float:
    """Longest silence allowed in a stream.

    Raises:
        TimeoutError: the deadline has passed.
    """
    if deadline is None:
        return settings.timeout_s
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the caller's timeout has expired")
    return min(settings.timeout_s, left)
