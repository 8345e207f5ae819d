"""Checks a request's headers and key before its body is read."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from agent.api.auth import Keyring, Principal
from agent.api.body_limit import TENANT
from agent.api.errors import answer
from flightloop.errors import FlightloopError, InvalidRequest

ONCE = ("host", "authorization")
"""Headers that are ambiguous when sent more than once."""


def check_once(headers: Headers) -> None:
    """Raises InvalidRequest if a header in ``ONCE`` is repeated: a proxy and the server could use different values."""
    for name in ONCE:
        if len(headers.getlist(name)) > 1:
            raise InvalidRequest(f"the {name} header is repeated: send it once")


async def screen(scope: Scope, keyring: Keyring) -> Principal | None:
    """Checks headers and key. The routes check the key again, because it may be revoked while the body arrives.

    Returns:
        The caller; None where no key is needed.

    Raises:
        InvalidRequest: a header is repeated, or a body is sent to a path that takes none.
        Unauthorized: no key, or an unknown one.
    """
    headers = Headers(scope=scope)
    check_once(headers)
    if scope["path"].startswith("/v1/"):
        return await keyring.principal(headers.get("authorization"))
    if "transfer-encoding" in headers or headers.get("content-length", "0") != "0":
        raise InvalidRequest(f"{scope['path']} takes no body")
    return None


class Screening:
    """ASGI middleware that answers requests refused by ``screen``."""

    def __init__(self, app: ASGIApp, keyring: Keyring) -> None:
        self._app = app
        self._keyring = keyring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                caller = await screen(scope, self._keyring)
            except FlightloopError as error:
                await answer(error)(scope, receive, send)
                return
            scope.setdefault("state", {})[TENANT] = caller and caller.tenant_id
        await self._app(scope, receive, send)
