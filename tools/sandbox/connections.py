"""Makes the connections of a tool's process from outside it, where `Endpoints` permits them.

The process's ``connect`` stops in the kernel (seccomp's user notification) until it is decided here, in the host's outer
process. The address is copied out of the process's memory once, checked, and connected to with a duplicate of its
socket: what the process changes meanwhile has no effect. Source: seccomp_unotify(2), pidfd_getfd(2).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import ipaddress
import os
import re
import select
import socket
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from tools.sandbox.endpoints import Address, Endpoint, Endpoints

RECEIVE, SEND, STILL_VALID = 0xC0502100, 0xC0182101, 0x40082102
PIDFD_OPEN, PIDFD_GETFD = 434, 438
PROCESS_VM_READV = {"x86_64": 310, "aarch64": 270}
LONGEST_ADDRESS = 128
MOST_AT_ONCE = 64
NOTICE = struct.Struct("QIIiIQ6Q")
"""struct seccomp_notif: id, thread, flags; then number, architecture, instruction pointer, six arguments."""
PLATFORM = re.compile(r"^ray::|/ray/|\bgcs_server\b|\braylet\b|-m (agent|dashboards)\b|\bserve run\b")
"""Command lines of the platform's processes. Ray takes ports as it goes, so they can't be listed beforehand."""
ANSWER = struct.Struct("QqiI")
"""struct seccomp_notif_resp: id, value, error, flags."""


def endpoints_of(hosts: Sequence[str], platform: Mapping[str, Any]) -> Endpoints:
    """What a host may reach on this machine and beyond.

    Args:
        hosts: entries that the tool or the policy names.
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


class Connector:
    """Answers the notices of one listener.

    Args:
        listener: descriptor that `seccomp.install` returned in the tool's process.
        endpoints: decides.
    """

    def __init__(self, listener: int, endpoints: Endpoints) -> None:
        self._listener = listener
        self._endpoints = endpoints
        self._room = threading.BoundedSemaphore(MOST_AT_ONCE)
        self._deciding = threading.Lock()

    def run(self) -> None:
        """Serves until the last process of the host has ended."""
        while True:
            notice = bytearray(NOTICE.size)
            try:
                fcntl.ioctl(self._listener, RECEIVE, notice)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.EINTR):  # the caller ended, or was interrupted
                    if error.errno == errno.ENOENT and not _alive(self._listener):
                        return
                    continue
                return
            self._room.acquire()
            threading.Thread(target=self._serve, args=(bytes(notice),), daemon=True).start()

    def _serve(self, notice: bytes) -> None:
        number, thread, _, _, _, _, descriptor, place, length, *_ = NOTICE.unpack(notice)
        try:
            error = self._connect(number, thread, descriptor, place, length)
        except OSError as problem:
            error = problem.errno or errno.EPERM
        except Exception:
            error = errno.EPERM
        finally:
            self._room.release()
        try:
            fcntl.ioctl(self._listener, SEND, ANSWER.pack(number, 0, -error, 0))
        except OSError:
            return  # it was interrupted, or has ended

    def _connect(self, number: int, thread: int, descriptor: int, place: int, length: int) -> int:
        """Returns the error number of the connection, 0 when it is made."""
        raw = _memory(thread, place, min(length, LONGEST_ADDRESS))
        fcntl.ioctl(self._listener, STILL_VALID, struct.pack("Q", number))  # it was that thread's memory
        target = _target(raw)
        if target is None:
            return errno.EAFNOSUPPORT
        address, port = target
        with self._deciding:
            permitted = self._endpoints.permits(address, port)
        if not permitted:
            return errno.EACCES
        with _socket(thread, descriptor) as connected:
            fcntl.ioctl(self._listener, STILL_VALID, struct.pack("Q", number))
            return _connected(connected, raw)


def _alive(listener: int) -> bool:
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    return not any(event & select.POLLHUP for _, event in poll.poll(0))


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


def _connected(connected: socket.socket, raw: bytes) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    return 0 if libc.connect(connected.fileno(), raw, len(raw)) == 0 else ctypes.get_errno()


def _socket(thread: int, descriptor: int) -> socket.socket:
    libc = ctypes.CDLL(None, use_errno=True)
    process = _checked(libc.syscall(PIDFD_OPEN, _process_of(thread), 0))
    try:
        return socket.socket(fileno=_checked(libc.syscall(PIDFD_GETFD, process, descriptor & 0xFFFFFFFF, 0)))
    finally:
        os.close(process)


def _process_of(thread: int) -> int:
    for line in Path(f"/proc/{thread}/status").read_text().splitlines():
        if line.startswith("Tgid:"):
            return int(line.split()[1])
    raise OSError(errno.ESRCH, f"no process has the thread {thread}")


def _memory(thread: int, place: int, length: int) -> bytes:
    class Range(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]

    buffer = ctypes.create_string_buffer(length)
    here, there = Range(ctypes.addressof(buffer), length), Range(place, length)
    libc = ctypes.CDLL(None, use_errno=True)
    call = PROCESS_VM_READV[os.uname().machine]
    one, none = ctypes.c_ulong(1), ctypes.c_ulong(0)
    count = _checked(libc.syscall(call, thread, ctypes.byref(here), one, ctypes.byref(there), one, none))
    return buffer.raw[:count]


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _parsed(hosts: Sequence[str]) -> Iterator[Endpoint]:
    for entry in hosts:
        with suppress(ValueError):  # a policy may hold other forms, which allow nothing here
            yield Endpoint.parse(entry)


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
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
            with suppress(psutil.Error):
                if PLATFORM.search(" ".join(psutil.Process(connection.pid).cmdline())):
                    return True
    return False
