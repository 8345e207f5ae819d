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
from tools.one_answer import NoAnswer, answer_of
from tools.project_modules import code_of, modules_of
from tools.registry import Registry, performed_elsewhere
from tools.serving import spec_from_json


@dataclass(frozen=True)
class LoadedTools:
    """Tools of modules as of one moment. Hosts keep using them, even if the files change."""

    sources: tuple[str, ...]
    """Import paths, and real paths of files."""
    code: Mapping[str, str]
    """Source code of the files and of the modules beside them, by path."""
    registry: Registry
    project: ProjectData = NO_DATA
    """Facts about the project for their calls."""


def load_tools(sources: Sequence[str | Path], config: ToolsConfig, project: ProjectData = NO_DATA) -> LoadedTools:
    """Loads tools. Raises ConfigError like ``described``."""
    paths = tuple(str(file_of(source)) if str(source).endswith(".py") else str(source) for source in sources)
    folders = dict.fromkeys(Path(path).parent for path in paths if path.endswith(".py"))
    code = {path: text for folder in folders for path, text in code_of(folder).items()}
    return LoadedTools(paths, code, described(paths, config), project)


def described(sources: Sequence[str | Path], config: ToolsConfig) -> Registry:
    """Registry of the tools of modules. Import paths are imported here, files (``…/tools.py``) in a sandbox.

    Args:
        config: defines what the files' code may not see.

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
    """The file, with the real path of its folder, which its tools may read.

    Raises:
        ConfigError: it is a link, which may lead out of the project's folder.
    """
    path = Path(source)
    path = path.parent.resolve() / path.name
    if path.is_symlink():
        raise ConfigError(f"tools of {path} can't be loaded: it is a link; put the file itself there", param="tools")
    return path


def _stamps(path: Path) -> tuple[tuple[str, int, int], ...]:
    """Time of change and size of a file and its neighbours."""
    files = dict.fromkeys((path, *modules_of(path.parent)))
    try:
        known = [(str(file), file.stat()) for file in files]
    except OSError as error:
        raise ConfigError(f"tools of {path} can't be loaded: {error.strerror}", param="tools") from None
    return tuple((name, each.st_mtime_ns, each.st_size) for name, each in known)


@lru_cache(maxsize=64)
def _of_file(path: Path, stamps: tuple[tuple[str, int, int], ...], config: ToolsConfig) -> tuple[Tool, ...]:
    try:
        told = answer_of(path, config, "describe")
    except NoAnswer as error:
        problem = str(error)
        raise ConfigError(
            problem if str(path) in problem else f"tools of {path} can't be loaded: {problem}", param="tools"
        ) from None
    try:
        return tuple(performed_elsewhere(spec_from_json(one)) for one in told["tools"])
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"tools of {path} can't be loaded: invalid description: {error}", param="tools") from None
