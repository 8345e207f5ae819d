"""Refusals of MCP requests before the SDK reads them."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from agent.api.errors import answer
from flightloop.errors import FlightloopError, Unauthorized

REFUSED = -32010
"""JSON-RPC code of a request that is refused before it is read; from the range of implementations' own codes."""


def refusal(error: FlightloopError) -> Response:
    """The API's error document as a JSON-RPC error too, so that MCP clients show the reason.

    JSON-RPC's ``code`` is a number, so the API's is in ``data``. The id is null, because the body has not been read.
    The challenge of a 401 follows RFC 6750, section 3.
    """
    told = error.body()["error"]
    document = {"jsonrpc": "2.0", "id": None, "error": {**told, "code": REFUSED, "data": {"code": error.code}}}
    headers = {name: value for name, value in answer(error).headers.items() if not name.startswith("content-")}
    if error.status == Unauthorized.status:
        headers["www-authenticate"] = 'Bearer realm="flightloop"'
    return JSONResponse(document, status_code=error.status, headers=headers)
