"""Compiles a list of rules to a seccomp filter (Linux on x86-64 and arm64).

The filter is classic BPF over ``struct seccomp_data``: number at byte 0, architecture at 4, arguments from 16. System
calls without a rule are allowed, except those newer than `syscalls.NEWEST`, which fail with ENOSYS.
Source: linux/seccomp.h and seccomp(2).
"""

from __future__ import annotations

import ctypes
import errno
import platform
from collections.abc import Sequence
from dataclasses import dataclass

from tools.sandbox.syscalls import AUDIT, NEWEST, NUMBERS, SECCOMP

LOAD, AND, RETURN = 0x20, 0x54, 0x06
JUMP_EQUAL, JUMP_ABOVE, JUMP_AT_LEAST, JUMP_BITS = 0x15, 0x25, 0x35, 0x45
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16
PR_SET_NO_NEW_PRIVS = 38
SET_MODE_FILTER, NEW_LISTENER = 1, 1 << 3
X32_BIT = 0x40000000

ALLOW, KILL, NOTIFY, _ERRNO = 0x7FFF0000, 0x80000000, 0x7FC00000, 0x00050000
DENY = _ERRNO | errno.EACCES
MISSING = _ERRNO | errno.ENOSYS
IGNORED = _ERRNO | 0
"""Skips the call, but reports success to the caller."""
UNSUPPORTED = _ERRNO | errno.EOPNOTSUPP


@dataclass(frozen=True)
class Equal:
    """Condition: the lower 32 bits of an argument, masked, equal a value."""

    argument: int
    value: int
    mask: int = 0xFFFFFFFF


@dataclass(frozen=True)
class AnyBit:
    """Condition: at least one bit of the mask is set in the lower 32 bits of an argument."""

    argument: int
    mask: int


@dataclass(frozen=True)
class NotNull:
    """Condition: a 64-bit argument, a pointer, is not zero."""

    argument: int


@dataclass(frozen=True)
class Rule:
    """Answer to a system call if all conditions hold. The first matching rule decides."""

    call: str
    answer: int = DENY
    when: tuple[Equal | AnyBit | NotNull, ...] = ()


class _Instruction(ctypes.Structure):
    _fields_ = [("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint)]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.POINTER(_Instruction))]


def available() -> bool:
    """Whether this system has seccomp filters for its architecture."""
    return platform.system() == "Linux" and platform.machine() in NUMBERS


def install(rules: Sequence[Rule]) -> int | None:
    """Applies the rules to this process and its descendants. Irreversible.

    Returns:
        The descriptor for calls answered with `NOTIFY`; None without such a rule.

    Raises:
        OSError: no seccomp filters on this system or architecture.
    """
    if not available():
        raise OSError(errno.ENOSYS, f"no seccomp filter for {platform.system()} on {platform.machine()}")
    machine = platform.machine()
    instructions = _filter(machine, rules)
    program = _Program(len(instructions), (_Instruction * len(instructions))(*instructions))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "PR_SET_NO_NEW_PRIVS is not allowed here")
    notified = any(rule.answer == NOTIFY for rule in rules)
    flags = NEW_LISTENER if notified else 0
    result = int(libc.syscall(SECCOMP[machine], SET_MODE_FILTER, flags, ctypes.byref(program)))
    if result < 0:
        raise OSError(ctypes.get_errno(), "seccomp filters are not allowed here")
    return result if notified else None


def _filter(machine: str, rules: Sequence[Rule]) -> list[_Instruction]:
    numbers = NUMBERS[machine]
    program = [
        _Instruction(LOAD, 0, 0, ARCHITECTURE),
        _Instruction(JUMP_EQUAL, 1, 0, AUDIT[machine]),
        _Instruction(RETURN, 0, 0, KILL),  # 32-bit calls have other numbers and would bypass the filter
        _Instruction(LOAD, 0, 0, NUMBER),
    ]
    if machine == "x86_64":
        program += [_Instruction(JUMP_AT_LEAST, 0, 1, X32_BIT), _Instruction(RETURN, 0, 0, DENY)]
    program += [_Instruction(JUMP_ABOVE, 0, 1, NEWEST), _Instruction(RETURN, 0, 0, MISSING)]
    for rule in rules:
        if rule.call in numbers:
            program += _block(numbers[rule.call], rule)
    return [*program, _Instruction(RETURN, 0, 0, ALLOW)]


def _block(number: int, rule: Rule) -> list[_Instruction]:
    """Instructions of one rule; the call's number is loaded before and after."""
    hit = _Instruction(RETURN, 0, 0, rule.answer)
    if not rule.when:
        return [_Instruction(JUMP_EQUAL, 0, 1, number), hit]
    body: list[_Instruction] = []
    for condition in reversed(rule.when):
        body = [*_test(condition, past=len(body) + 1), *body]
    block = [*body, hit, _Instruction(LOAD, 0, 0, NUMBER)]
    return [_Instruction(JUMP_EQUAL, 0, len(block), number), *block]


def _test(condition: Equal | AnyBit | NotNull, past: int) -> list[_Instruction]:
    """Instructions that continue if the condition holds, and otherwise skip ``past`` further instructions."""
    low = ARGUMENTS + 8 * condition.argument
    load = _Instruction(LOAD, 0, 0, low)
    match condition:
        case Equal(_, value, mask):
            return [load, _Instruction(AND, 0, 0, mask), _Instruction(JUMP_EQUAL, 0, past, value)]
        case AnyBit(_, mask):
            return [load, _Instruction(JUMP_BITS, 0, past, mask)]
        case NotNull():
            high = _Instruction(LOAD, 0, 0, low + 4)
            return [load, _Instruction(JUMP_EQUAL, 0, 2, 0), high, _Instruction(JUMP_EQUAL, past, 0, 0)]
