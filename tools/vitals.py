"""Process state of a tool host that calls must leave unchanged, read from /proc before the host is reused."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tools.ending import below

STATUS = (
    "Threads", "Umask", "Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp", "Cpus_allowed", "Mems_allowed", "SigIgn",
    "SigBlk",
)  # fmt: skip
STATUS_OF_CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
NICE, PRIORITY, POLICY = 18, 39, 40
"""Fields of /proc/PID/stat, counted from 0, one less than in proc(5)."""


@dataclass(frozen=True)
class Vitals:
    """Limits, identity, scheduling, working folder, threads and children of a process, as the kernel reports them."""

    limits: str
    status: tuple[str, ...]
    scheduling: tuple[str, ...]
    oom_score: str
    folder: str
    children: int

    @classmethod
    def of(cls, pid: int) -> Vitals | None:
        """Vitals of a process; None if it doesn't exist, or without /proc."""
        folder = Path(f"/proc/{pid}")
        try:
            lines = (folder / "status").read_text().splitlines()
            # The name before the last bracket may contain blanks.
            fields = ["", "", *(folder / "stat").read_text().rpartition(")")[2].split()]
            return cls(
                limits=(folder / "limits").read_text(),
                status=tuple(line for line in lines if line.split(":")[0] in (*STATUS, *STATUS_OF_CAPABILITIES)),
                scheduling=(fields[NICE], fields[PRIORITY], fields[POLICY]),
                oom_score=(folder / "oom_score_adj").read_text(),
                folder=os.readlink(folder / "cwd"),
                children=len([*below(pid)]),
            )
        except OSError:
            return None

    def changed(self, now: Vitals) -> str | None:
        """Name of the first field that differs; None if all are equal."""
        for name in ("limits", "status", "scheduling", "oom_score", "folder", "children"):
            if getattr(self, name) != getattr(now, name):
                return name
        return None


def inner_of(outer: int) -> int | None:
    """The process that serves a host's calls: the only child of its outer process's only child (`tools.child`)."""
    pid = outer
    for _ in range(2):
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            return None
        if not children:
            return None
        pid = int(children[0])
    return pid
