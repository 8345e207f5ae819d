"""Describes a project's tools without running its code in this process.

Importing a module executes it with all rights of its process. So a project's files are imported in a
sandbox without network and data, and only the descriptions of their tools come back.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Timer
from typing import Any

from flightloop.errors import ConfigError
from flightloop.tool import Tool
from tools import frames
from tools.child import PRINTED_BYTES
from tools.config import ToolsConfig
from tools.ending import end_tree, remove
from tools.launch import command_of, confinement_of, environment_of, make_scratch
from tools.project_modules import code_of, modules_of
from tools.registry import Registry, performed_elsewhere
from tools.sandbox.confinement import SandboxError
from tools.sandbox.isolation import Isolation
from tools.serving import spec_from_json

MOST_BYTES = 4 * 1024 * 1024
"""Limit for the descriptions of a file's tools."""
NOTHING = Isolation(hosts=(), folders=(), subprocesses=False)


@dataclass(frozen=True)
class LoadedTools:
    """Tools of modules as of one moment. Hosts keep using them, even if the files change."""

    sources: tuple[str, ...]
    """Import paths, and real paths of files."""
    code: Mapping[str, str]
    """Source code of the files and of the modules beside them, by path."""
    registry: Registry


def load_tools(sources: Sequence[str | Path], config: ToolsConfig) -> LoadedTools:
    """Loads tools. Raises ConfigError like ``described``."""
    paths = tuple(str(file_of(source)) if str(source).endswith(".py") else str(source) for source in sources)
    folders = dict.fromkeys(Path(path).parent for path in paths if path.endswith(".py"))
    code = {path: text for folder in folders for path, text in code_of(folder).items()}
    return LoadedTools(paths, code, described(paths, config))


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
    """Time of change and size of a file and of those beside it."""
    files = dict.fromkeys((path, *modules_of(path.parent)))
    try:
        known = [(str(file), file.stat()) for file in files]
    except OSError as error:
        raise ConfigError(f"tools of {path} can't be loaded: {error.strerror}", param="tools") from None
    return tuple((name, each.st_mtime_ns, each.st_size) for name, each in known)


@lru_cache(maxsize=64)
def _of_file(path: Path, stamps: tuple[tuple[str, int, int], ...], config: ToolsConfig) -> tuple[Tool, ...]:
    told = _asked(path, config)
    if "failed" in told:
        problem = str(told["failed"]).removeprefix("ConfigError: ")
        raise ConfigError(
            problem if str(path) in problem else f"tools of {path} can't be loaded: {problem}", param="tools"
        )
    try:
        return tuple(performed_elsewhere(spec_from_json(one)) for one in told["tools"])
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"tools of {path} can't be loaded: invalid description: {error}", param="tools") from None


def _asked(path: Path, config: ToolsConfig) -> dict[str, Any]:
    """Description of a file's tools from a sandboxed process. Raises ConfigError if there is no sandbox, or no
    answer."""
    scratch = make_scratch()
    try:
        confinement = confinement_of(NOTHING, config, scratch, [path.parent], data=None)
        command = command_of(confinement, config, sources=[str(path)], describe=True)
        answer, printed = _output(command, environment_of(config, scratch), scratch, config.start_timeout_s)
        return frames.decode(answer)
    except (SandboxError, OSError) as error:
        raise ConfigError(f"tools of {path} can't be loaded: {error}", param="tools") from None
    except frames.FrameError:
        told = printed.decode("utf-8", "replace").strip()[-500:]
        why = f"their process ended, or took longer than {config.start_timeout_s:g} s. {told}".strip()
        raise ConfigError(f"tools of {path} can't be loaded: {why}", param="tools") from None
    finally:
        remove(scratch)


def _output(command: list[str], environment: dict[str, str], folder: Path, timeout_s: float) -> tuple[bytes, bytes]:
    """A program's standard output, up to `MOST_BYTES`, and its standard error."""
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        cwd=folder,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        late = Timer(timeout_s, end_tree, (process.pid,))
        late.start()
        try:
            answer = process.stdout.read(MOST_BYTES)
            if len(answer) == MOST_BYTES:
                end_tree(process.pid)
            return answer, process.stderr.read(PRINTED_BYTES)
        finally:
            late.cancel()
            end_tree(process.pid)
