"""Hosts that a text names, and whether a policy lets them be reached."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

import regex

from flightloop.egress import permits, plain_host
from guardrails.finders import not_after

_GAP = r"[\t\r\n]*"  # what browsers leave out of an address
_SCHEME = "|".join(_GAP.join(scheme) for scheme in ("https?", "wss?", "ftp")).replace("s" + _GAP + "?", "s?")
_TARGET = r"(?=[/\\hwf])(?<=(?:\]\(|\]:|=|,|url\(|@import)[\s<>\"']*)"
"""Before what Markdown, HTML and CSS follow; within a quotation a line begins with its sign."""
_SLASHES = rf"[/\\](?:{_GAP}[/\\]){{1,3}}"
START = rf"(?:(?:https?|wss?|ftp)\\?:[/\\]{{1,4}}|{_TARGET}(?:{_SLASHES}|(?:{_SCHEME}){_GAP}:(?:{_GAP}[/\\]){{0,4}}))"
MOST_CHARS = 2000
"""Of a link after its scheme and user."""
_USER = rf"(?:[^\s/?#\"<]{{0,{MOST_CHARS}}}@)?"
"""Whatever stands before an @ is no host, even where a text would end a link there."""
BODY = rf"[^\s<>\"'`^{{|}}]{{1,{MOST_CHARS}}}+"
URL = not_after(r"\w+.-") + START + _USER + BODY
BARE = regex.compile(
    not_after(r"\w@.-") + r"(?:www\.(?:[\w-]{1,63}\.)+[^\W\d_]{2,24}|\d{1,3}(?:\.\d{1,3}){3})(?::\d+)?(?![\w.-]*@)"
)
DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443, "ftp": 21}
_URL = regex.compile(URL, regex.IGNORECASE)

Address = tuple[str, int]
"""A host, as ``flightloop.egress.plain_host`` writes it, and a port."""


def addresses_of(url: str) -> frozenset[Address]:
    """The addresses that a client might connect to: two where clients disagree about a backslash.

    ``http://good.com@evil.com`` goes to evil.com; a name that isn't ASCII is compared in its IDNA
    form, so that a look-alike is another host. What is no URL has the host "".
    """
    return frozenset({_address_of(url), _address_of(url.replace("\\", "/"))})


def addresses_in(text: str) -> frozenset[Address]:
    """Addresses of all URLs in a text, and of bare ``www.`` names and IPv4 addresses: where nothing names a port, it is
    that of HTTPS."""
    found = frozenset().union(*(addresses_of(match.group()) for match in _URL.finditer(text)))
    hosts = {host for host, _ in found}
    bare = [match.group() for match in BARE.finditer(text)]  # also within URLs, whose own host is known with its port
    others = [addresses_of("https://" + each) for each in bare if ":" in each or plain_host(each) not in hosts]
    return found.union(*others)


def is_url(text: str) -> bool:
    """Whether a text is one URL and nothing else."""
    return _URL.fullmatch(text.strip()) is not None


def hosts_of(url: str) -> frozenset[str]:
    """As ``addresses_of``, without the ports."""
    return frozenset(host for host, _ in addresses_of(url))


def hosts_in(text: str) -> frozenset[str]:
    """As ``addresses_in``, without the ports."""
    return frozenset(host for host, _ in addresses_in(text))


def permitted(host: str, entries: Iterable[str], port: int = 443) -> bool:
    """Whether a policy's egress list allows a host on a port (``flightloop.egress``)."""
    return permits(entries, host, port)


def _address_of(url: str) -> Address:
    try:
        parts = urlsplit(f"https://{url}" if url[:4].lower() == "www." else url)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme.lower(), 0)
    except ValueError:
        return "", 0
    return plain_host(parts.hostname or ""), port
