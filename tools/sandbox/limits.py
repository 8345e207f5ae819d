"""Resource limits of one process, and the kernel's way to count them for a whole host (cgroups)."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PREFIX = "flightloop-"
OUTER_TASKS = 80
"""Tasks of a host's outer process, which is in its group too: it makes connections in threads."""


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes, CPU in seconds; None: not limited."""

    memory: int
    file_size: int
    open_files: int
    processes: int | None = None
    cpu: int | None = None

    def apply(self) -> None:
        """Lowers this process's limits, hard and soft; they hold for what it starts too."""
        _lower(resource.RLIMIT_AS, self.memory)
        _lower(resource.RLIMIT_FSIZE, self.file_size)
        _lower(resource.RLIMIT_NOFILE, self.open_files)
        _lower(resource.RLIMIT_CORE, 0)
        if self.processes is not None:
            _lower(resource.RLIMIT_NPROC, self.processes)
        if self.cpu is not None:
            _lower(resource.RLIMIT_CPU, self.cpu, self.cpu + 1)  # SIGXCPU first, so that the reason can be told


def join_group(memory: int, processes: int, root: Path = ROOT) -> bool:
    """Puts this process, and so what it starts, into a group of its own with these limits together.

    Groups that killed workers left behind are removed on the way.

    Returns:
        False where this user may not make groups that limit memory.
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
    """Removes the group of a process that has ended; one that is not empty yet stays for the next start to remove."""
    with suppress(OSError):
        for parent in _hierarchies(root):
            (parent / f"{PREFIX}{pid}").rmdir()


def tasks_of(uid: int) -> int:
    """How many processes and threads a user has."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if folder.stat().st_uid == uid:
                total += len(os.listdir(folder / "task"))
    return total


def _hierarchies(root: Path) -> list[Path]:
    """Where groups are made, that of memory first: within this process's own groups (cgroup v1), or beside its own one,
    since with cgroup v2 a group with processes can't limit groups within it."""
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
