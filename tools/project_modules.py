"""Imports modules of a project: its ``tools.py`` and the modules that it imports from the project's folder.

A project's folder is not on Python's path, where its files could replace libraries. Its modules belong to a package
with a unique name, and import each other relatively: ``from .helpers import total``.
"""

from __future__ import annotations

import hashlib
import importlib
import linecache
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import decode_source, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType

from flightloop import plain
from flightloop.errors import ConfigError

MOST_MODULES = 500
MOST_BYTES = plain.MOST_BYTES
"""Maximum size of all modules of a project together."""


def modules_of(folder: Path) -> list[Path]:
    """The Python files of a project's folder and of the packages in it, in a fixed order.

    A package is a folder with an ``__init__.py``. Symbolic links are skipped.

    Raises:
        ConfigError: the folder has more than `MOST_MODULES`.
    """
    found: list[Path] = []
    waiting = [folder]
    while waiting:
        for entry in sorted(_entries(waiting.pop()), key=lambda entry: entry.name):
            if entry.name.endswith(".py") and entry.is_file(follow_symlinks=False):
                found.append(Path(entry.path))
            elif entry.is_dir(follow_symlinks=False) and os.path.isfile(os.path.join(entry.path, "__init__.py")):
                waiting.append(Path(entry.path))
        if len(found) > MOST_MODULES:
            raise ConfigError(f"{folder}: there are more than {MOST_MODULES} modules", param="tools")
    return found


def code_of(folder: Path) -> dict[str, str]:
    """Source code of the modules, by path. Unreadable ones are left out: importing them reports the reason.

    Raises:
        ConfigError: there are too many modules, or they have more than `MOST_BYTES` together.
    """
    code, left = {}, MOST_BYTES
    for path in modules_of(folder):
        try:
            data = plain.read(path)
            code[str(path)] = decode_source(data)
        except (OSError, ValueError, SyntaxError):
            continue
        left -= len(data)
        if left < 0:
            raise ConfigError(f"{folder}: its modules have more than {MOST_BYTES} bytes together", param="tools")
    return code


def import_file(path: Path, code: Mapping[str, str] | None = None) -> ModuleType:
    """Imports a file of a project's folder afresh, with the modules that it imports from there.

    Args:
        code: source code to execute in place of files, by path.

    Raises:
        Exception: any exception that the module raises.
    """
    return import_module(path.parent, path.stem, code)


def import_module(folder: Path, name: str, code: Mapping[str, str] | None = None) -> ModuleType:
    """Like ``import_file``, for a module's dotted name within the project's folder."""
    package = f"flightloop_project_{hashlib.sha256(f'{folder.resolve()}:{name}'.encode()).hexdigest()[:12]}"
    _forget(package)
    root = ModuleType(package)
    root.__path__ = [str(folder)]
    sys.modules[package] = root  # type hints and pickle look up modules there
    sys.meta_path.insert(0, _Finder(package, code or {}))
    importlib.invalidate_caches()
    try:
        return importlib.import_module(f"{package}.{name}")
    except BaseException:
        _forget(package)
        raise


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _forget(package: str) -> None:
    for known in [known for known in sys.modules if known == package or known.startswith(f"{package}.")]:
        del sys.modules[known]
    sys.meta_path[:] = [
        finder for finder in sys.meta_path if not (isinstance(finder, _Finder) and finder.package == package)
    ]


class _Finder(MetaPathFinder):
    """Finds the modules of one project: first in ``code``, a snapshot of the sources by path, then on disk.

    Python's own finder lists folders, which a sandboxed process may not do if a part of the folder is hidden from it.
    """

    def __init__(self, package: str, code: Mapping[str, str]) -> None:
        self.package = package
        self._code = code

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(f"{self.package}."):
            return None
        name = fullname.rpartition(".")[2]
        for folder in path or ():
            for file in (os.path.join(folder, name, "__init__.py"), os.path.join(folder, f"{name}.py")):
                if file in self._code:
                    return spec_from_file_location(fullname, file, loader=_Given(fullname, file, self._code[file]))
                if os.path.isfile(file):
                    # `code_of` skips linked modules, so the project would not be reloaded when one changes.
                    if os.path.islink(file) or os.path.islink(os.path.join(folder, name)):
                        raise ImportError(f"{file} is a link: a project's modules must be regular files")
                    return spec_from_file_location(fullname, file)
        return None


class _Given(SourceFileLoader):
    """Loads a module from given source code."""

    def __init__(self, fullname: str, path: str, text: str) -> None:
        super().__init__(fullname, path)
        self._text = text

    def get_code(self, fullname: str) -> CodeType:
        # For tracebacks. Without a modification time, linecache doesn't replace the source by the file's content.
        linecache.cache[self.path] = len(self._text), None, self._text.splitlines(keepends=True), self.path
        code: CodeType = compile(self._text, self.path, "exec", dont_inherit=True)
        return code
