"""Maps a model server's error responses to errors of the platform. Their texts are untrusted and only logged."""

from __future__ import annotations

import json
import math
import re

import structlog

from flightloop.chat import ChatRequest
from flightloop.errors import (
    ConfigError,
    ContextTooLong,
    FlightloopError,
    Interrupted,
    InvalidRequest,
    ModelUnavailable,
    NotFound,
    Overloaded,
    UnsupportedContent,
)

MOST_LOGGED = 1000
"""Characters of a server's message that are logged."""
IN_LOG = "see the log for the server's message"
_STOP = re.compile(r"\bint_\w{1,64}")
log = structlog.get_logger(__name__)


def server_error(
    base: str, status: int, told: str, *, retry_after: str | None = None, context_length: int | None = None
) -> FlightloopError:
    """The error for a model server's response, chosen by the ``code`` in its body, else by its HTTP status.

    Args:
        base: the server's URL.
        told: the response body.
        retry_after: value of the Retry-After header.
        context_length: the model's context length in tokens, if known.
    """
    log.warning("the model server returned an error", url=base, status=status, told=told[:MOST_LOGGED])
    detail = _detail(told)
    code, wait = detail.get("code"), _seconds(retry_after)
    if status < 500 and (code == ContextTooLong.code or _overlong(detail)):
        return _too_long(context_length)
    if status == Interrupted.status or code == Interrupted.code:
        return Interrupted(_stopped(base, str(detail.get("message"))))
    if status == 429 or code == Overloaded.code:
        return Overloaded(f"the model server {base} is overloaded", retry_after=wait)
    if status >= 500:
        return ModelUnavailable(f"the model server {base} failed ({status}); {IN_LOG}", retry_after=wait)
    if status in (401, 403):
        return ConfigError(f"{base} refused the API key ({status}): check FLIGHTLOOP_MODEL_API_KEY")
    if status == 404:
        return NotFound(f"{base} has no such model or path; {IN_LOG}")
    kind = UnsupportedContent if code == UnsupportedContent.code else InvalidRequest
    param = detail.get("param")
    # Any other value is text chosen by the server.
    param = param if isinstance(param, str) and param in ChatRequest.model_fields else None
    return kind(f"{param or 'the request'}: the model server refused it ({status}); {IN_LOG}", param=param)


def _detail(told: str) -> dict[str, object]:
    try:
        body = json.loads(told)
    except (ValueError, RecursionError):
        return {}
    detail = body.get("error") if isinstance(body, dict) else None
    return detail if isinstance(detail, dict) else {}


def _stopped(base: str, told: str) -> str:
    """Names the stop by its id, the only part of the message that is taken over."""
    found = _STOP.search(told)
    stop, name = (f"stop {found[0]}", found[0]) if found else ("stop", "ID")
    return f"the emergency {stop} is latched at {base}; lift it with: flightloop stop --clear {name}"


def _too_long(limit: int | None) -> ContextTooLong:
    if limit is not None:
        return ContextTooLong.of(limit, "the model server counts more in the request")
    return ContextTooLong(
        "messages: this model's maximum context length is exceeded (context_length_exceeded)", param="messages"
    )


def _overlong(detail: dict[str, object]) -> bool:
    """Whether an error's message says that the prompt is too long; the wording differs between servers."""
    told = str(detail.get("message")).lower()
    return "context" in told and any(word in told for word in ("length", "window", "exceed", "maximum"))


def _seconds(header: str | None) -> float | None:
    try:
        seconds = float(header) if header else math.nan
    except ValueError:
        return None  # a date, which is rare: the default back-off applies
    return max(0.0, seconds) if math.isfinite(seconds) else None
