"""Entries of an egress list: which hosts may be reached, and on which ports.

``api.example.com`` stands for the web's ports 80 and 443, ``api.example.com:8443`` for that port alone.
``*.example.com`` is every name below ``example.com``, not that name itself. An IPv6 address with a port stands in
brackets.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

WEB_PORTS = frozenset({80, 443})
"""Ports of an entry that names none."""
_NAME = re.compile(r"(?:\*\.)?[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*")
_MOST_NAME = 1000
"""Characters that are brought into another form; no host has as many."""


@dataclass(frozen=True)
class EgressEntry:
    """One entry of a list.

    Args:
        host: as ``plain_host`` writes it, perhaps with ``*.`` before it.
        ports: those that it allows.
    """

    host: str
    ports: frozenset[int] = WEB_PORTS

    @classmethod
    def parse(cls, text: str) -> EgressEntry:
        """
        Raises:
            ValueError: it is neither ``host``, ``host:port`` nor either of them with ``*.`` before it.
        """
        host, port = _split(text.strip())
        name = plain_host(host)
        if not _NAME.fullmatch(name) and not is_address(name):
            raise ValueError(f"{text!r} is no host: write host, host:port, *.host, or an address; IPv6 as [::1]:8080")
        if port is None:
            return cls(name)
        if not (port.isascii() and port.isdecimal() and 1 <= int(port) <= 65_535):
            raise ValueError(f"{text!r} has no port from 1 to 65535 behind the colon")
        return cls(name, frozenset({int(port)}))

    def permits(self, host: str, port: int) -> bool:
        """Whether it allows this host, as ``plain_host`` writes it, on this port."""
        below = self.host.startswith("*.") and host.endswith(self.host[1:])
        return port in self.ports and (below or host == self.host)


def permits(entries: Iterable[str], host: str, port: int) -> bool:
    """Whether a list allows a host on a port; an entry that is none allows nothing."""
    name = plain_host(host)
    return any(entry.permits(name, port) for entry in _entries(entries))


def plain_host(host: str) -> str:
    """A host in the one form that entries are compared in: lower case, IDNA, addresses in their short form, neither
    brackets nor a dot at the end."""
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
    """``host:port``, as an entry would be written."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def shown(host: str, port: int) -> str:
    """An address for people: on the web's ports, the host alone."""
    return host if port in WEB_PORTS or not host else address_text(host, port)


def _entries(texts: Iterable[str]) -> Iterable[EgressEntry]:
    for text in texts:
        try:
            yield EgressEntry.parse(text)
        except ValueError:
            continue


def _split(text: str) -> tuple[str, str | None]:
    """Host and, behind a colon, the port. More than one colon without brackets is an IPv6 address alone."""
    if text.startswith("["):
        host, closed, rest = text.partition("]")
        if closed and (not rest or rest.startswith(":")):
            return host[1:], rest.removeprefix(":") if rest else None
        raise ValueError(f"{text!r} is no host: an IPv6 address with a port is written as [::1]:8080")
    if text.count(":") != 1:
        return text, None
    host, _, port = text.partition(":")
    return host, port


def is_address(host: str) -> bool:
    """Whether it is an IP address, without brackets and port."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
