"""Performs system calls for a tool's process from outside, after checking their arguments.

A call that seccomp answers with a notice blocks in the kernel until the host's outer process has decided. The memory
behind its arguments is copied once, checked, and used from that copy, so later changes by the process have no effect.
Source: seccomp_unotify(2), pidfd_getfd(2), openat2(2).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import select
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

RECEIVE, SEND, STILL_VALID = 0xC0502100, 0xC0182101, 0x40082102
PIDFD_OPEN, PIDFD_GETFD, OPENAT2 = 434, 438, 437
PROCESS_VM_READV = {"x86_64": 310, "aarch64": 270}
BENEATH, IN_ROOT = 0x08, 0x10
"""RESOLVE_* of linux/openat2.h."""
AT_FDCWD = -100
CONTINUE = 1
"""SECCOMP_USER_NOTIF_FLAG_CONTINUE."""
LONGEST_PATH = 4096
PAGE = 4096
MOST_AT_ONCE = 64
NOTICE = struct.Struct("QIIiIQ6Q")
"""struct seccomp_notif: id, thread, flags; then number, architecture, instruction pointer, six arguments."""
ANSWER = struct.Struct("QqiI")
"""struct seccomp_notif_resp: id, value, error, flags."""


@dataclass(frozen=True)
class Notice:
    """A pending system call. Every method raises OSError with the error number for the caller."""

    listener: int  # descriptor of the seccomp listener
    id: int
    thread: int  # id of the calling thread
    call: int  # number of the system call
    arguments: tuple[int, ...]  # six registers

    def check(self) -> None:
        """Raises OSError if the caller has ended, since its thread number may have been reused."""
        fcntl.ioctl(self.listener, STILL_VALID, struct.pack("Q", self.id))

    def integer(self, index: int) -> int:
        """An argument as the C type ``int``."""
        return ctypes.c_int(self.arguments[index] & 0xFFFFFFFF).value

    def memory(self, place: int, length: int) -> bytes:
        """A copy of ``length`` bytes of the caller's memory, or fewer if the mapped memory ends before."""

        class Range(ctypes.Structure):
            _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]

        buffer = ctypes.create_string_buffer(length)
        here, there = Range(ctypes.addressof(buffer), length), Range(place, length)
        one, none = ctypes.c_ulong(1), ctypes.c_ulong(0)
        read = PROCESS_VM_READV[os.uname().machine]
        count = _checked(_libc().syscall(read, self.thread, ctypes.byref(here), one, ctypes.byref(there), one, none))
        self.check()
        return buffer.raw[:count]

    def path(self, place: int) -> bytes:
        """The zero-terminated path at an address."""
        text = b""
        while len(text) < LONGEST_PATH:
            chunk = self.memory(place + len(text), PAGE - (place + len(text)) % PAGE)
            head, end, _ = chunk.partition(b"\0")
            text += head
            if end:
                return text
            if not chunk:
                break
        raise OSError(errno.ENAMETOOLONG, "the path has no end")

    def duplicate(self, descriptor: int) -> int:
        """A descriptor in this process for the same file as the caller's descriptor."""
        process = _checked(_libc().syscall(PIDFD_OPEN, self._process(), 0))
        try:
            found = _checked(_libc().syscall(PIDFD_GETFD, process, descriptor, 0))
        finally:
            os.close(process)
        self.check()
        return found

    def located(self, folder: int, path: bytes, *, follow: bool) -> int:
        """A descriptor (O_PATH) of a path from the caller's view, relative to one of its descriptors or AT_FDCWD.

        A relative path with ``..`` above its start, or through an absolute link, is an error (EXDEV): it would be
        resolved in this process's file system, and reveal that to the caller.
        """
        base = "root" if path.startswith(b"/") else "cwd" if folder == AT_FDCWD else f"fd/{folder}"
        start = os.open(f"/proc/{self.thread}/{base}", os.O_PATH | os.O_CLOEXEC)
        flags = os.O_PATH | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
        how = (ctypes.c_uint64 * 3)(flags, 0, IN_ROOT if base == "root" else BENEATH)
        try:
            self.check()
            return _checked(_libc().syscall(OPENAT2, start, path, ctypes.byref(how), ctypes.c_size_t(24)))
        finally:
            os.close(start)

    def _process(self) -> int:
        for line in Path(f"/proc/{self.thread}/status").read_text().splitlines():
            if line.startswith("Tgid:"):
                return int(line.split()[1])
        raise OSError(errno.ESRCH, "the caller has ended")


GO_ON = -1
Handler = Callable[[Notice], int]
"""Performs a call. Returns 0 for success or an error number, or raises OSError with one. Returns `GO_ON` to let the
kernel perform the call with the arguments in the caller's registers."""


class Supervisor:
    """Answers the notices of one listener.

    Args:
        listener: descriptor from `seccomp.install` in the tool's process.
        handlers: handlers by number of the system call.
    """

    def __init__(self, listener: int, handlers: Mapping[int, Handler]) -> None:
        self._listener = listener
        self._handlers = handlers
        self._room = threading.BoundedSemaphore(MOST_AT_ONCE)

    def run(self) -> None:
        """Runs until the last process of the host has ended."""
        while True:
            received = bytearray(NOTICE.size)
            try:
                fcntl.ioctl(self._listener, RECEIVE, received)
            except OSError as error:
                # ENOENT: the caller has ended; EINTR: interrupted.
                if error.errno not in (errno.ENOENT, errno.EINTR) or self._alone():
                    return
                continue
            self._room.acquire()
            threading.Thread(target=self._serve, args=(bytes(received),), daemon=True).start()

    def _serve(self, received: bytes) -> None:
        number, thread, _, call, _, _, *arguments = NOTICE.unpack(received)
        try:
            problem = self._handlers[call](Notice(self._listener, number, thread, call, tuple(arguments)))
        except OSError as error:
            problem = error.errno or errno.EPERM
        except Exception:  # a bug here must neither permit the call nor leave the caller waiting
            problem = errno.EPERM
        finally:
            self._room.release()
        try:
            answer = (0, CONTINUE) if problem == GO_ON else (-problem, 0)
            fcntl.ioctl(self._listener, SEND, ANSWER.pack(number, 0, *answer))
        except OSError:
            return  # the caller was interrupted, or has ended

    def _alone(self) -> bool:
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        return any(event & select.POLLHUP for _, event in poll.poll(0))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(result)
