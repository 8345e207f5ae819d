"""Compiles the kernels, once per processor and compiler.

They are plain C++ with AVX-512 intrinsics; g++ needs some three seconds. The file's name holds a digest of the sources,
the compiler and the processor's features, so that a change of any makes a new file.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

from flightloop.errors import ConfigError

SOURCES = Path(__file__).parent / "src"
FLAGS = ("-std=c++20", "-O3", "-march=native", "-fPIC", "-shared", "-pthread", "-Wall", "-Wextra")
NEEDED = ("avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni", "avx512_bf16", "avx512vbmi")
"""Features that the kernels use, as Linux names them: Intel's servers since Sapphire Rapids, AMD's since Zen 4."""


@lru_cache(maxsize=1)
def processor_flags() -> frozenset[str]:
    """Linux's names of what this processor can do; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2] for line in lines if line.startswith("flags")), "").split())


def compiler() -> str | None:
    """Path of the C++ compiler."""
    return next((path for name in ("g++", "clang++") if (path := shutil.which(name))), None)


def compiled(cache: Path) -> Path:
    """The shared library in the folder ``cache``, made if it isn't there yet; safe in several processes at once.

    Raises:
        ConfigError: it can't be compiled, or not be kept there.
    """
    command = compiler()
    if command is None:
        raise ConfigError("the kernels can't be compiled: there is no C++ compiler (g++ or clang++)", param="dtype")
    target = cache / f"kernels-{_digest(command)}.so"
    if not target.exists():
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                # Moved when it is whole: whoever looks finds all of it or nothing.
                _compile(command, Path(scratch) / target.name).replace(target)
        except OSError as error:
            raise ConfigError(f"the compiled kernels can't be kept in {cache}: {error}", param="cache") from error
    return target


def _compile(command: str, target: Path) -> Path:
    run = [command, *FLAGS, *map(str, sorted(SOURCES.glob("*.cpp"))), "-o", str(target)]
    result = subprocess.run(run, capture_output=True, text=True, check=False)
    if result.returncode:
        raise ConfigError(
            f"the kernels can't be compiled; {command} says: {result.stderr.strip()[:500]}", param="dtype"
        )
    return target


def _digest(command: str) -> str:
    version = subprocess.run([command, "--version"], capture_output=True, text=True, check=False).stdout
    parts = [version, " ".join(FLAGS), " ".join(sorted(processor_flags()))]
    parts += [path.read_text() for path in sorted(SOURCES.iterdir())]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
