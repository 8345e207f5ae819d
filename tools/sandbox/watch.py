"""Ends a host that takes more than it may, where the kernel does not count for us.

Memory of all its processes together is counted by a cgroup, and scratch by a file system of its own; without them this
looks every so often, so that a little more may be taken for a moment.
"""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

EVERY_S = 0.1
PAGE_BYTES = resource.getpagesize()


@dataclass(frozen=True)
class Watch:
    """
    Attributes:
        pid: the child whose end ends the host.
        memory_bytes: of it and all that it started; None: not watched.
        scratch: its folder.
        scratch_bytes: what may lie there; None: not watched.
    """

    pid: int
    memory_bytes: int | None
    scratch: str
    scratch_bytes: int | None

    def run(self) -> str | None:
        """Returns, once it had to end the host, what the host took too much of; None when the host has ended."""
        while Path(f"/proc/{self.pid}").exists():
            taken = self._taken()
            if taken is not None:
                for pid in (self.pid, *below(self.pid)):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                return taken
            time.sleep(EVERY_S)
        return None

    def _taken(self) -> str | None:
        if self.memory_bytes is not None and sum(map(_memory, below(self.pid))) > self.memory_bytes:
            return "memory"
        if self.scratch_bytes is not None and _size(Path(self.scratch)) > self.scratch_bytes:
            return "scratch"
        return None


def below(pid: int) -> Iterator[int]:
    """The processes that descend from one."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in map(int, children):
        yield child
        yield from below(child)


def _memory(pid: int) -> int:
    """What a process has to itself, in bytes."""
    try:
        _, resident, shared, *_ = map(int, Path(f"/proc/{pid}/statm").read_text().split())
    except (OSError, ValueError):
        return 0
    return (resident - shared) * PAGE_BYTES


def _size(folder: Path) -> int:
    total = 0
    for where, _, files in os.walk(folder):
        for name in files:
            with suppress(OSError):
                total += os.lstat(os.path.join(where, name)).st_blocks * 512
    return total
