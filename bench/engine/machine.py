"""What the figures were taken on, whether it was quiet, and how to make it busy."""

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
"""Of all processors' time, what others may take."""
LOOK_S = 1.0
FLAGS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimd", "i8mm", "bf16")
PACKAGES = ("torch", "llguidance")


def cores() -> int:
    """Processors that this process may run on."""
    return len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else psutil.cpu_count() or 1


def describe(cpuinfo: Path = Path("/proc/cpuinfo"), packages: Sequence[str] = PACKAGES) -> str:
    """Processor, what it can do that matters here, memory, and the versions of what was measured."""
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
    """The first processor's fields; empty where there is no such file."""
    try:
        first = path.read_text().split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def noise(seconds: float = LOOK_S) -> str | None:
    """Why figures taken now would be wrong, None if the machine is quiet. Looks for some seconds, doing nothing.

    ``seconds`` is how long. Both what other processes take counts and what the hypervisor withholds.
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
    """Within, another process takes as much of one core as it is given."""
    child = subprocess.Popen([sys.executable, "-c", "print(flush=True)\nwhile True: pass"], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()  # it runs
        yield
    finally:
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()
