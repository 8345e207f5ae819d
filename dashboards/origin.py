"""Protects the console from requests of other sites: the Host, and the Origin if there is one, must be the console's.

A page of another site can make a visitor's browser send requests here; by DNS rebinding, they even look
like the console's own. Streamlit's own check accepts every port of this computer as the same origin, and
covers only the websocket.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
REFUSED = (
    "The console rejects this request, because its Host or Origin is not the console's address."
    " If the console has further host names, list them in FLIGHTLOOP_CONSOLE_HOSTS.\n"
)
HEADERS = {
    "content-security-policy": "frame-ancestors 'none'; img-src 'self' data: blob:",
    "referrer-policy": "same-origin",  # keeps the login link's token private
    "x-content-type-options": "nosniff",
}


class OwnOrigin:
    """ASGI middleware: answers requests of other sites with 403, both over HTTP and when a websocket opens.

    Args:
        address: the address that the console listens on.
        names: further host names of the console, for instance those of a proxy.
    """

    def __init__(self, app: ASGIApp, address: str, names: Collection[str] = ()) -> None:
        self._app, self._address, self._names = app, address, frozenset(names)
        listening = _ip(address)
        self._everywhere = listening is not None and listening.is_unspecified

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return

        async def hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        if self._is_own(Headers(scope=scope)):
            await self._app(scope, receive, hardened)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # before it is accepted, so the answer is a 403
        else:
            await PlainTextResponse(REFUSED, 403)(scope, receive, hardened)

    def _is_own(self, headers: Headers) -> bool:
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or len(origins) > 1:
            return False
        host = _parts(f"//{hosts[0]}")
        if host is None or not self._is_host(host.hostname or ""):
            return False
        origin = _parts(origins[0]) if origins else host
        if origin is None:
            return False
        return origin.netloc.lower() == host.netloc.lower() or origin.hostname in self._names

    def _is_host(self, name: str) -> bool:
        if name in LOOPBACK or name in self._names or name == self._address:
            return True
        # Listening on all addresses. An IP address is safe: DNS rebinding needs a name.
        return self._everywhere and _ip(name) is not None


def _parts(url: str) -> SplitResult | None:
    try:
        found = urlsplit(url)
        _ = found.port
    except ValueError:
        return None
    return found if found.hostname else None


def _ip(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
