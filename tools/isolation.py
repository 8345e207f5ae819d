"""What a tool's process may not do, and how the kernel is made to see to it.

A tool without the network permission needs a network namespace or a seccomp filter, and gets both where both are
offered. A PID namespace comes with the first: its processes die with its first process, even those that left the
process group.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Collection
from dataclasses import dataclass

from flightloop.tool import Permission, ToolSpec
from tools import seccomp

CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x08000000, 0x10000000, 0x20000000, 0x40000000
PR_SET_PDEATHSIG = 1
CAPABILITY_VERSION_3 = 0x20080522


class IsolationError(Exception):
    """The system offers no way to keep a process from what it may not do."""


@dataclass(frozen=True, order=True)
class Isolation:
    """What the processes of one class may do; tools with the same rights share hosts."""

    network: bool
    subprocesses: bool

    @classmethod
    def of(cls, spec: ToolSpec) -> Isolation:
        return cls(Permission.NETWORK in spec.permissions, Permission.SUBPROCESS in spec.permissions)

    def __str__(self) -> str:
        return f"network={'yes' if self.network else 'no'} subprocesses={'yes' if self.subprocesses else 'no'}"


@dataclass(frozen=True)
class Limits:
    """Resource limits of one process; sizes in bytes, CPU in seconds."""

    memory: int
    file_size: int
    open_files: int
    processes: int | None = None
    cpu: int | None = None

    def apply(self) -> None:
        _lower(resource.RLIMIT_AS, self.memory)
        _lower(resource.RLIMIT_FSIZE, self.file_size)
        _lower(resource.RLIMIT_NOFILE, self.open_files)
        _lower(resource.RLIMIT_CORE, 0)
        if self.processes is not None:
            _lower(resource.RLIMIT_NPROC, self.processes)
        if self.cpu is not None:
            _lower(resource.RLIMIT_CPU, self.cpu, self.cpu + 1)  # SIGXCPU first, so that the reason can be told


def enter_namespaces(isolation: Isolation) -> bool:
    """Moves this single-threaded process into namespaces of its own; its next child is first in the PID namespace.

    Returns False where the system doesn't allow that to this user.
    """
    if sys.platform != "linux":
        return False
    flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWIPC | (0 if isolation.network else CLONE_NEWNET)
    uid, gid = os.geteuid(), os.getegid()
    if ctypes.CDLL(None, use_errno=True).unshare(flags) != 0:
        return False
    # Without the maps the process has no name for its own user, and file servers refuse it.
    try:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    except OSError:
        pass
    return True


def install_filter(isolation: Isolation) -> bool:
    """Refuses system calls by seccomp; False where the system has none."""
    refused = [*seccomp.ALWAYS]
    refused += [] if isolation.network else seccomp.NETWORK
    refused += [] if isolation.subprocesses else seccomp.PROCESSES
    try:
        seccomp.install(refused)
    except OSError:
        return False
    return True


def require(isolation: Isolation, in_force: Collection[str]) -> None:
    """Raises IsolationError if a process without the network permission could reach the network."""
    if not isolation.network and not in_force:
        raise IsolationError(
            "this system can't keep a tool from the network (neither user namespaces nor seccomp filters are "
            "available or allowed): enable one of them, or declare the tool with permissions=('network',)"
        )


def die_with_parent(parent: int | None = None) -> None:
    """SIGKILL for this process when its parent's thread ends; with ``parent``, also if that has happened already.

    To be called after `enter_namespaces`: the kernel forgets the signal when a process gains capabilities.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def drop_capabilities() -> None:
    """Gives up the powers that a user namespace brings within itself."""

    class Header(ctypes.Structure):
        _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(ctypes.byref(Header(CAPABILITY_VERSION_3, 0)), (ctypes.c_uint32 * 6)()) != 0:
        raise OSError(ctypes.get_errno(), "capabilities can't be dropped")


def _lower(kind: int, soft: int, hard: int | None = None) -> None:
    now = resource.getrlimit(kind)[1]
    most = soft if hard is None else hard
    most = most if now == resource.RLIM_INFINITY else min(most, now)
    resource.setrlimit(kind, (min(soft, most), most))
