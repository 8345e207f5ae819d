"""The registry of a project whose code this process does not run.

A module is executed when it is imported, with everything its process may do. A project's files are therefore imported
in a sandbox that has neither network nor data, and only the descriptions of their tools come back.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from flightloop.errors import ConfigError
from flightloop.tool import Tool
from tools import frames
from tools.config import ToolsConfig
from tools.launch import command_of, confinement_of, environment_of, make_scratch
from tools.registry import Registry, performed_elsewhere
from tools.sandbox.confinement import SandboxError
from tools.sandbox.isolation import Isolation
from tools.serving import spec_from_json

NOTHING = Isolation(hosts=(), folders=(), subprocesses=False)


def described(sources: Sequence[str | Path], config: ToolsConfig | None = None) -> Registry:
    """Tools of modules: those given by an import path are imported here, files (``…/tools.py``) in a sandbox.

    Raises:
        ConfigError: a source can't be imported or holds no tool, or this system has no sandbox for it.
    """
    used = config or ToolsConfig()
    tools: list[Tool] = []
    for source in map(str, sources):
        if source.endswith(".py"):
            path = Path(source).resolve()
            tools += _of_file(path, _stamp(path), used)
        else:
            tools += Registry.load([source]).tools()
    return Registry(tools)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        known = path.stat()
    except OSError as error:
        raise ConfigError(f"tools of {path} can't be loaded: {error.strerror}", param="tools") from None
    return known.st_mtime_ns, known.st_size


@lru_cache(maxsize=64)
def _of_file(path: Path, stamp: tuple[int, int], config: ToolsConfig) -> tuple[Tool, ...]:
    told = _asked(path, config)
    if "failed" in told:
        problem = str(told["failed"]).removeprefix("ConfigError: ")
        raise ConfigError(
            problem if str(path) in problem else f"tools of {path} can't be loaded: {problem}", param="tools"
        )
    try:
        return tuple(performed_elsewhere(spec_from_json(one)) for one in told["tools"])
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"tools of {path} can't be loaded: they are described wrongly: {error}", param="tools"
        ) from None


def _asked(path: Path, config: ToolsConfig) -> dict[str, Any]:
    scratch = make_scratch()
    try:
        confinement = confinement_of(NOTHING, config, scratch, [path.parent], data=None)
        done = subprocess.run(
            command_of(confinement, config, sources=[str(path)], describe=True),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment_of(config, scratch),
            cwd=scratch,
            start_new_session=True,
            timeout=config.start_timeout_s,
        )
        told = frames.decode(done.stdout)
    except (SandboxError, OSError) as error:
        raise ConfigError(f"tools of {path} can't be loaded: {error}", param="tools") from None
    except subprocess.TimeoutExpired:
        raise ConfigError(
            f"tools of {path} can't be loaded: that took longer than {config.start_timeout_s:g} s", param="tools"
        ) from None
    except frames.FrameError:
        printed = done.stderr.decode("utf-8", "replace").strip()[-500:]
        raise ConfigError(
            f"tools of {path} can't be loaded: their process ended. {printed}".strip(), param="tools"
        ) from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return told
