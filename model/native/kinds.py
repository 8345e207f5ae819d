"""The kinds of processors that the kernels are compiled for."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from flightloop.errors import ConfigError
from model.config import Kernels, ResolvedKernels


@dataclass(frozen=True)
class Kind:
    """Processors with the same instructions.

    Attributes:
        name: as in `ModelConfig.kernels`, and in the names of the library's functions.
        needed: features of the processor, in Linux's names.
        flags: the compiler's options for them.
    """

    name: ResolvedKernels
    needed: tuple[str, ...]
    flags: tuple[str, ...]


AVX2 = Kind("avx2", ("avx2", "fma", "f16c"), ("-mavx2", "-mfma", "-mf16c"))
"""Processors since 2013 (Intel Haswell) and 2015 (AMD Excavator)."""
KINDS = (
    AVX2,
    Kind("avx2_vnni", (*AVX2.needed, "avx_vnni"), (*AVX2.flags, "-mavxvnni")),
    Kind(
        "avx512",
        (*AVX2.needed, "avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni", "avx512vbmi"),
        (*AVX2.flags, *(f"-mavx512{each}" for each in ("f", "bw", "vl", "dq", "vnni", "vbmi"))),
    ),
)
"""From the slowest to the fastest. avx2_vnni: Intel's laptops since Alder Lake; avx512: Intel since Ice Lake, AMD since
Zen 4."""
TILES = Kind(
    "avx512",
    ("avx512_bf16", "amx_tile", "amx_int8", "amx_bf16"),
    ("-mavx512bf16", "-mamx-tile", "-mamx-int8", "-mamx-bf16"),
)
"""What avx512 uses in addition where the processor has it: Intel's servers since Sapphire Rapids."""


@lru_cache(maxsize=1)
def processor_flags() -> frozenset[str]:
    """This processor's features in Linux's names; empty on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2] for line in lines if line.startswith("flags")), "").split())


def compiler() -> str | None:
    """Path of a C++ compiler; None if there is none."""
    return next((path for name in ("g++", "clang++") if (path := shutil.which(name))), None)


def obstacle(kind: Kind) -> str | None:
    """The reason why this machine can't have a kind; None if it can."""
    lacked = [name for name in kind.needed if name not in processor_flags()]
    if lacked:
        return f"the processor lacks {', '.join(lacked)}"
    command = compiler()
    if command is None:
        return "there is no C++ compiler (g++ or clang++)"
    # A compiler that fails at all is told of when it compiles.
    return None if kind == AVX2 or _knows(command, kind.flags) else f"{command} doesn't know {' '.join(kind.flags)}"


@lru_cache
def _knows(command: str, flags: tuple[str, ...]) -> bool:
    asked = [command, *flags, "-fsyntax-only", "-x", "c++", "/dev/null"]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0


def available() -> tuple[Kind, ...]:
    """The kinds that this machine can have, from the slowest to the fastest."""
    return tuple(kind for kind in KINDS if obstacle(kind) is None)


def chosen(kernels: Kernels) -> Kind | None:
    """The kind to use: the configured one, or the fastest; None if this machine can have none.

    Raises:
        ConfigError: this machine can't have the configured kind.
    """
    there = available()
    if kernels == "auto":
        return there[-1] if there else None
    wanted = next(kind for kind in KINDS if kind.name == kernels)
    if reason := obstacle(wanted):
        able = ", ".join(kind.name for kind in there) or "none"
        raise ConfigError(f"kernels {kernels} are not possible: {reason}; this machine has {able}", param="kernels")
    return wanted
