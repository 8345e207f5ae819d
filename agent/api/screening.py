"""What is refused before anything of a request's body is read."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from agent.api.errors import answer
from agent.auth import Keyring
from flightloop.errors import FlightloopError, InvalidRequest

ONCE = ("host", "authorization")
"""Headers that mean two things when there are two of them."""


async def screen(scope: Scope, keyring: Keyring) -> None:
    """The key is looked at again once the body is there, when it may have been revoked.

    Raises:
        InvalidRequest: a header is there twice, or there is a body where none is read.
        Unauthorized: what needs a key has none that is known.
    """
    headers = Headers(scope=scope)
    for name in ONCE:
        if len(headers.getlist(name)) > 1:
            raise InvalidRequest(f"there are several {name} headers: send one")
    if scope["path"].startswith("/v1/"):
        await keyring.principal(headers.get("authorization"))
    elif "transfer-encoding" in headers or headers.get("content-length", "0") != "0":
        raise InvalidRequest(f"{scope['path']} takes no body")


class Screening:
    """Around an application that answers errors no other way."""

    def __init__(self, app: ASGIApp, keyring: Keyring) -> None:
        self._app = app
        self._keyring = keyring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                await screen(scope, self._keyring)
            except FlightloopError as error:
                await answer(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)
