"""Changes modes and times of files in a tool's scratch folder, and nowhere else (`supervisor`).

Landlock covers neither modes nor times, and a process may change both for all files of its user.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from tools.sandbox.supervisor import AT_FDCWD, Handler, Notice
from tools.sandbox.syscalls import NUMBERS

AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH = 0x100, 0x1000
PERMISSIONS, MODE_BITS = 0o777, 0o7777
TIMES_BYTES = 32
"""Size of two struct timespec."""


class Metadata:
    """Performs changes of modes and times in scratch.

    Args:
        scratch: the folder.
        own_filesystem: whether the folder is a file system of its own (`view`). If so, its files are recognised by
            their device, otherwise by their paths.
    """

    def __init__(self, scratch: str, *, own_filesystem: bool) -> None:
        self._scratch = scratch
        self._own_filesystem = own_filesystem

    def handlers(self) -> Mapping[int, Handler]:
        by_name = {
            "chmod": self._chmod,
            "fchmod": self._fchmod,
            "fchmodat": self._fchmodat,
            "fchmodat2": self._fchmodat,
            "utimensat": self._utimensat,
        }
        numbers = NUMBERS[os.uname().machine]
        return {numbers[name]: handler for name, handler in by_name.items() if name in numbers}

    def _chmod(self, notice: Notice) -> int:
        found = notice.located(AT_FDCWD, notice.path(notice.arguments[0]), follow=True)
        return self._set_mode(notice, found, notice.integer(1))

    def _fchmod(self, notice: Notice) -> int:
        return self._set_mode(notice, notice.duplicate(notice.integer(0)), notice.integer(1))

    def _fchmodat(self, notice: Notice) -> int:
        # The older call has no flags; its last argument is undefined.
        flags = notice.integer(3) if notice.call == NUMBERS[os.uname().machine]["fchmodat2"] else 0
        return self._set_mode(notice, self._named(notice, flags), notice.integer(2))

    def _utimensat(self, notice: Notice) -> int:
        flags = notice.integer(3)
        found = self._named(notice, flags) if notice.arguments[1] else notice.duplicate(notice.integer(0))
        place = notice.arguments[2]
        times = notice.memory(place, TIMES_BYTES) if place else None
        try:
            self._check(notice, found)
            path = f"/proc/self/fd/{found}".encode()
            libc = ctypes.CDLL(None, use_errno=True)
            return 0 if libc.utimensat(AT_FDCWD, path, times, 0) == 0 else ctypes.get_errno()
        finally:
            os.close(found)

    def _set_mode(self, notice: Notice, found: int, mode: int) -> int:
        """Changes the mode of a file. Takes ownership of the descriptor."""
        try:
            self._check(notice, found)
            mode &= MODE_BITS  # Java's File.setReadable passes the file's type too, which the kernel ignores
            if mode & ~PERMISSIONS:
                return errno.EPERM
            os.chmod(f"/proc/self/fd/{found}", mode)
            return 0
        finally:
            os.close(found)

    def _named(self, notice: Notice, flags: int) -> int:
        path = notice.path(notice.arguments[1])
        if not path and flags & AT_EMPTY_PATH:
            return notice.duplicate(notice.integer(0))
        return notice.located(notice.integer(0), path, follow=not flags & AT_SYMLINK_NOFOLLOW)

    def _check(self, notice: Notice, found: int) -> None:
        """Raises OSError unless the descriptor's file is in scratch."""
        if self._own_filesystem:
            inside = os.fstat(found).st_dev == os.stat(f"/proc/{notice.thread}/root{self._scratch}").st_dev
            notice.check()
        else:
            known = os.fstat(found)
            named_once = known.st_nlink == 1 or stat.S_ISDIR(known.st_mode)  # another hard link may be outside
            inside = named_once and Path(self._scratch) in Path(os.readlink(f"/proc/self/fd/{found}")).parents
        if not inside:
            raise OSError(errno.EPERM, "outside scratch")
