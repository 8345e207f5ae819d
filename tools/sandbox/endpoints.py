"""Decides which hosts a tool may connect to, by the entries of ``@tool(hosts=…)``, and which it may never reach.

| entry | meaning |
|---|---|
| ``api.example.com`` | that host, on ports 80 and 443 |
| ``api.example.com:5432``, ``10.0.0.7:8080``, ``[fd00::7]:8080`` | that host or address, on that port |
| ``*``, ``*:8443`` | every public address, on ports 80 and 443, or on that port |
| ``*.example.com`` | same as ``*``: an address doesn't show the name, so the tool itself has to check the name |

The owner of a name can make it resolve to internal addresses. So a name without a port permits public addresses only,
and one with a port also private ones, but never link-local ones, where clouds serve their credentials. An address of
this machine needs an entry with the port, and is never permitted on a port of the platform.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace

from flightloop.egress import EgressEntry, is_address

ANY = "*"
TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
"""NAT64 prefix: IPv4 addresses as IPv6 addresses, for networks without IPv4 (RFC 6052)."""
RELAYS = ipaddress.ip_network("192.88.99.0/24")
"""Relays of 6to4, no longer used (RFC 7526)."""
REMEMBERED_S = 300.0
"""Seconds for which an address found for a name stays permitted: large sites return different ones each time."""
ASKED_AGAIN_S = 5.0

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def parse(entry: str) -> EgressEntry:
    """Parses an entry of an egress list, or one with ``*`` in place of the host.

    Raises:
        ValueError: the entry is invalid.
    """
    host, _, port = entry.strip().partition(":")
    if host != ANY:
        return EgressEntry.parse(entry)
    return replace(EgressEntry.parse(f"any:{port}" if port else "any"), host=ANY)


@dataclass
class Endpoints:
    """Decides about connections.

    Attributes:
        allowed: entries of the forms above.
        local: addresses of this machine; loopback always counts.
        reserved: the platform's ports on this machine.
        barred: the platform's addresses and ports elsewhere, such as its database's.
        nameservers: DNS servers, which may be queried over TCP if an entry is a name.
        is_platform: whether a process of the platform listens on a local port; called last.
        resolve: returns the addresses of a name.
    """

    allowed: tuple[EgressEntry, ...]
    local: Collection[Address] = ()
    reserved: Collection[int] = ()
    barred: Collection[tuple[str, int]] = ()
    nameservers: Collection[Address] = ()
    is_platform: Callable[[int], bool] = lambda port: False
    resolve: Callable[[str], Iterable[Address]] = lambda name: addresses_of(name)
    _seen: dict[tuple[str, Address], float] = field(default_factory=dict)
    _asked: dict[str, float] = field(default_factory=dict)

    def permits(self, address: Address, port: int) -> bool:
        """Whether a tool may connect to this address and port over TCP."""
        given, address = address, _plain(address)
        if port == 53 and address in self.nameservers and any(not is_address(one.host) for one in self.allowed):
            return True
        if self._is_local(given) or self._is_local(address):
            named = any(one.ports == {port} and self._names_local(one.host, address) for one in self.allowed)
            return named and port not in self.reserved and not self.is_platform(port)
        if any(port == other and self._is_at(host, address) for host, other in self.barred):
            return False
        return any(port in one.ports and self._may_lead(one, address) for one in self.allowed)

    def _may_lead(self, entry: EgressEntry, address: Address) -> bool:
        if is_address(entry.host) or _is_public(address):
            return self._is_at(entry.host, address)
        private = len(entry.ports) == 1 and address.is_private and not address.is_link_local
        return private and not entry.host.startswith(ANY) and self._is_at(entry.host, address)

    def _is_local(self, address: Address) -> bool:
        return address.is_loopback or address.is_unspecified or address in self.local

    @staticmethod
    def _names_local(host: str, address: Address) -> bool:
        return host == str(address) or (host == "localhost" and address.is_loopback)

    def _is_at(self, host: str, address: Address) -> bool:
        if is_address(host):
            return _plain(ipaddress.ip_address(host)) == address
        if host.startswith(ANY):
            return True
        now = time.monotonic()
        if now - self._asked.get(host, -ASKED_AGAIN_S) >= ASKED_AGAIN_S:
            self._asked[host] = now
            self._seen.update(dict.fromkeys(((host, one) for one in self.resolve(host)), now))
        return now - self._seen.get((host, address), -REMEMBERED_S) < REMEMBERED_S


def _plain(address: Address) -> Address:
    """The IPv4 address in an IPv4-mapped, NAT64 or 6to4 IPv6 address; otherwise the address itself."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in TRANSLATED:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address


def _is_public(address: Address) -> bool:
    site = isinstance(address, ipaddress.IPv6Address) and (address.is_site_local or address.teredo is not None)
    return address.is_global and not address.is_multicast and not site and address not in RELAYS


def addresses_of(name: str) -> set[Address]:
    """Addresses of a name; empty if it can't be resolved."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return set()
    return {ipaddress.ip_address(str(entry[4][0]).split("%")[0]) for entry in found}
