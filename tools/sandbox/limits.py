"""Resource limits of a process, and of a whole host by cgroups."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PREFIX = "flightloop-"
OUTER_TASKS = 80
"""Tasks of a host's outer process, which is in the same cgroup and makes connections in threads."""


@dataclass(frozen=True)
class Limits:
    """Limits of one process. Sizes are in bytes, CPU time is in seconds; None: unlimited."""

    memory: int  # address space
    file_size: int
    open_files: int  # file descriptors
    processes: int | None = None  # of the user
    cpu: int | None = None

    def apply(self) -> None:
        """Lowers this process's limits, soft and hard; its children inherit them."""
        _lower(resource.RLIMIT_AS, self.memory)
        _lower(resource.RLIMIT_FSIZE, self.file_size)
        _lower(resource.RLIMIT_NOFILE, self.open_files)
        _lower(resource.RLIMIT_CORE, 0)
        if self.processes is not None:
            _lower(resource.RLIMIT_NPROC, self.processes)
        if self.cpu is not None:
            _lower(resource.RLIMIT_CPU, self.cpu, self.cpu + 1)  # SIGXCPU comes first, so that the reason is known


def join_group(memory: int, processes: int, root: Path = ROOT) -> bool:
    """Puts this process and its children into a new cgroup with limits for all of them together.

    Also removes groups that killed workers left behind.

    Returns:
        False if this user may not create groups that limit memory.
    """
    limits = {
        "memory.max": str(memory),
        "memory.swap.max": "0",
        "memory.limit_in_bytes": str(memory),
        "pids.max": str(processes + OUTER_TASKS),
    }
    try:
        return [_joined(parent, limits) for parent in _hierarchies(root)][:1] == [True]
    except OSError:
        return False


def leave_group(pid: int, root: Path = ROOT) -> None:
    """Removes the cgroup of a process that has ended. If it isn't empty yet, the next `join_group` removes it."""
    with suppress(OSError):
        for parent in _hierarchies(root):
            (parent / f"{PREFIX}{pid}").rmdir()


def tasks_of(uid: int) -> int:
    """Number of a user's processes and threads."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if folder.stat().st_uid == uid:
                total += len(os.listdir(folder / "task"))
    return total


def _hierarchies(root: Path) -> list[Path]:
    """Folders in which to create groups, for memory first: this process's own group (cgroup v1), or the group above
    it, since in cgroup v2 a group that has processes can't limit subgroups."""
    own = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        own.update(dict.fromkeys(controllers.split(","), path.lstrip("/")))
    if (root / "cgroup.controllers").is_file():
        beside = root / own.get("", "")
        return [beside if beside == root else beside.parent]
    return [root / controller / own[controller] for controller in ("memory", "pids") if controller in own]


def _joined(parent: Path, limits: dict[str, str]) -> bool:
    group = parent / f"{PREFIX}{os.getpid()}"
    try:
        for old in parent.glob(f"{PREFIX}*"):
            with suppress(OSError):
                old.rmdir()
        group.mkdir(exist_ok=True)
        written = [(group / file).write_text(value) for file, value in limits.items() if (group / file).exists()]
        (group / "cgroup.procs").write_text(str(os.getpid()))
    except OSError:
        with suppress(OSError):
            group.rmdir()
        return False
    return bool(written)


def _lower(kind: int, soft: int, hard: int | None = None) -> None:
    now = resource.getrlimit(kind)[1]
    most = soft if hard is None else hard
    most = most if now == resource.RLIM_INFINITY else min(most, now)
    resource.setrlimit(kind, (min(soft, most), most))
