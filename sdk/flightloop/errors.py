"""Errors of server and client. Each has a ``code`` and states whether a retry can help.

::

    FlightloopError
    ├── InvalidRequest            400  invalid_request
    │   ├── UnsupportedContent    400  unsupported_content
    │   └── ContextTooLong        400  context_length_exceeded
    ├── Unauthorized              401  unauthorized
    ├── Forbidden                 403  forbidden
    ├── NotFound                  404  not_found
    ├── Conflict                  409  conflict
    │   └── IdempotencyInFlight   409  idempotency_in_flight retryable
    ├── IdempotencyMismatch       422  idempotency_mismatch
    ├── GuardrailBlocked          422  guardrail_blocked
    ├── Interrupted               423  interrupted
    ├── Overloaded                429  overloaded            retryable
    ├── BudgetExhausted           429  budget_exhausted
    ├── InternalError             500  internal_error
    ├── InvalidCall               502  invalid_call
    ├── ModelUnavailable          503  model_unavailable     retryable
    ├── StoreUnavailable          503  store_unavailable     retryable
    ├── IssuerUnavailable         503  issuer_unavailable    retryable
    ├── ConfigError                -   config_error          (raised at start)
    ├── ConnectionFailed           -   connection_failed     retryable (client only)
    ├── GenerationFailed           -   generation_failed     (client only)
    └── NotFlightloop              -   not_flightloop        (client only)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar


class FlightloopError(Exception):
    """Base of all errors.

    Args:
        message: one or two sentences: what happened, and what to do.
        param: the request field at fault, if any.
        request_id: ``x-request-id`` of the response, on the client.
        retry_after: seconds to wait before a retry, if the server reported them.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    kind: ClassVar[str | None] = None
    """``type`` in the error document, for OpenAI's clients; None: derived from the status."""
    retryable: ClassVar[bool] = False

    def __init__(
        self, message: str, *, param: str | None = None, request_id: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.request_id = request_id
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross process borders by pickle, and Exception's default reduction drops keyword arguments.
        return _rebuild, (type(self), self.message, self.param, self.request_id, self.retry_after)

    def body(self) -> dict[str, Any]:
        """The error document of the HTTP API."""
        kind = self.kind or ("server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def _rebuild(
    kind: type[FlightloopError], message: str, param: str | None, request_id: str | None, retry_after: float | None
) -> FlightloopError:
    return kind(message, param=param, request_id=request_id, retry_after=retry_after)


class InvalidRequest(FlightloopError):
    code = "invalid_request"
    status = 400


class UnsupportedContent(InvalidRequest):
    code = "unsupported_content"


class ContextTooLong(InvalidRequest):
    """The request exceeds the model's context. Clients recognise it by its code, in the error or in its message, or by
    OpenAI's wording: "this model's maximum context length is"."""

    code = "context_length_exceeded"

    @classmethod
    def of(cls, limit: int, given: str, param: str = "messages") -> ContextTooLong:
        """The error for a context of ``limit`` tokens; ``given`` states the actual size, as in "the prompt has 9"."""
        return cls(
            f"{param}: this model's maximum context length is {limit} tokens, but {given} ({cls.code})", param=param
        )


class Unauthorized(FlightloopError):
    code = "unauthorized"
    status = 401


class Forbidden(FlightloopError):
    code = "forbidden"
    status = 403


class NotFound(FlightloopError):
    code = "not_found"
    status = 404


class Conflict(FlightloopError):
    code = "conflict"
    status = 409


class IdempotencyInFlight(Conflict):
    """The first request with this idempotency key is still in progress; a retry gets its response."""

    code = "idempotency_in_flight"
    retryable = True


class IdempotencyMismatch(FlightloopError):
    code = "idempotency_mismatch"
    status = 422


class GuardrailBlocked(FlightloopError):
    code = "guardrail_blocked"
    status = 422


class Interrupted(FlightloopError):
    code = "interrupted"
    status = 423


class Overloaded(FlightloopError):
    code = "overloaded"
    status = 429
    kind = "rate_limit_error"
    retryable = True


class BudgetExhausted(FlightloopError):
    code = "budget_exhausted"
    status = 429
    kind = "insufficient_quota"


class InternalError(FlightloopError):
    code = "internal_error"
    status = 500


class InvalidCall(FlightloopError):
    """The model repeatedly wrote calls as text, so there is no usable answer."""

    code = "invalid_call"
    status = 502


class ModelUnavailable(FlightloopError):
    code = "model_unavailable"
    status = 503
    retryable = True


class StoreUnavailable(FlightloopError):
    code = "store_unavailable"
    status = 503
    retryable = True


class IssuerUnavailable(FlightloopError):
    """The OIDC issuer, whose keys verify tokens, can't be reached. API keys still work."""

    code = "issuer_unavailable"
    status = 503
    retryable = True


class ConfigError(FlightloopError):
    code = "config_error"


class ConnectionFailed(FlightloopError):
    code = "connection_failed"
    retryable = True


class GenerationFailed(FlightloopError):
    """The run that generates a program ended without a result."""

    code = "generation_failed"


class NotFlightloop(FlightloopError):
    """The response does not come from a flightloop API, for example because another web server listens at the URL."""

    code = "not_flightloop"


def error_for(
    status: int,
    body: object,
    *,
    request_id: str | None = None,
    retry_after: float | None = None,
    address: str | None = None,
) -> FlightloopError:
    """The error for an HTTP response, by its ``code``, else by its status.

    ``address``: URL of the expected flightloop API, used in the message if the response contains no message.
    """
    detail = body.get("error") if isinstance(body, dict) else None
    detail = detail if isinstance(detail, dict) else {}
    known = {kind.code: kind for kind in _tree(FlightloopError)}
    by_status = {
        kind.status: kind for kind in reversed(_tree(FlightloopError)) if kind.code not in ("error", "config_error")
    }
    fallback = InvalidRequest if status < 500 else InternalError
    kind = known.get(str(detail.get("code"))) or by_status.get(status) or fallback
    foreign = ", which is not a response of a flightloop API" if address else ""
    message = str(detail.get("message") or f"{address or 'the server'} returned status {status}{foreign}")
    param = detail.get("param")
    return kind(
        message, param=param if isinstance(param, str) else None, request_id=request_id, retry_after=retry_after
    )


def invalid_request(problems: Sequence[Any], request: Any = None) -> InvalidRequest:
    """Validation errors of a request as one error; ``param`` is the first field at fault, such as ``messages[0].role``.

    Args:
        problems: pydantic's ``ValidationError.errors()``, with locations relative to the request.
        request: the validated value, needed to omit pydantic's union tags. If None, ``param`` may contain such tags.
    """
    if not problems:
        return InvalidRequest("the request is invalid")
    places = [_field(problem["loc"], request) for problem in problems[:5]]
    lines = [f"{place or 'body'}: {_told(problem, place)}" for place, problem in zip(places, problems, strict=False)]
    more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
    return InvalidRequest("; ".join(lines) + more, param=places[0])


def _told(problem: Any, place: str | None) -> str:
    """What is wrong, in words of the API where pydantic's are about Python."""
    kind, given = problem["type"], problem.get("input")
    if place is None and (kind == "missing" or isinstance(given, bytes)):
        # FastAPI passes a body that does not say that it is JSON on as bytes: curl -d says that it is a form.
        return "send a JSON object, with the header Content-Type: application/json"
    if kind == "extra_forbidden":
        return "no such field"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return "must be an object"
    return str(problem["msg"]).removeprefix("Value error, ")


def _field(location: Sequence[Any], request: Any) -> str | None:
    """Path of a field in OpenAI's notation."""
    path = ""
    for number, part in enumerate(location, 1):
        if isinstance(part, int):
            path += f"[{part}]"
        elif _is_field(part, request, last=number == len(location)):
            path += f".{part}" if path else part
        else:
            continue
        request = _inside(request, part)
    return path or None


def _is_field(part: str, request: Any, *, last: bool) -> bool:
    """Whether a part of a location is a field. Pydantic also inserts names of validators and union members."""
    if not re.fullmatch(r"[a-z_][\w-]*", part):
        return False
    if isinstance(request, dict):
        return last or part in request  # the last one may be missing
    return request is None


def _inside(value: Any, part: str | int) -> Any:
    try:
        return value[part]
    except (TypeError, KeyError, IndexError):
        return None


def _tree(kind: type[FlightloopError]) -> list[type[FlightloopError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in _tree(child))]
