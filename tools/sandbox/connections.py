"""Makes connections for a tool's process, if `Endpoints` permits them (`supervisor`)."""

from __future__ import annotations

import ctypes
import errno
import ipaddress
import os
import re
import socket
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from flightloop.egress import EgressEntry
from tools.sandbox.endpoints import Address, Endpoints, parse
from tools.sandbox.supervisor import Notice

LONGEST_ADDRESS = 128
PLATFORM = re.compile(r"^ray::|/ray/|\bgcs_server\b|\braylet\b|-m (agent|dashboards)\b|\bserve run\b")
"""Command lines of the platform's processes. Ray picks ports at run time, so they can't be listed in advance."""


class Connections:
    """Performs ``connect`` for a tool's process.

    Args:
        endpoints: decides which connections are permitted.
    """

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self._deciding = threading.Lock()

    def connect(self, notice: Notice) -> int:
        """Performs ``connect(descriptor, address, length)`` with a duplicate of the caller's socket."""
        raw = notice.memory(notice.arguments[1], min(notice.arguments[2] & 0xFFFFFFFF, LONGEST_ADDRESS))
        target = _target(raw)
        if target is None:
            return errno.EAFNOSUPPORT
        with self._deciding:
            permitted = self._endpoints.permits(*target)
        if not permitted:
            return errno.EACCES
        descriptor = notice.duplicate(notice.integer(0))
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            return 0 if libc.connect(descriptor, raw, len(raw)) == 0 else ctypes.get_errno()
        finally:
            os.close(descriptor)


def endpoints_of(hosts: Sequence[str], platform: Mapping[str, Any]) -> Endpoints:
    """Endpoints that a tool host may reach, on this machine and elsewhere.

    Args:
        hosts: entries of the tool or the policy.
        platform: ``reserved`` ports of this machine, and ``barred`` hosts and ports elsewhere.
    """
    return Endpoints(
        allowed=tuple(_parsed(hosts)),
        local=frozenset(_local_addresses()),
        reserved=frozenset(platform["reserved"]),
        barred=tuple((host, port) for host, port in platform["barred"]),
        nameservers=frozenset(_nameservers()),
        is_platform=_held_by_platform,
    )


def _target(raw: bytes) -> tuple[Address, int] | None:
    """Address and port of a struct sockaddr; None for other families than IP."""
    if len(raw) < 16:
        return None
    (family,) = struct.unpack_from("H", raw)
    (port,) = struct.unpack_from("!H", raw, 2)
    if family == socket.AF_INET:
        return ipaddress.IPv4Address(raw[4:8]), port
    if family == socket.AF_INET6 and len(raw) >= 24:
        return ipaddress.IPv6Address(raw[8:24]), port
    return None


def _parsed(hosts: Sequence[str]) -> Iterator[EgressEntry]:
    for entry in hosts:
        with suppress(ValueError):  # a policy may have entries of other forms, which tools can't use
            yield parse(entry)


def _local_addresses() -> Iterator[Address]:
    for entries in psutil.net_if_addrs().values():
        for entry in entries:
            with suppress(ValueError):
                yield ipaddress.ip_address(entry.address.split("%")[0])


def _nameservers() -> Iterator[Address]:
    with suppress(OSError):
        for line in Path("/etc/resolv.conf").read_text().splitlines():
            words = line.split()
            if len(words) > 1 and words[0] == "nameserver":
                with suppress(ValueError):
                    yield ipaddress.ip_address(words[1].split("%")[0])


def _held_by_platform(port: int) -> bool:
    """Whether a process of the platform listens on a local port."""
    for connection in psutil.net_connections("tcp"):
        here = connection.laddr
        if connection.status == psutil.CONN_LISTEN and here and here.port == port and connection.pid:
            with suppress(psutil.Error):
                if PLATFORM.search(" ".join(psutil.Process(connection.pid).cmdline())):
                    return True
    return False
