"""Checks limits of a tool host that the kernel doesn't enforce.

A cgroup limits the memory of a host's processes together, and a separate file system limits its scratch folder. Without
them, the limits are checked at intervals, so that they may be exceeded for a moment.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tools.ending import below

EVERY_S = 0.1
BLOCK, KILOBYTE = 512, 1024
SOCKET_BYTES = 256 * 1024
"""Maximum amount of data that may wait in a socket, with buffers of the default size."""
MOST_QUEUES = 128
"""Maximum number of epoll instances. The kernel counts their watches per user, which may be the platform's too."""
MOST_FILES = 20_000
"""Like `view.SCRATCH_FILES`: counting more would take too long."""


@dataclass(frozen=True)
class Watch:
    """Watches a host.

    Attributes:
        pid: child of the host's outer process; its descendants are watched until it ends.
        memory_bytes: limit for all of them together; None: not watched.
        processes: limit of processes and threads; None: not watched.
        scratch: the host's scratch folder.
        scratch_bytes: limit of the folder; None: not watched.
    """

    pid: int
    memory_bytes: int | None
    processes: int | None
    scratch: str
    scratch_bytes: int | None

    def run(self) -> str | None:
        """Waits until the host exceeds a limit, and returns the limit's name; None if the host has ended."""
        while Path(f"/proc/{self.pid}").exists():
            taken = self._taken()
            if taken is not None:
                return taken
            time.sleep(EVERY_S)
        return None

    def _taken(self) -> str | None:
        host = [*below(self.pid)]
        if self.processes is not None and sum(len(_threads(pid)) for pid in host) > self.processes:
            return "processes"
        if _open(host, "anon_inode:[eventpoll]") > MOST_QUEUES:
            return "processes"
        if self.memory_bytes is not None:
            memory = sum(map(_memory, host)) + _open(host, "socket:") * SOCKET_BYTES
            if memory > self.memory_bytes:
                return "memory"
        if self.scratch_bytes is not None and _size(self.scratch) + _unnamed(host, self.scratch) > self.scratch_bytes:
            return "scratch"
        return None


def _threads(pid: int) -> list[str]:
    """Folders of a process's threads in proc(5). The process's own folder shows no memory and files once its main
    thread has ended, and threads may have file tables of their own."""
    try:
        return [f"/proc/{pid}/task/{thread}" for thread in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def _memory(pid: int) -> int:
    """Bytes of memory without a backing file. Shared memory counts for each process."""
    for thread in _threads(pid):
        with suppress(OSError):
            lines = Path(thread, "status").read_text().splitlines()
            fields = [line.split() for line in lines if line.startswith(("RssAnon:", "RssShmem:"))]
            if fields:
                return sum(int(value) for _, value, *_ in fields) * KILOBYTE
    return 0


def _open_files(host: Iterable[int]) -> Iterator[str]:
    for pid in host:
        for thread in _threads(pid):
            with suppress(OSError):
                for name in os.listdir(f"{thread}/fd"):
                    yield f"{thread}/fd/{name}"


def _open(host: Iterable[int], kind: str) -> int:
    """Number of open files of a kind, by the links in proc(5); a socket shared by several processes counts once."""
    found: list[str] = []
    for file in _open_files(host):
        with suppress(OSError):
            target = os.readlink(file)
            if target.startswith(kind):
                found.append(target)
    return len(set(found)) if kind == "socket:" else len(found)


def _size(folder: str) -> int:
    """Bytes on disk of a folder's content; overestimated if its files are too many or too deep to count."""
    total, files, waiting = 0, 0, [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    files += 1
                    total += entry.stat(follow_symlinks=False).st_blocks * BLOCK
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return sys.maxsize
        if files > MOST_FILES:
            return sys.maxsize
    return total


def _unnamed(host: Sequence[int], scratch: str) -> int:
    """Bytes of deleted scratch files that are still open or mapped."""
    found: dict[str, int] = {}
    for file in _open_files(host):
        with suppress(OSError):
            known = os.stat(file)
            if known.st_nlink == 0 and stat.S_ISREG(known.st_mode):
                found[str(known.st_ino)] = known.st_blocks * BLOCK
    for pid in host:
        for inode, size in _mapped(pid, scratch):
            found[inode] = max(found.get(inode, 0), size)
    return sum(found.values())


def _mapped(pid: int, scratch: str) -> Iterator[tuple[str, int]]:
    """Inode and bytes of each mapped file that was deleted from scratch."""
    for thread in _threads(pid):
        with suppress(OSError):
            for line in Path(thread, "maps").read_text().splitlines():
                if line.endswith(" (deleted)") and scratch in line:
                    (first, last), inode = (int(part, 16) for part in line.split()[0].split("-")), line.split()[4]
                    yield inode, last - first
