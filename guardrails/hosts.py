"""Hosts that a text names, and whether a policy lets them be reached."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

import regex

URL = r"(?<![\w+.-])(?:https?|wss?|ftp)://[^\s<>\"'`^{|}]{1,2000}"
BARE = regex.compile(r"(?<![\w@.-])(?:www\.(?:[\w-]{1,63}\.)+[^\W\d_]{2,24}|\d{1,3}(?:\.\d{1,3}){3})(?![\w.-]*@)")
_URL = regex.compile(URL, regex.IGNORECASE)


def hosts_of(url: str) -> frozenset[str]:
    """The hosts that a client might connect to: two where clients disagree about a backslash.

    ``http://good.com@evil.com`` goes to evil.com; a name that isn't ASCII is compared in its IDNA
    form, so that a look-alike is another host. What is no URL has the host "".
    """
    return frozenset({_host_of(url), _host_of(url.replace("\\", "/"))})


def hosts_in(text: str) -> frozenset[str]:
    """Hosts of all URLs in a text, and bare ``www.`` names and IPv4 addresses."""
    urls = [match.group() for match in _URL.finditer(text)]
    bare = ["http://" + match.group() for match in BARE.finditer(text)]
    return frozenset().union(*map(hosts_of, [*urls, *bare]))


def _host_of(url: str) -> str:
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return ""
    host = host.rstrip(".").lower()
    try:
        return host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        return host


def permitted(host: str, patterns: Iterable[str]) -> bool:
    """Exact names, or ``*.example.com`` for every name below example.com (not that name itself)."""
    return any(host == item.lower() or (item.startswith("*.") and host.endswith(item[1:].lower())) for item in patterns)
