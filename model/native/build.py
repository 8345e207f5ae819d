"""Compiles the kernels, once per processor and compiler.

The kernels are C++ with intrinsics. All kinds that the machine can have go into one library, which takes g++ some ten
seconds for each kind on two cores. The file's name has a digest of sources, compiler and processor features, so that
any change leads to a new file.
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

from flightloop.errors import ConfigError
from model.native.kinds import TILES, Kind, available, compiler, obstacle, processor_flags

SOURCES = Path(__file__).parent / "src"
FLAGS = ("-std=c++20", "-O3", "-mtune=native", "-fPIC", "-shared", "-pthread", "-Wall", "-Wextra")


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
    def compile_one(each: tuple[Kind, Path]) -> Path:
        kind, source = each
        made = target.with_name(f"{source.stem}-{kind.name}.o")
        named = f"-DFLIGHTLOOP_KIND={kind.name}"
        _run([command, *FLAGS, *_flags(kind), named, "-c", str(source), "-o", str(made)])
        return made

    # In the order of the kinds, which the linker needs (src/kind.h).
    with ThreadPoolExecutor() as pool:
        objects = list(pool.map(compile_one, product(available(), sorted(SOURCES.glob("*.cpp")))))
    _run([command, *FLAGS, *map(str, objects), "-o", str(target)])
    return target


def _flags(kind: Kind) -> tuple[str, ...]:
    tiles = kind.name == TILES.name and obstacle(TILES) is None
    return (*kind.flags, *TILES.flags) if tiles else kind.flags


def _run(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        told = " ".join(result.stderr.split())[:500] or f"status {result.returncode}"
        raise ConfigError(f"the kernels can't be compiled; {command[0]} reports: {told}", param="dtype")


def _digest(command: str) -> str:
    version = subprocess.run([command, "--version"], capture_output=True, text=True, check=False).stdout
    parts = [
        version,
        " ".join(FLAGS),
        *(" ".join(_flags(kind)) for kind in available()),
        " ".join(sorted(processor_flags())),
    ]
    parts += [path.read_text() for path in sorted(SOURCES.iterdir())]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
