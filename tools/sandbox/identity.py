"""OS users of tool hosts: if the worker runs as root, each host gets a separate user without an account."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from flightloop import private

PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 4, 24, 47, 4
CAPABILITY_VERSION_3 = 0x20080522
LAST_CAPABILITY = 63
CLONE_NEWUSER = 0x10000000
FIRST_ID, MOST_PROCESSES = 0x70000000, 1 << 22
SMALL_RANGE = 4096
"""Number of ids to use at the end of a container's small range of ids, which usually has 65536."""
MOST_ENTRIES = 20_000


@dataclass(frozen=True)
class Ids:
    """Ids for hosts: one group for all, and from the next id on a user per process id, so that live hosts differ."""

    group: int
    count: int

    def of(self, pid: int) -> int:
        return self.group + 1 + pid % self.count


def ids() -> Ids | None:
    """Ids for hosts; None if this process is not root, or its user namespace has too few users."""
    if os.geteuid() != 0:
        return None
    try:
        lines = Path("/proc/self/uid_map").read_text().splitlines()
    except OSError:
        return None
    ranges = [(int(first), int(count)) for first, _, count in map(str.split, lines)]
    if any(first <= FIRST_ID and first + count > FIRST_ID + MOST_PROCESSES for first, count in ranges):
        return Ids(FIRST_ID, MOST_PROCESSES - 1)
    first, count = max(ranges, key=lambda one: one[1], default=(0, 0))
    return Ids(first + count - SMALL_RANGE, SMALL_RANGE - 1) if count >= 4 * SMALL_RANGE else None


def mapped(uid: int, group: int) -> int:
    """Descriptor of a user namespace for ID-mapped mounts, in which root's files belong to these ids.

    Raises:
        OSError: this process may not create user namespaces.
    """
    ready, done = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        made = ctypes.CDLL(None).unshare(CLONE_NEWUSER)
        os.write(ready[1], bytes([made & 1]))
        os.close(done[1])
        os.read(done[0], 1)
        os._exit(0)
    try:
        if os.read(ready[0], 1) != b"\0":
            raise OSError(errno.EPERM, "user namespaces are not allowed here")
        for name, own in (("uid_map", uid), ("gid_map", group)):
            Path(f"/proc/{child}/{name}").write_text(f"0 {own} 1")
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        for descriptor in (*ready, *done):
            os.close(descriptor)
        os.waitpid(child, 0)


def become(uid: int, group: int) -> None:
    """Switches this root process to another user with a single group. Raises OSError."""
    _drop_bounding_set()
    os.setgroups([])
    os.setresgid(group, group, group)
    os.setresuid(uid, uid, uid)
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # otherwise its own /proc entries belong to root


def drop_capabilities() -> None:
    """Drops every capability, for this process and its children. Raises OSError."""

    class Header(ctypes.Structure):
        _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]

    libc = ctypes.CDLL(None, use_errno=True)
    _drop_bounding_set()
    libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    if libc.capset(ctypes.byref(Header(CAPABILITY_VERSION_3, 0)), (ctypes.c_uint32 * 6)()) != 0:
        raise OSError(ctypes.get_errno(), "capabilities can't be dropped")


def _drop_bounding_set() -> None:
    libc = ctypes.CDLL(None)
    for capability in range(LAST_CAPABILITY + 1):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)  # fails if there is nothing to drop


def share(folder: Path, group: int) -> None:
    """Lets hosts read and write a folder that belongs to root, by giving it and its content to the group of hosts.

    Skips files with several hard links, which a tool may have created, and everything after `MOST_ENTRIES`: a tool that
    creates many files must not keep others from starting, and tools' files belong to the group anyway.

    Raises:
        OSError: the folder can't be shared.
    """
    for opened in private.walk(folder, MOST_ENTRIES):
        _give(opened, group)


def share_databases() -> None:
    """Lets other hosts write databases that this one creates with ``sqlite3``. Irreversible.

    SQLite creates files with mode 0644, so that only the host that created a database could write to it. Therefore an
    empty file, which is a valid database, is created with mode 0660 before SQLite opens it.
    """
    sys.addaudithook(_make_database)


def _make_database(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "sqlite3.connect":
        return
    # Only if it doesn't exist: opening and closing a database in use would drop its locks.
    with suppress(OSError, TypeError, ValueError):
        path = _database(os.fsdecode(arguments[0]))
        if path:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o660))


def _database(name: str) -> str | None:
    """Path of a database, or of a URI that may create one; None if it isn't a file."""
    if not name.startswith("file:"):
        return name if name != ":memory:" else None
    uri = urlsplit(name)
    modes = parse_qs(uri.query).get("mode", ["rwc"])
    path = unquote(uri.path)
    return path if modes == ["rwc"] and path != ":memory:" else None


def _give(opened: int, group: int) -> None:
    now = os.fstat(opened)
    is_folder = stat.S_ISDIR(now.st_mode)
    if not is_folder and not (stat.S_ISREG(now.st_mode) and now.st_nlink == 1):
        return
    wanted = (now.st_mode & 0o7777) | (0o2770 if is_folder else 0o660)
    if now.st_gid != group:
        os.fchown(opened, -1, group)
    if now.st_mode & 0o7777 != wanted:
        os.fchmod(opened, wanted)
