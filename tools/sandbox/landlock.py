"""Landlock: restricts the files that a process may read and write, enforced by the kernel (Linux 5.13 and later).

Source: linux/landlock.h. Newer versions of the interface know more kinds of access. All kinds that the running kernel
knows are denied unless allowed. They include TCP ``bind`` and ``connect`` (from version 4 on), and signals to processes
outside and abstract UNIX sockets (from version 6 on).
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

from tools.sandbox.opening import without_links

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
VERSION_FLAG, PATH_BENEATH, PR_SET_NO_NEW_PRIVS = 1, 1, 38
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, TRUNCATE, IOCTL_DEVICE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14, 1 << 15
READ = READ_FILE | READ_DIR
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEVICE
ACCESS_BY_VERSION = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
NETWORK_VERSION, BIND_AND_CONNECT = 4, 3
SCOPE_VERSION, SCOPE_SOCKETS_AND_SIGNALS = 6, 3


class _Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scope", ctypes.c_uint64)]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("access", ctypes.c_uint64), ("folder", ctypes.c_int32)]


def version() -> int:
    """The kernel's version of Landlock; 0 without it."""
    if sys.platform != "linux":
        return 0
    return max(0, int(ctypes.CDLL(None).syscall(CREATE_RULESET, None, 0, VERSION_FLAG)))


def restrict(
    readable: Iterable[Path], writable: Iterable[Path], listable: Iterable[Path] = (), *, execute: bool = False
) -> None:
    """Restricts this process and its children to these files and folders. Skips missing ones.

    Args:
        readable: paths that may be read and, with ``execute``, started as programs.
        writable: real paths that may be read, written, created and deleted, but not started.
        listable: folders that may be listed, with the folders in them.

    Raises:
        OSError: the kernel lacks Landlock or has it disabled, or a path in ``writable`` contains a symbolic link.
    """
    known = version()
    if not known:
        raise OSError(errno.ENOSYS, "this system has no Landlock")
    handled = ACCESS_BY_VERSION[min(known, max(ACCESS_BY_VERSION))]
    libc = ctypes.CDLL(None, use_errno=True)
    ruleset = _Ruleset(handled, BIND_AND_CONNECT, SCOPE_SOCKETS_AND_SIGNALS)
    size = ctypes.sizeof(_Ruleset) if known >= SCOPE_VERSION else 16 if known >= NETWORK_VERSION else 8
    made = _checked(libc, libc.syscall(CREATE_RULESET, ctypes.byref(ruleset), ctypes.c_size_t(size), 0))
    try:
        for path in readable:
            _allow(libc, made, path, (READ | EXECUTE if execute else READ) & handled)
        for path in listable:
            _allow(libc, made, path, READ_DIR & handled)
        for path in writable:
            _allow(libc, made, path, handled & ~EXECUTE, links=False)
        _checked(libc, libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _checked(libc, libc.syscall(RESTRICT_SELF, made, 0))
    finally:
        os.close(made)


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, access: int, *, links: bool = True) -> None:
    try:
        here = os.open(path, os.O_PATH | os.O_CLOEXEC) if links else without_links(path, os.O_PATH)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    try:
        is_folder = stat.S_ISDIR(os.fstat(here).st_mode)
        beneath = _PathBeneath(access if is_folder else access & OF_FILES, here)
        _checked(libc, libc.syscall(ADD_RULE, ruleset, PATH_BENEATH, ctypes.byref(beneath), 0))
    finally:
        os.close(here)


def _checked(libc: ctypes.CDLL, result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"Landlock: {os.strerror(number)}")
    return result
