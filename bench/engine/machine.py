"""Describes the machine, checks that it is quiet, and can make it busy."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import psutil

QUIET_SHARE = 0.05
"""Share of processor time that other processes may take."""
LOOK_S = 1.0
FLAGS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimd", "i8mm", "bf16")
PACKAGES = ("torch", "llguidance")


def cores() -> int:
    """Processors that this process may use."""
    return len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else psutil.cpu_count() or 1


def describe(cpuinfo: Path = Path("/proc/cpuinfo"), packages: Sequence[str] = PACKAGES) -> str:
    """Processor, its relevant features, memory, and versions of the measured packages."""
    fields = _cpuinfo(cpuinfo)
    flags = fields.get("flags", fields.get("Features", "")).split()
    memory = psutil.virtual_memory().total / 2**30
    parts = [
        f"{fields.get('model name', platform.processor() or platform.machine())}, {cores()} cores",
        " ".join(flag for flag in FLAGS if flag in flags),
        f"{memory:.0f} GiB",
        f"Python {platform.python_version()}",
        *(f"{package} {version(package)}" for package in packages),
    ]
    return "; ".join(part for part in parts if part)


def _cpuinfo(path: Path) -> dict[str, str]:
    """Fields of the first processor; empty without the file."""
    try:
        first = path.read_text().split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def noise(seconds: float = LOOK_S) -> str | None:
    """Observes the machine for ``seconds``. Returns why measurements would be disturbed; None if it is quiet.

    Counts CPU time of other processes, and time that the hypervisor withholds (steal).
    """
    times = psutil.cpu_times_percent(interval=seconds)
    stolen = getattr(times, "steal", 0.0) / 100
    taken = 1 - (times.idle + getattr(times, "iowait", 0.0)) / 100 - stolen
    problems = []
    if taken > QUIET_SHARE:
        problems.append(f"other processes take {taken:.0%} of the processors")
    if stolen > QUIET_SHARE / 2:
        problems.append(f"the hypervisor withholds {stolen:.0%}")
    return " and ".join(problems) or None


@contextmanager
def taken_core() -> Iterator[None]:
    """While the context is open, another process competes for one core."""
    child = subprocess.Popen([sys.executable, "-c", "print(flush=True)\nwhile True: pass"], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()  # wait until it runs
        yield
    finally:
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()
