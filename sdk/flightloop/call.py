"""One HTTP call as data, and how often it may be tried: nothing here does I/O.

Resources build a ``Call`` or a ``Feed``; a transport executes it, blocking or not.
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

from flightloop.errors import ConnectionFailed, FlightloopError, NotFlightloop, error_for, invalid_request
from flightloop.settings import ClientSettings

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 8.0
LONGEST_RETRY_AFTER_S = 60.0
RECONNECTS = 8


@dataclass(frozen=True)
class Call(Generic[T]):
    """``parse`` makes the result of the answer's JSON (None for an empty answer)."""

    method: str
    path: str
    parse: Callable[[Any], T]
    params: Mapping[str, Any] = field(default_factory=dict)
    body: BaseModel | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    idempotent: bool = True
    """Whether a call whose answer was lost may be sent again."""

    def request(self) -> dict[str, Any]:
        """Arguments of httpx's ``request`` and ``stream``."""
        headers = dict(self.headers)
        content = None
        if self.body is not None:
            content = self.body.model_dump_json(exclude_none=True, by_alias=True)
            headers["content-type"] = "application/json"
        params = {name: value for name, value in self.params.items() if value is not None}
        return {"method": self.method, "url": self.path, "params": params, "content": content, "headers": headers}


class Feed(Protocol[T_co]):
    """A stream of items over one connection or several. ``deadline`` is a ``time.monotonic`` moment."""

    done: bool
    deadline: float | None

    def call(self) -> Call[Any]:
        """The request that begins or goes on with the stream."""

    def push(self, chunk: bytes) -> Iterable[T_co]:
        """The items that these bytes complete."""

    def lost(self, *, whole: bool) -> None:
        """The connection ended: ``done``, or ``call`` again. ``whole``: the server ended it, it did not break."""


@contextmanager
def refused_here() -> Iterator[None]:
    """What a request's type refuses is the error that the server would answer, before it is sent."""
    try:
        yield
    except ValidationError as error:
        raise invalid_request(error.errors()) from None


Steps = Generator[Call[Any] | Feed[Any], Any, T]
"""Calls to execute and feeds to drain, one after the other; the result, or a list of the items, is sent back."""


def parsed_by(kind: type[T]) -> Callable[[Any], T]:
    """A parser of JSON documents of that type."""
    adapter: TypeAdapter[T] = TypeAdapter(kind)
    return adapter.validate_python


def http_options(settings: ClientSettings) -> dict[str, Any]:
    """Arguments of httpx's clients."""
    return {
        "base_url": settings.base_url,
        "headers": {"authorization": f"Bearer {settings.api_key}", "accept": "application/json"},
        "timeout": settings.timeout_s,
        "trust_env": settings.proxied,
    }


def result_of(call: Call[T], response: httpx.Response) -> T:
    """What a read answer says.

    Raises:
        NotFlightloop: it is not in the API's words.
    """
    try:
        return call.parse(response.json() if response.content else None)
    except ValidationError as error:
        raise _foreign(response, invalid_request(error.errors()).message) from error
    except ValueError as error:  # no JSON
        raise _foreign(response) from error


def check_stream(response: httpx.Response) -> None:
    """Raises NotFlightloop if what begins is no stream of events: none would ever come, nor an end."""
    if not response.headers.get("content-type", "").startswith("text/event-stream"):
        raise _foreign(response)


def _foreign(response: httpx.Response, why: str = "") -> NotFlightloop:
    why = why or f"it answers {response.headers.get('content-type') or 'something untyped'}"
    return NotFlightloop(f"{_address(response)} is no flightloop API, or not of this version: {why}")


def _address(response: httpx.Response) -> str:
    """What was asked, without a query or a password."""
    return str(response.request.url.copy_with(query=None, userinfo=b""))


def error_of(response: httpx.Response) -> FlightloopError:
    """The error that a read answer stands for."""
    try:
        body = response.json()
    except ValueError:
        body = None
    # A proxy in between may have added the same header once more.
    request_id = next(iter(response.headers.get_list("x-request-id")), None)
    return error_for(
        response.status_code,
        body,
        request_id=request_id,
        retry_after=_retry_after(response),
        address=_address(response),
    )


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds from now, whether the header says seconds or, as a proxy's may, a date (RFC 9110, 10.2.3)."""
    given = response.headers.get("retry-after", "")
    with suppress(ValueError):
        seconds = float(given)
        return max(0.0, seconds) if math.isfinite(seconds) else None
    try:
        return max(0.0, (parsedate_to_datetime(given) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):  # TypeError: a date without a time zone
        return None


class Attempts:
    """Counts the failures of one call: ``delay`` tells how long to wait, or raises for good."""

    def __init__(self, call: Call[Any], settings: ClientSettings, deadline: float | None = None) -> None:
        self._call, self._settings, self._deadline = call, settings, deadline
        self._failures = 0
        self._allowed = settings.retries

    def succeeded(self) -> None:
        """A stream got something: count anew, and be patient with a server that restarts."""
        self._failures = 0
        self._allowed = max(self._allowed, RECONNECTS)

    def delay(self, failure: FlightloopError | httpx.TransportError) -> float:
        """Seconds to wait before the next attempt.

        Raises:
            FlightloopError: no further attempt can help, or none is left.
        """
        error = failure if isinstance(failure, FlightloopError) else self._connection_failed(failure)
        # A server that answers "overloaded" did nothing; one that vanished may have done everything.
        unsent = isinstance(failure, FlightloopError | httpx.ConnectError | httpx.ConnectTimeout)
        too_long = (error.retry_after or 0.0) > LONGEST_RETRY_AFTER_S
        self._failures += 1
        if not error.retryable or too_long or self._failures > self._allowed:
            raise error
        if not (unsent or self._call.idempotent):
            raise error
        if error.retry_after is not None:
            return error.retry_after
        ceiling = min(FIRST_DELAY_S * 2 ** (self._failures - 1), LONGEST_DELAY_S)
        return random.uniform(ceiling / 2, ceiling)

    def _connection_failed(self, failure: httpx.TransportError) -> ConnectionFailed:
        if self._deadline is not None and time.monotonic() >= self._deadline:
            raise TimeoutError("the time that the caller gave is over") from failure
        what = str(failure) or type(failure).__name__
        return ConnectionFailed(f"no answer from {self._settings.base_url} ({what}); is the server up?")


def silence_s(settings: ClientSettings, deadline: float | None) -> float:
    """How long a stream may be silent.

    Raises:
        TimeoutError: the deadline is over.
    """
    if deadline is None:
        return settings.timeout_s
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the time that the caller gave is over")
    return min(settings.timeout_s, left)
