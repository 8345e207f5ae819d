"""Entries of an egress list: allowed hosts and ports.

``api.example.com`` allows the web ports 80 and 443, ``api.example.com:8443`` that port only. ``*.example.com`` allows
all subdomains of ``example.com``, but not that name itself. An IPv6 address with a port is written in brackets.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

WEB_PORTS = frozenset({80, 443})
"""Ports of an entry without a port."""
_NAME = re.compile(r"(?:\*\.)?[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*")
_MOST_NAME = 1000
"""Longest name that is normalised; no host name is longer."""


@dataclass(frozen=True)
class EgressEntry:
    """One entry of an egress list.

    Args:
        host: normalised by ``plain_host``, optionally with ``*.`` before it.
        ports: allowed ports.
    """

    host: str
    ports: frozenset[int] = WEB_PORTS

    @classmethod
    def parse(cls, text: str) -> EgressEntry:
        """Parses an entry.

        Raises:
            ValueError: the text is neither ``host`` nor ``host:port``, with or without ``*.`` before it.
        """
        host, port = _split(text.strip())
        name = plain_host(host)
        if not _NAME.fullmatch(name) and not is_address(name):
            raise ValueError(f"{text!r} is not a host: use host, host:port, *.host, or an address; IPv6 as [::1]:8080")
        if port is None:
            return cls(name)
        if not (port.isascii() and port.isdecimal() and 1 <= int(port) <= 65_535):
            raise ValueError(f"{text!r}: the port after the colon must be 1 to 65535")
        return cls(name, frozenset({int(port)}))

    def permits(self, host: str, port: int) -> bool:
        """Whether the entry allows a host, normalised by ``plain_host``, on a port."""
        below = self.host.startswith("*.") and host.endswith(self.host[1:])
        return port in self.ports and (below or host == self.host)


def permits(entries: Iterable[str], host: str, port: int) -> bool:
    """Whether a list allows a host on a port; invalid entries allow nothing."""
    name = plain_host(host)
    return any(entry.permits(name, port) for entry in _entries(entries))


def plain_host(host: str) -> str:
    """Normalises a host for comparison: lower case, IDNA, short form of addresses, no brackets, no trailing dot."""
    name = host.rstrip(".").lower().removeprefix("[").removesuffix("]")
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return name if name.isascii() or len(name) > _MOST_NAME else name.encode("idna").decode()
    except UnicodeError:
        return name


def address_text(host: str, port: int) -> str:
    """``host:port`` in the format of an entry."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def shown(host: str, port: int) -> str:
    """Host and port for display; the port is omitted if it is a web port."""
    return host if port in WEB_PORTS or not host else address_text(host, port)


def _entries(texts: Iterable[str]) -> Iterable[EgressEntry]:
    for text in texts:
        try:
            yield EgressEntry.parse(text)
        except ValueError:
            continue


def _split(text: str) -> tuple[str, str | None]:
    """Host, and the port after a colon. Several colons without brackets are an IPv6 address without port."""
    if text.startswith("["):
        host, closed, rest = text.partition("]")
        if closed and (not rest or rest.startswith(":")):
            return host[1:], rest.removeprefix(":") if rest else None
        raise ValueError(f"{text!r} is not a host: write an IPv6 address with a port as [::1]:8080")
    if text.count(":") != 1:
        return text, None
    host, _, port = text.partition(":")
    return host, port


def is_address(host: str) -> bool:
    """Whether the host is an IP address, without brackets and port."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
