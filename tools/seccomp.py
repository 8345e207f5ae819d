"""A seccomp filter as a list of refused system calls (Linux on x86-64 and arm64).

The filter is classic BPF over ``struct seccomp_data``: number at byte 0, architecture at 4, arguments from 16.
Source: linux/seccomp.h, linux/audit.h and the two architectures' unistd tables.
"""

from __future__ import annotations

import ctypes
import errno
import platform
from collections.abc import Iterable

LOAD, JUMP_EQUAL, JUMP_AT_LEAST, JUMP_BITS, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
CLONE_THREAD = 0x00010000
X32_BIT = 0x40000000

NUMBERS = {
    "x86_64": {
        "socket": 41, "clone": 56, "fork": 57, "vfork": 58, "execve": 59, "truncate": 76, "ptrace": 101, "unshare": 272,
        "setns": 308, "process_vm_readv": 310, "process_vm_writev": 311, "execveat": 322, "io_uring_setup": 425,
        "clone3": 435, "pidfd_getfd": 438,
    },
    "aarch64": {
        "truncate": 45, "unshare": 97, "ptrace": 117, "socket": 198, "clone": 220, "execve": 221, "setns": 268,
        "process_vm_readv": 270, "process_vm_writev": 271, "execveat": 281, "io_uring_setup": 425, "clone3": 435,
        "pidfd_getfd": 438,
    },
}  # fmt: skip
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

ALWAYS = ("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "io_uring_setup", "unshare", "setns")
"""Reaching into other processes, new namespaces, and the ring that makes sockets without ``socket``."""
NETWORK = ("socket",)
"""Every family: a UNIX socket may lead to a daemon that has the network. ``socketpair`` stays, asyncio needs it."""
FILES = ("truncate",)
"""Where Landlock can't refuse it yet (versions 1 and 2)."""
PROCESSES = ("fork", "vfork", "clone", "clone3", "execve", "execveat")
"""``clone`` is refused but for threads; ``clone3`` looks missing, so that the C library falls back to ``clone``."""


class _Instruction(ctypes.Structure):
    _fields_ = [("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint)]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.POINTER(_Instruction))]


def install(refused: Iterable[str]) -> None:
    """Refuses the named system calls to this process and all that come from it; can't be undone.

    Raises:
        OSError: the system or its architecture has no seccomp filters.
    """
    machine = platform.machine()
    if platform.system() != "Linux" or machine not in NUMBERS:
        raise OSError(errno.ENOSYS, f"no seccomp filter for {platform.system()} on {machine}")
    instructions = _filter(machine, refused)
    program = _Program(len(instructions), (_Instruction * len(instructions))(*instructions))
    libc = ctypes.CDLL(None, use_errno=True)
    for call in (
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0),
    ):
        if libc.prctl(*call) != 0:
            raise OSError(ctypes.get_errno(), "seccomp filters are not allowed here")


def _filter(machine: str, refused: Iterable[str]) -> list[_Instruction]:
    numbers = NUMBERS[machine]
    denied, missing = ERRNO | errno.EACCES, ERRNO | errno.ENOSYS
    program = [
        _Instruction(LOAD, 0, 0, ARCHITECTURE),
        _Instruction(JUMP_EQUAL, 1, 0, AUDIT[machine]),
        _Instruction(RETURN, 0, 0, KILL),  # 32-bit calls have other numbers: a way round the filter
        _Instruction(LOAD, 0, 0, NUMBER),
    ]
    if machine == "x86_64":
        program += [_Instruction(JUMP_AT_LEAST, 0, 1, X32_BIT), _Instruction(RETURN, 0, 0, denied)]
    names = [name for name in refused if name in numbers]
    for name in names:
        if name != "clone":
            answer = missing if name == "clone3" else denied
            program += [_Instruction(JUMP_EQUAL, 0, 1, numbers[name]), _Instruction(RETURN, 0, 0, answer)]
    if "clone" in names:  # last, since it loads the flags over the number
        program += [
            _Instruction(JUMP_EQUAL, 0, 3, numbers["clone"]),
            _Instruction(LOAD, 0, 0, FIRST_ARGUMENT),
            _Instruction(JUMP_BITS, 1, 0, CLONE_THREAD),
            _Instruction(RETURN, 0, 0, denied),
        ]
    return [*program, _Instruction(RETURN, 0, 0, ALLOW)]
