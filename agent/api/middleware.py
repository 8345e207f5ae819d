"""Outermost middleware: request id, metrics, unexpected exceptions."""

from __future__ import annotations

import re
import time
import uuid

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.api.errors import answer
from flightloop.errors import InternalError, InvalidRequest
from observability import catalog
from observability.metrics import Metrics

log = structlog.get_logger(__name__)
HEADER = "x-request-id"
UNMATCHED = "unmatched"
_PLAIN_ID = re.compile(r"[\w.:-]{1,128}")


class RequestEnvelope:
    """Adds ``x-request-id`` to every response (the client's id, if well-formed), counts requests by route template, and
    turns unexpected exceptions into a 500 whose details are only logged."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        request_id = given if _PLAIN_ID.fullmatch(given) else f"req_{uuid.uuid4().hex}"
        scope.setdefault("state", {})["request_id"] = request_id
        status, answered = 0, None

        async def stamped(message: Message) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                status, answered = message["status"], time.perf_counter()
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        began = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._answering(scope)(scope, receive, stamped)
            except Exception:
                log.exception("unexpected error", path=scope["path"])
                if status:
                    raise  # the response has begun: the server must close the connection
                await answer(InternalError("unexpected error; see the server's log"))(scope, receive, stamped)
            finally:
                self._count(scope, status, (answered or time.perf_counter()) - began)

    def _answering(self, scope: Scope) -> ASGIApp:
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            return answer(InvalidRequest("the URL contains a NUL character"))  # PostgreSQL can't store it
        return self._app

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", UNMATCHED)
        method = scope["method"] if scope["method"] in _METHODS else "other"
        # 499: the client disconnected before the response.
        self._metrics.inc(catalog.SYSTEM_HTTP_REQUESTS, route=route, method=method, status=str(status or 499))
        self._metrics.observe(catalog.SYSTEM_HTTP_SECONDS, seconds, route=route)


_METHODS = frozenset({"GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH"})
