"""Prepares the start of a tool's process: command, environment and sandbox."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tools.config import ToolsConfig
from tools.hidden import HOME, hidden_below
from tools.sandbox import identity, reading
from tools.sandbox.confinement import Confinement, SandboxError
from tools.sandbox.isolation import Isolation
from tools.sandbox.limits import Limits

NEVER_FOLDERS = (
    "/proc", "/sys", "/dev", "/run", "/etc", "/boot", "/var/run", "/var/lib", "/var/spool", "/var/log", "/var/cache",
)  # fmt: skip
SCRATCH = "flightloop-tool-"
LONGEST_ARGUMENT = 128 * 1024
"""Longest argument of a program in bytes: MAX_ARG_STRLEN of execve(2)."""


def confinement_of(
    isolation: Isolation,
    config: ToolsConfig,
    scratch: Path,
    readable: Sequence[Path],
    data: Path | None,
    programs: Sequence[Path] = (),
) -> Confinement:
    """Builds the sandbox of one tool process.

    Args:
        scratch: the process's folder for temporary files.
        readable: folders that it may read besides Python and the system's programs, such as the project.
        data: the deployment's folder of tool data, opened to tool processes by `share`.
        programs: programs and their libraries; only world-readable files are accessible.

    Raises:
        SandboxError: a folder that a tool requests is not allowed, or has too many entries to search.
        OSError: the folder of tool data can't be shared.
    """
    own = (*config.protected, Path.home() / ".ray")
    libraries = reading.libraries()
    code = (Path(sys.prefix), Path(sys.base_prefix), *libraries, *reading.system(), *readable, *programs)
    never = (*own, *map(Path, NEVER_FOLDERS), *code, *_of_others())
    for folder in map(Path, isolation.folders):
        if folder != data:
            _check_folder(folder, never)
    if data is not None:
        _check_data(data, never)
        share(data)
    protected = (*own, *_hidden(readable, libraries, programs))
    allowed = reading.without((*reading.interpreter(), *libraries, *readable), protected)
    # Programs in folders that are readable already need no entry of their own.
    installed = [path for path in programs if path.is_file() or not reading.lies_in(path, allowed)]
    return Confinement(
        hosts=isolation.hosts,
        subprocesses=isolation.subprocesses,
        readable=tuple(map(str, allowed)),
        system=tuple(map(str, (*reading.system(), *reading.without(installed, protected)))),
        listable=(str(reading.PLATFORM),),
        writable=isolation.folders,
        scratch=str(scratch),
        scratch_bytes=config.scratch_bytes,
        limits=Limits(config.memory_bytes, config.file_bytes, config.open_files, config.processes),
        mechanisms=config.mechanisms,
    )


def _hidden(readable: Sequence[Path], libraries: Sequence[Path], programs: Sequence[Path]) -> Iterator[Path]:
    """Yields files and folders to hide from tools inside the folders that they may read. Raises SandboxError."""
    for folder in filter(Path.is_dir, readable):
        yield from hidden_below(folder)
    for folder in filter(Path.is_dir, (*libraries, *programs)):
        if not reading.lies_in(folder, reading.system()):
            yield from hidden_below(folder, code=True)
    for folder in libraries:
        yield from reading.not_imported(folder)


def _of_others() -> list[Path]:
    """Folders that no tool may use: Ray's files, the folders on the PATH, and the scratch folders of all hosts."""
    temporary = Path(tempfile.gettempdir())
    rays = [Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray", Path("/tmp/ray"), temporary / "ray"]
    programs = [Path(entry) for entry in os.environ.get("PATH", "").split(os.pathsep) if os.path.isabs(entry)]
    return [*rays, *programs, *temporary.glob(f"{SCRATCH}*")]


def _check_folder(folder: Path, never: Sequence[Path]) -> None:
    """Raises SandboxError if a tool could write files there that others execute, or read files that no tool may."""
    clash = reading.overlaps(folder, never) or reading.in_hidden(folder, Path.home())
    if clash is not None:
        raise SandboxError(
            f"folders: {folder} contains or is inside {clash}, which tools must not reach; use a narrower folder"
        )
    if folder != folder.resolve():
        raise SandboxError(f"folders: {folder} is a link to {folder.resolve()}; use that path")
    home = folder if HOME in folder.parts else next(hidden_below(folder), None) if folder.is_dir() else None
    if home is not None:
        raise SandboxError(
            f"folders: {folder} contains or is inside {home}, where a platform may have its keys; use a narrower folder"
        )


def _check_data(data: Path, never: Sequence[Path]) -> None:
    """Raises SandboxError if the folder contains parts of the home or the project. The folder may be inside them."""
    clash = reading.within(data, never)
    if clash is not None:
        raise SandboxError(
            f"the folder of tool data, {data}, contains {clash}, which tools must not reach; use another folder"
        )


def share(data: Path) -> None:
    """Opens a folder of tool data to the group of tool processes if the worker runs as root. Raises OSError."""
    ids = identity.ids()
    if ids is not None and data.exists():
        identity.share(data, ids.group)


def command_of(confinement: Confinement, config: ToolsConfig, **settings: Any) -> list[str]:
    """Command line of `tools.child`, as a child of this process. Raises SandboxError if it is too long."""
    told = {
        "confinement": confinement.as_json(),
        "platform": {"reserved": list(config.reserved_ports), "barred": [list(one) for one in config.barred_hosts]},
        "parent": os.getpid(),
        **settings,
    }
    text = json.dumps(told)
    if len(text) >= LONGEST_ARGUMENT:
        raise SandboxError(
            f"its hosts and folders take {len(text)} characters; at most {LONGEST_ARGUMENT} can be passed: list fewer"
        )
    return [sys.executable, "-P", "-m", "tools.child", text]


def environment_of(config: ToolsConfig, scratch: Path) -> dict[str, str]:
    """Environment of a tool process. Of the worker's variables, it gets only the paths of programs and modules."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONPATH": os.pathsep.join(reading.search_path()),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LANG": "C.UTF-8",
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "DISABLE_TQDM": "1",  # bm25s would start a thread for progress bars, and the host be replaced after a search
        "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime would start a thread that reports its use to its maker
        "RES_OPTIONS": "use-vc",  # DNS over TCP, since the sandbox has no UDP
        **config.environment,
    }


def make_scratch() -> Path:
    """Creates an empty folder for one host. Returns its real path: the sandbox has no symbolic links to it."""
    return Path(tempfile.mkdtemp(prefix=SCRATCH)).resolve()
