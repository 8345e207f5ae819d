"""Compiles the kernels once per processor and keeps the result.

They are plain C++ with AVX-512 intrinsics, compiled for the processor at hand in some three seconds; the file's name
holds a digest of the sources, the compiler and the processor's features, so that a change of any makes a new one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from flightloop.errors import ConfigError

SOURCES = Path(__file__).parent / "src"
FLAGS = ("-std=c++20", "-O3", "-march=native", "-fPIC", "-shared", "-pthread", "-Wall", "-Wextra")
NEEDED = ("avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni", "avx512_bf16")
"""Features of the processor (as Linux names them) that the kernels use: Intel since Sapphire Rapids, AMD since Zen 4."""


def obstacle() -> str | None:
    """Why the kernels can't be had here; None: they can."""
    missing = [name for name in NEEDED if name not in processor_flags()]
    if missing:
        return f"the processor lacks {', '.join(missing)}"
    if compiler() is None:
        return "no C++ compiler is installed (g++ or clang++; CXX names another)"
    return None


def processor_flags() -> frozenset[str]:
    """Linux's names of what this processor can do; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.split(":", 1)[1] for line in lines if line.startswith("flags")), "").split())


def compiler() -> str | None:
    """Path of the C++ compiler."""
    return next((path for name in (os.environ.get("CXX"), "g++", "clang++") if name and (path := shutil.which(name))), None)


def library(folder: Path) -> Path:
    """The shared library in ``folder``, compiled if it isn't there yet; safe in several processes at once.

    Raises:
        ConfigError: it can't be compiled.
    """
    command = compiler()
    if command is None:
        raise ConfigError(f"the kernels can't be compiled: {obstacle()}", param="dtype")
    target = folder / f"kernels-{_digest(command)}.so"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            made = Path(scratch) / target.name
            run = [command, *FLAGS, str(SOURCES / "decoder.cpp"), "-o", str(made)]
            result = subprocess.run(run, capture_output=True, text=True, check=False)
            if result.returncode:
                raise ConfigError(
                    f"the kernels can't be compiled, {command} says: {result.stderr.strip()[:500]}", param="dtype"
                )
            made.replace(target)  # atomic: whoever looks finds a whole file or none
    return target


def _digest(command: str) -> str:
    version = subprocess.run([command, "--version"], capture_output=True, text=True, check=False).stdout
    parts = [version, " ".join(FLAGS), " ".join(sorted(processor_flags()))]
    parts += [path.read_text() for path in sorted(SOURCES.iterdir())]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
