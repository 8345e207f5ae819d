"""Keeps the console's cookies off unencrypted connections."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class SecureCookies:
    """ASGI middleware: adds ``Secure`` to all cookies. For a console that browsers reach over HTTPS.

    Streamlit leaves it out, because it does not know whether a proxy encrypts.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def secured(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.accept"):
                message["headers"] = [_secured(name, value) for name, value in message.get("headers", [])]
            await send(message)

        await self._app(scope, receive, secured)


def _secured(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    attributes = [part.strip().lower() for part in value.split(b";")[1:]]
    if name.lower() == b"set-cookie" and b"secure" not in attributes:
        value += b"; Secure"
    return name, value
