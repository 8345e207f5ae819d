"""Files and folders that a tool's process may read: the interpreter, modules, and files that programs need."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin")
SETTINGS = (
    "alternatives", "ca-certificates", "ca-certificates.conf", "fonts", "gai.conf", "group", "host.conf", "hosts",
    "java-17-openjdk", "java-21-openjdk", "java-25-openjdk",
    "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "magic", "mime.types",
    "nsswitch.conf", "os-release", "passwd", "pki/tls/certs", "pki/ca-trust", "protocols", "resolv.conf", "services",
    "ssl/certs", "ssl/openssl.cnf", "timezone",
)  # fmt: skip
"""Files of /etc that programs need; some others are secret."""
DEVICES = tuple(Path("/dev") / name for name in ("null", "zero", "full", "random", "urandom"))

INSTALLATION = (
    "bin", "etc", "include", "lib", "lib32", "lib64", "libexec", "share", "ssl",
    "node_modules", "package.json", "pyvenv.cfg",
)  # fmt: skip
"""Subfolders of a program's or Python's installation prefix. Anything else there may be private."""


PLATFORM = Path(__file__).resolve().parents[2]
"""Folder of the platform's packages, in a checkout or an image: tools see the packages, but not their neighbours."""


def search_path() -> list[str]:
    """Search path for modules in a tool's process: this process's path, without the working folder that Python adds."""
    here = os.getcwd()
    entries = [os.path.abspath(entry) for entry in sys.path if entry]
    return [entry for entry in dict.fromkeys(entries) if entry != here or Path(entry).resolve() == PLATFORM]


def interpreter() -> list[Path]:
    """Python itself, with the modules of its installation."""
    return [*installation(Path(sys.prefix)), *installation(Path(sys.base_prefix))]


def installation(prefix: Path) -> list[Path]:
    return [prefix / name for name in INSTALLATION]


def libraries() -> list[Path]:
    """Other folders with modules: the platform's packages, the user's, ``PYTHONPATH``, and editable installs."""
    packages = [package.parent for package in sorted(PLATFORM.glob("*/__init__.py"))]
    entries = [Path(entry) for entry in search_path()]
    others = [entry for entry in entries if entry.resolve() != PLATFORM and not lies_in(entry, interpreter())]
    return [*packages, *others]


def not_imported(folder: Path) -> list[Path]:
    """Entries of a folder of modules whose names begin with a dot: Python can't import them."""
    return [*folder.glob(".*")] if folder.is_dir() else []


def lies_in(path: Path, folders: Iterable[Path]) -> bool:
    """Whether a path is one of the folders or lies below one."""
    real = path.resolve()
    return any(folder.resolve() in (real, *real.parents) for folder in folders)


def system() -> list[Path]:
    return [*map(Path, SYSTEM), *(Path("/etc") / name for name in SETTINGS)]


def without(paths: Iterable[Path], protected: Iterable[Path]) -> list[Path]:
    """The paths without protected ones. A folder that contains some of them is replaced by its other entries."""
    barred = [path.resolve() for path in protected]
    kept: list[Path] = []
    for path in dict.fromkeys(paths):
        kept += _less(path, barred)
    return kept


def _less(path: Path, barred: list[Path]) -> list[Path]:
    real = path.resolve()
    if any(real == one or one in real.parents for one in barred):
        return []
    if not any(real in one.parents for one in barred):
        return [path]
    try:
        entries = sorted(entry for entry in path.iterdir() if not entry.is_symlink())
    except OSError:
        return []
    return [kept for entry in entries for kept in _less(entry, barred)]


def overlaps(folder: Path, protected: Iterable[Path]) -> Path | None:
    """The first protected path that contains the folder or lies inside it."""
    real = folder.resolve()
    for path in protected:
        one = path.resolve()
        if one == real or one in real.parents or real in one.parents:
            return path
    return None


def within(folder: Path, protected: Iterable[Path]) -> Path | None:
    """The first protected path that is the folder or lies inside it."""
    real = folder.resolve()
    return next((path for path in protected if real in (path.resolve(), *path.resolve().parents)), None)


def in_hidden(folder: Path, home: Path) -> Path | None:
    """The hidden entry of ``home`` (settings, keys, programs) that contains the folder; ``home`` itself if the folder
    contains it; otherwise None."""
    real, home = folder.resolve(), home.resolve()
    if real == home or real in home.parents:
        return home
    if home not in real.parents:
        return None
    first = home / real.relative_to(home).parts[0]
    return first if first.name.startswith(".") else None
