"""Puts a process into the sandbox, with the steps in the required order.

Several mechanisms protect each resource, so that a missing or faulty one opens nothing:

| resource | protected by |
|---|---|
| files | a mount namespace (`view`), Landlock, a separate user if the worker is root |
| metadata of files | read-only mounts, seccomp; `metadata` performs permitted changes in scratch |
| the network | a network namespace, seccomp; `connections` makes permitted connections |
| other processes | a PID namespace, Landlock (Linux 6.12), seccomp |
| limits and priorities | seccomp |

Seccomp is always required. Files also need a mount namespace or Landlock; seccomp alone can protect the rest.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tools.sandbox import identity, landlock, rules, seccomp
from tools.sandbox.limits import Limits, tasks_of
from tools.sandbox.reading import DEVICES
from tools.sandbox.view import CLONE_NEWNS, View

NAMESPACES, LANDLOCK, SECCOMP, GROUPS = "namespaces", "landlock", "seccomp", "cgroup"
USER = "user"
"""Listed in `Entered.in_force` if the process has a user of its own."""
MECHANISMS = (NAMESPACES, LANDLOCK, SECCOMP, GROUPS)
CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x08000000, 0x10000000, 0x20000000, 0x40000000
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
FLOOD = 1000


class SandboxError(Exception):
    """This system can't isolate a tool; the message says from what, and what to enable."""


@dataclass(frozen=True)
class Confinement:
    """Rights of a tool process, as data that is sent to it. Sizes are in bytes.

    Attributes:
        hosts: hosts that it may connect to, in the form of `endpoints`.
        subprocesses: whether it may start programs.
        readable: files and folders; with ``subprocesses``, programs in them may be started.
        system: files and folders of the operating system, of which only world-readable ones are accessible.
        listable: folders whose entries may be listed; with Landlock alone, also those of folders below them.
        writable: files and folders, by their real paths.
        scratch: the process's own empty folder, writable up to ``scratch_bytes``.
        limits: limits of each process.
        mechanisms: the `MECHANISMS` that may be used.
    """

    hosts: tuple[str, ...]
    subprocesses: bool
    readable: tuple[str, ...]
    system: tuple[str, ...]
    listable: tuple[str, ...]
    writable: tuple[str, ...]
    scratch: str
    scratch_bytes: int
    limits: Limits
    mechanisms: tuple[str, ...] = MECHANISMS

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Confinement:
        names = ("hosts", "readable", "system", "listable", "writable", "mechanisms")
        lists = {name: tuple(data[name]) for name in names}
        return cls(**{**data, **lists, "limits": Limits(**data["limits"])})

    def uses(self, mechanism: str) -> bool:
        return mechanism in self.mechanisms

    def prepare(self, host: int) -> Prepared:
        """Prepares namespaces in the middle process: a PID namespace for the next child and, for an ordinary user, the
        right to create others.

        Args:
            host: process id of the outer process.
        """
        ids = identity.ids()
        owner = (ids.of(host), ids.group) if ids else None
        if not self.uses(NAMESPACES) or sys.platform != "linux":
            return Prepared(False, owner)
        mapping = _mapping(owner)
        uid, gid = os.geteuid(), os.getegid()
        libc = ctypes.CDLL(None, use_errno=True)
        if uid == 0 and libc.unshare(CLONE_NEWPID) == 0:
            return Prepared(True, owner, mapping)
        if libc.unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0:
            return Prepared(False, owner)
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with suppress(OSError):
                Path(f"/proc/self/{name}").write_text(text)
        return Prepared(True, None)

    def enter(self, prepared: Prepared) -> Entered:
        """Enters the sandbox, in the inner process, before any code of a tool is loaded. Irreversible.

        Raises:
            SandboxError: the system lacks a required mechanism.
        """
        if not self.uses(SECCOMP) or not seccomp.available():
            raise SandboxError(
                "this system can't isolate tools from the platform's processes and files: seccomp filters are required "
                "(Linux on x86-64 or arm64), and the container must allow them"
            )
        owner = prepared.owner
        in_force = []
        if prepared.namespaces and self._see_only_what_is_named(prepared):
            in_force.append(NAMESPACES)
        landlocked = self.uses(LANDLOCK) and landlock.version() > 0
        if not in_force and not landlocked:
            raise SandboxError(
                "this system can't isolate tools from the platform's files: enable Landlock (Linux 5.13, in the "
                "kernel's list of security modules) or user namespaces"
            )
        self._limit(prepared.namespaces or owner is not None)
        if owner is not None:
            if NAMESPACES not in in_force:
                os.chown(self.scratch, *owner)
            identity.become(*owner)
            os.umask(0o007)  # group members are other hosts, which write to the same data folder
            identity.share_databases()
            in_force.append(USER)
            self._check_reach()
        identity.drop_capabilities()
        die_with_parent()  # again, since a change of user resets it
        if landlocked:
            listable = [*map(Path, self.listable)]
            try:
                landlock.restrict(self._readable(), self._writable(), listable, execute=self.subprocesses)
            except OSError as error:
                raise SandboxError(f"cannot restrict a tool's access to files: {error.strerror}") from None
            in_force.append(LANDLOCK)
        signals = prepared.namespaces or (landlocked and landlock.version() >= landlock.SCOPE_VERSION)
        os.chdir(self.scratch)
        filters = rules.of_host(
            network=bool(self.hosts), subprocesses=self.subprocesses, signals=signals, alone=prepared.namespaces
        )
        try:
            listener = seccomp.install(filters)
        except OSError as error:
            raise SandboxError(f"this system can't filter a tool's system calls: {error.strerror}") from None
        assert listener is not None  # of the calls in rules.METADATA
        return Entered((*in_force, SECCOMP), listener)

    def _see_only_what_is_named(self, prepared: Prepared) -> bool:
        """Creates namespaces for files, IPC and, without hosts, the network. Returns False if not permitted."""
        flags = CLONE_NEWNS | CLONE_NEWIPC | (0 if self.hosts else CLONE_NEWNET)
        if ctypes.CDLL(None, use_errno=True).unshare(flags) != 0:
            return False
        view = View(
            tuple(map(Path, self.readable)), tuple(map(Path, self.system)), tuple(map(Path, self.writable)),
            Path(self.scratch), self.scratch_bytes, DEVICES,
            prepared.owner or (os.geteuid(), os.getegid()), prepared.mapping,
        )  # fmt: skip
        try:
            view.enter()
            if prepared.mapping is not None:
                os.close(prepared.mapping)
        except OSError as error:
            raise SandboxError(f"cannot create a tool's file system: {error.strerror}") from None
        return True

    def _check_reach(self) -> None:
        for path in (sys.base_prefix, *self.writable):
            if not os.access(path, os.R_OK | os.X_OK):
                raise SandboxError(
                    f"the platform runs as root, so its tools run as separate users, and these can't reach {path}: "
                    "let all users enter the folders above it, allow mount namespaces, or run the platform as an "
                    "ordinary user"
                )

    def _limit(self, counted: bool) -> None:
        """Applies the limits. Unless ``counted``, the kernel counts all processes of the user, not only the host's. The
        process limit then only slows a fork bomb until `watch` ends the host."""
        limits = self.limits
        if not counted and limits.processes is not None:
            limits = replace(limits, processes=tasks_of(os.geteuid()) + FLOOD)
        limits.apply()

    def _readable(self) -> list[Path]:
        own = [Path("/proc")] if self._own_proc() else []
        return [*map(Path, (*self.readable, *self.system)), *own]

    def _own_proc(self) -> bool:
        """Whether this process is the first of its PID namespace, and /proc shows only that namespace."""
        return os.getpid() == 1 and Path("/proc/1/status").is_file()

    def _writable(self) -> list[Path]:
        return [*map(Path, self.writable), Path(self.scratch), *DEVICES]


def _mapping(owner: tuple[int, int] | None) -> int | None:
    if owner is None:
        return None
    try:
        return identity.mapped(*owner)
    except OSError:
        return None


@dataclass(frozen=True)
class Prepared:
    """Namespaces and identity that the middle process has prepared for the inner one.

    Attributes:
        namespaces: whether there is a PID namespace, so that others may be created.
        owner: user and group to which the inner process switches; None if it keeps its own.
        mapping: descriptor of a user namespace, for `View.ids`.
    """

    namespaces: bool
    owner: tuple[int, int] | None
    mapping: int | None = None


@dataclass(frozen=True)
class Entered:
    """State of a process in the sandbox.

    Attributes:
        in_force: active `MECHANISMS`, and ``user`` if the process has a user of its own.
        listener: descriptor for `supervisor.Supervisor`.
    """

    in_force: tuple[str, ...]
    listener: int


def adopt_orphans(adopt: bool = True) -> None:
    """Makes this process a child subreaper: orphaned descendants become its children, so that they can be found."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(adopt), 0, 0, 0)


def die_with_parent(parent: int | None = None, by: signal.Signals = signal.SIGKILL) -> None:
    """Makes the kernel signal this process when its parent's thread ends. Exits at once if the parent, process
    ``parent``, has already ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, by, 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os._exit(1)
