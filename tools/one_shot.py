"""Runs a file of a project once in a sandboxed process, to describe its tools or to seed data."""

from __future__ import annotations

import subprocess
from pathlib import Path
from threading import Timer
from typing import Any, Literal

from tools import frames
from tools.child import PRINTED_BYTES
from tools.config import ToolsConfig
from tools.ending import end_tree, remove
from tools.launch import command_of, confinement_of, environment_of, make_scratch
from tools.sandbox.confinement import SandboxError
from tools.sandbox.isolation import Isolation

MOST_BYTES = 4 * 1024 * 1024
"""Maximum size of an answer."""


class ProcessFailed(Exception):
    """There is no sandbox, the process ended without an answer, or it reported a failure."""


def run_once(
    path: Path, config: ToolsConfig, task: Literal["describe", "seed"], data: Path | None = None
) -> dict[str, Any]:
    """Runs the file and returns the answer of its process. The project's code may have forged it: don't trust it.

    Args:
        path: real path of the file; the process may read its folder.
        config: configuration of the sandbox.
        task: what the process does (`tools.child`).
        data: folder that the process may write; None for no folder.

    Raises:
        ProcessFailed: the process failed or gave no answer; the message gives the reason.
    """
    scratch = make_scratch()
    rights = Isolation(hosts=(), folders=() if data is None else (str(data),), subprocesses=False)
    try:
        confinement = confinement_of(rights, config, scratch, [path.parent], data)
        where = None if data is None else str(data)
        command = command_of(confinement, config, sources=[str(path)], task=task, data=where)
        answer, printed = _output(command, environment_of(config, scratch), scratch, config.start_timeout_s)
        found = frames.decode(answer)
    except (SandboxError, OSError) as error:
        raise ProcessFailed(str(error)) from None
    except frames.FrameError:
        told = printed.decode("utf-8", "replace").strip()[-500:]
        whose = "their" if task == "describe" else "its"
        late = f"{whose} process ended, or took longer than {config.start_timeout_s:g} s. {told}"
        raise ProcessFailed(late.strip()) from None
    finally:
        remove(scratch)
    if "failed" in found:
        raise ProcessFailed(str(found["failed"]).removeprefix("ConfigError: "))
    return found


def _output(command: list[str], environment: dict[str, str], folder: Path, timeout_s: float) -> tuple[bytes, bytes]:
    """Runs a program. Returns its standard output, up to `MOST_BYTES`, and its standard error."""
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
