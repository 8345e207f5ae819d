"""HTTP GET to hosts on an egress list.

The address is resolved here, checked, and then used for the connection, so that a name can't resolve to different
addresses for the check and for the connection. Each redirect passes the same checks.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import httpx

from flightloop.egress import permits, shown
from flightloop.tool import ToolRefused

MAX_REDIRECTS = 4
TIMEOUT_S = 10.0

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
T = TypeVar("T")
Read = Callable[[httpx.URL, httpx.Response], Awaitable[T]]
"""Reads a response from a URL."""


async def fetched(url: str, egress: Sequence[str], read: Read[T]) -> T:
    """Sends a GET request, follows redirects, and returns the result of ``read``. Raises ToolRefused."""
    async with httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_S, follow_redirects=False) as client:
        target = _parsed(url)
        for _ in range(MAX_REDIRECTS + 1):
            answer = await _get(client, target, egress, read)
            if not isinstance(answer, httpx.URL):
                return answer
            target = answer
    raise ToolRefused(f"More than {MAX_REDIRECTS} redirects.")


def check_host(host: str, port: int, egress: Sequence[str]) -> None:
    """Raises ToolRefused unless an entry of the egress list allows this host and port (``flightloop.egress``)."""
    if not permits(egress, host, port):
        raise ToolRefused(
            f"The host {shown(host, port)} is not allowed. Allowed: {', '.join(sorted(egress)) or 'none'}."
        )


def check_address(address: Address, port: int, egress: Sequence[str]) -> None:
    """Raises ToolRefused for an address that isn't public, unless the egress list contains the address with this port.
    An entry with a host name is not enough."""
    mapped = getattr(address, "ipv4_mapped", None) or address
    if (not mapped.is_global or mapped.is_multicast) and not permits(egress, str(mapped), port):
        raise ToolRefused(
            f"The address {shown(str(address), port)} is not public, and the egress list doesn't contain it."
        )


def _parsed(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ToolRefused(f"This is not a URL: {error}.") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ToolRefused("The URL must begin with https:// or http://.")
    if parsed.userinfo:
        raise ToolRefused("The URL must not contain a user name or password.")
    return parsed


async def _get(client: httpx.AsyncClient, url: httpx.URL, egress: Sequence[str], read: Read[T]) -> httpx.URL | T:
    """Sends one request. Returns the target of a redirect, or the answer."""
    port = url.port or (443 if url.scheme == "https" else 80)
    host = url.raw_host.decode("ascii")  # as in the DNS look-up; encoding the decoded name may give another name
    check_host(host, port, egress)
    address = await _resolve(host, port)
    check_address(address, port, egress)
    named = url.netloc.decode("ascii")
    request = client.build_request(
        "GET",
        url.copy_with(host=str(address)),
        headers={"Host": named, "Accept-Encoding": "identity", "User-Agent": "flightloop"},
        extensions={"sni_hostname": host},
    )
    try:
        response = await client.send(request, stream=True)
    except httpx.HTTPError as error:
        raise ToolRefused(f"{url.host} can't be read: {type(error).__name__} {error}".strip()) from None
    try:
        if response.is_redirect and "location" in response.headers:
            return _parsed(str(url.join(response.headers["location"])))
        return await read(url, response)
    except httpx.HTTPError as error:
        raise ToolRefused(f"The connection to {url.host} failed: {type(error).__name__} {error}".strip()) from None
    finally:
        await response.aclose()


async def _resolve(host: str, port: int) -> Address:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        raise ToolRefused(f"The host {host} has no address.") from None
    return ipaddress.ip_address(str(found[0][4][0]).split("%")[0])
