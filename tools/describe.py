"""Describes a project's tools without running its code in this process.

Importing a module executes it with all rights of its process. So a project's files are imported in a
sandbox without network and data, and only the descriptions of their tools come back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from flightloop.errors import ConfigError
from flightloop.tool import NO_DATA, ProjectData, Tool
from tools.config import ToolsConfig
from tools.one_shot import ProcessFailed, run_once
from tools.project_modules import code_of, modules_of
from tools.registry import Registry, performed_elsewhere
from tools.serving import spec_from_json


@dataclass(frozen=True)
class LoadedTools:
    """A snapshot of the tools of some modules. Hosts use the snapshot even after the files have changed."""

    sources: tuple[str, ...]
    """Modules: import paths, and real paths of files."""
    code: Mapping[str, str]
    """Source code of the files and of the other modules in their folders, by path."""
    registry: Registry
    project: ProjectData = NO_DATA
    """Project data that each call gets in its `ToolContext`."""


def load_tools(sources: Sequence[str | Path], config: ToolsConfig, project: ProjectData = NO_DATA) -> LoadedTools:
    """Loads the tools of modules, given by import path or file. Raises ConfigError as `described` does."""
    paths = tuple(str(file_of(source)) if str(source).endswith(".py") else str(source) for source in sources)
    folders = dict.fromkeys(Path(path).parent for path in paths if path.endswith(".py"))
    code = {path: text for folder in folders for path, text in code_of(folder).items()}
    return LoadedTools(paths, code, described(paths, config), project)


def described(sources: Sequence[str | Path], config: ToolsConfig) -> Registry:
    """Returns a registry of the modules' tools. Imports import paths in this process, and files in a sandbox.

    Args:
        config: configuration of the sandbox.

    Raises:
        ConfigError: a source can't be imported or has no tool, or this system has no sandbox for it.
    """
    tools: list[Tool] = []
    for source in map(str, sources):
        if source.endswith(".py"):
            path = file_of(source)
            tools += _of_file(path, _stamps(path), config)
        else:
            tools += Registry.load([source]).tools()
    return Registry(tools)


def file_of(source: str | Path) -> Path:
    """The path of a file, with its folder resolved: tools may read that folder.

    Raises:
        ConfigError: the file is a symbolic link, which may lead out of the project's folder.
    """
    path = Path(source)
    path = path.parent.resolve() / path.name
    if path.is_symlink():
        raise ConfigError(f"tools of {path} can't be loaded: it is a link; put the file itself there", param="tools")
    return path


def _stamps(path: Path) -> tuple[tuple[str, int, int], ...]:
    """Path, modification time and size of the file, and of each other module in its folder."""
    files = dict.fromkeys((path, *modules_of(path.parent)))
    try:
        known = [(str(file), file.stat()) for file in files]
    except OSError as error:
        raise ConfigError(f"tools of {path} can't be loaded: {error.strerror}", param="tools") from None
    return tuple((name, each.st_mtime_ns, each.st_size) for name, each in known)


@lru_cache(maxsize=64)
def _of_file(path: Path, stamps: tuple[tuple[str, int, int], ...], config: ToolsConfig) -> tuple[Tool, ...]:
    try:
        told = run_once(path, config, "describe")
    except ProcessFailed as error:
        problem = str(error)
        raise ConfigError(
            problem if str(path) in problem else f"tools of {path} can't be loaded: {problem}", param="tools"
        ) from None
    try:
        return tuple(performed_elsewhere(spec_from_json(one)) for one in told["tools"])
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"tools of {path} can't be loaded: invalid description: {error}", param="tools") from None
