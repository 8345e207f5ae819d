"""Compiles the kernels, once per processor and compiler.

The kernels are C++ with AVX-512 intrinsics; g++ needs about five seconds on two cores. The file's name has a digest of
sources, compiler and processor features, so that any change leads to a new file.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

from flightloop.errors import ConfigError

SOURCES = Path(__file__).parent / "src"
FLAGS = ("-std=c++20", "-O3", "-march=native", "-fPIC", "-shared", "-pthread", "-Wall", "-Wextra")
NEEDED = ("avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni", "avx512_bf16", "avx512vbmi")
"""Processor features that the kernels need, in Linux's names: Intel servers since Sapphire Rapids, AMD since Zen 4."""


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


def compiled(cache: Path) -> Path:
    """Path of the shared library in ``cache``; compiles it if it is missing. Safe in several processes at once.

    Raises:
        ConfigError: the library can't be compiled or stored.
    """
    command = compiler()
    if command is None:
        raise ConfigError("the kernels can't be compiled: there is no C++ compiler (g++ or clang++)", param="dtype")
    target = cache / f"kernels-{_digest(command)}.so"
    if not target.exists():
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                # An atomic rename: other processes never see a partial file.
                _compile(command, Path(scratch) / target.name).replace(target)
        except OSError as error:
            raise ConfigError(f"cannot store the compiled kernels in {cache}: {error}", param="cache") from error
    return target


def _compile(command: str, target: Path) -> Path:
    def compile_one(source: Path) -> Path:
        made = target.with_name(f"{source.stem}.o")
        _run([command, *FLAGS, "-c", str(source), "-o", str(made)])
        return made

    with ThreadPoolExecutor() as pool:
        objects = list(pool.map(compile_one, sorted(SOURCES.glob("*.cpp"))))
    _run([command, *FLAGS, *map(str, objects), "-o", str(target)])
    return target


def _run(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        told = " ".join(result.stderr.split())[:500] or f"status {result.returncode}"
        raise ConfigError(f"the kernels can't be compiled; {command[0]} reports: {told}", param="dtype")


def _digest(command: str) -> str:
    version = subprocess.run([command, "--version"], capture_output=True, text=True, check=False).stdout
    parts = [version, " ".join(FLAGS), " ".join(sorted(processor_flags()))]
    parts += [path.read_text() for path in sorted(SOURCES.iterdir())]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
