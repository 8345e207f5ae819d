"""Detects requests from programs on this machine. Some of these requests need no key.

Two other kinds of requests also come from a loopback address: those forwarded by a proxy on this machine, and those of
a web page whose name resolves to 127.0.0.1 (DNS rebinding), for which the browser sends that name as ``Host``.
"""

from __future__ import annotations

import ipaddress

from starlette.requests import HTTPConnection

FORWARDING = frozenset(
    {
        "cf-connecting-ip",
        "client-ip",
        "fastly-client-ip",
        "forwarded",
        "true-client-ip",
        "via",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-envoy-external-address",
        "x-original-host",
        "x-original-url",
        "x-real-ip",
    }
)
"""Headers added by proxies, besides all that begin with ``X-Forwarded``."""


def is_direct(request: HTTPConnection) -> bool:
    """Whether a local program sent the request itself: to a loopback name, without headers of a proxy."""
    forwarded = any(name in FORWARDING or name.startswith("x-forwarded") for name in request.headers)
    return is_from_here(request) and not forwarded and _loopback_host(_host(request))


def is_from_here(request: HTTPConnection) -> bool:
    return request.client is not None and _is_loopback(request.client.host)


def has_foreign_name(request: HTTPConnection) -> bool:
    """Whether ``Host`` is a name that someone else may control: neither an IP address nor ``localhost``."""
    host = _host(request)
    return not (_loopback_host(host) or _address(host) is not None)


def _host(request: HTTPConnection) -> str:
    """Host of the request without port; "" unless the request has exactly one ``Host`` header."""
    given = request.headers.getlist("host")
    if len(given) != 1:
        return ""
    text = given[0].strip().lower()
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host if not rest or rest.startswith(":") else ""
    return text.rpartition(":")[0] if text.count(":") == 1 else text


def _loopback_host(host: str) -> bool:
    return host == "localhost" or _is_loopback(host)


def _is_loopback(host: str) -> bool:
    address = _address(host)
    mapped = getattr(address, "ipv4_mapped", None) or address
    return mapped is not None and bool(mapped.is_loopback)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
