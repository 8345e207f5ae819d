"""Error responses: ``{"error": {"message", "type", "param", "code"}}``."""

from __future__ import annotations

from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from flightloop.errors import FlightloopError, InternalError, InvalidRequest, NotFound, Overloaded, invalid_request

log = structlog.get_logger(__name__)


class ErrorDetail(BaseModel):
    message: str
    type: str
    param: str | None = None
    code: str


class ErrorDocument(BaseModel):
    """Body of every error response."""

    error: ErrorDetail


class MethodNotAllowed(InvalidRequest):
    code = "method_not_allowed"
    status = 405


class PayloadTooLarge(InvalidRequest):
    code = "payload_too_large"
    status = 413


RETRIED = (409, 429)
"""Statuses that OpenAI's clients retry, unless ``x-should-retry`` is false."""
ALWAYS = (400, 401, 403, 413, 429, 503)
_MEANINGS = {
    400: "The request is invalid; `param` names the field.",
    401: "No API key, or an unknown one.",
    403: "The key's role does not allow this.",
    404: "Not found; the message lists what exists.",
    409: "Conflicts with the current state; the message describes the conflict.",
    413: "The body is too large.",
    422: "A guardrail refused the request, or an idempotency key was used with another payload.",
    423: "An emergency stop is active.",
    429: "Too many requests; try again later.",
    503: "The model server or the journal's database is unavailable; try again.",
}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI descriptions of the error responses with these statuses, those in ``ALWAYS``, and the default."""
    found: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorDocument, "description": _MEANINGS[status]} for status in sorted({*ALWAYS, *statuses})
    }
    return {**found, "default": {"model": ErrorDocument, "description": "Any other error."}}


def answer(error: FlightloopError, headers: dict[str, str] | None = None) -> JSONResponse:
    extra = dict(headers or {})
    if error.status == 401:
        extra["www-authenticate"] = "Bearer"
    if error.status in RETRIED and not error.retryable:
        extra["x-should-retry"] = "false"
    if error.retry_after is not None:
        extra["retry-after"] = str(max(1, round(error.retry_after)))
    elif error.status in (429, 503):
        extra["retry-after"] = "1"
    return JSONResponse(error.body(), status_code=error.status, headers=extra)


def install(app: FastAPI) -> None:
    """Registers handlers that return error documents. Unexpected exceptions are left to ``RequestEnvelope``."""

    @app.exception_handler(FlightloopError)
    async def ours(request: Request, error: FlightloopError) -> JSONResponse:
        if error.status >= 500:
            log.warning("request failed", code=error.code, error=error.message, path=request.url.path)
        return answer(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        problems = error.errors()
        of_body = all(problem["loc"][0] == "body" for problem in problems)
        within = [{**problem, "loc": problem["loc"][1:]} for problem in problems]  # without "body", "query" …
        return answer(invalid_request(within, error.body if of_body else None))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        headers = {"allow": ", ".join(_methods(request))} if error.status_code == 405 else dict(error.headers or {})
        return answer(_from_http(request, error), headers)


def _from_http(request: Request, error: HTTPException) -> FlightloopError:
    if error.status_code == 404:
        return NotFound(f"there is no {request.url.path}; see /openapi.json")
    if error.status_code == 405:
        allowed = ", ".join(_methods(request))
        return MethodNotAllowed(f"{request.method} is not allowed at {request.url.path}; allowed: {allowed}")
    if error.status_code == 413:
        return PayloadTooLarge(str(error.detail))
    if error.status_code == 429:
        return Overloaded(str(error.detail))
    if error.status_code < 500:
        return InvalidRequest(str(error.detail))
    return InternalError(str(error.detail))


def _methods(request: Request) -> list[str]:
    """All methods of a path; the router itself only returns those of one route."""
    routes = [route for router in request.app.state.routers for route in router.routes]
    fitting = [route.methods for route in routes if route.path_regex.match(request.url.path)]
    return sorted(set().union(*fitting))
