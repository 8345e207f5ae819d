"""What a tool's process is started with: command, environment, and the sandbox that it enters."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.config import ToolsConfig
from tools.sandbox import identity, reading
from tools.sandbox.confinement import Confinement, SandboxError
from tools.sandbox.isolation import Isolation
from tools.sandbox.limits import Limits

NEVER_FOLDERS = ("/proc", "/sys", "/dev", "/run", "/etc", "/boot", "/var/run", "/var/lib")


def confinement_of(
    isolation: Isolation, config: ToolsConfig, scratch: Path, readable: Sequence[Path], data: Path | None
) -> Confinement:
    """The sandbox of one process.

    Args:
        scratch: its folder for temporary files.
        readable: what it may read besides Python and the system's programs: the project.
        data: the deployment's folder of tool data, which is given to the users of hosts where the worker is root.

    Raises:
        SandboxError: a folder that a tool asks for holds what no tool may reach.
    """
    protected = (*config.protected, Path.home() / ".ray")
    for folder in map(Path, isolation.folders):
        clash = reading.overlaps(folder, (*protected, scratch, *map(Path, NEVER_FOLDERS)))
        if clash is not None and folder != data:
            raise SandboxError(
                f"folders: {folder} holds or lies in {clash}, which no tool may reach; name a narrower folder"
            )
    if data is not None:
        share(data)
    allowed = reading.without((*reading.interpreter(), *readable), protected)
    return Confinement(
        hosts=isolation.hosts,
        subprocesses=isolation.subprocesses,
        readable=tuple(map(str, (*allowed, *reading.system()))),
        listable=(str(reading.PLATFORM),),
        writable=isolation.folders,
        scratch=str(scratch),
        scratch_bytes=config.scratch_bytes,
        limits=Limits(config.memory_bytes, config.file_bytes, config.open_files, config.processes),
        mechanisms=config.mechanisms,
    )


def share(data: Path) -> None:
    """Lets hosts write a folder of tool data, where the worker is root and they are not. Raises OSError."""
    ids = identity.ids()
    if ids is not None:
        identity.share(data, ids.group)


def command_of(confinement: Confinement, config: ToolsConfig, **settings: Any) -> list[str]:
    """The command line of `tools.child`, as a child of this process."""
    told = {
        "confinement": confinement.as_json(),
        "platform": {"reserved": list(config.reserved_ports), "barred": [list(one) for one in config.barred_hosts]},
        "parent": os.getpid(),
        **settings,
    }
    return [sys.executable, "-P", "-m", "tools.child", json.dumps(told)]


def environment_of(config: ToolsConfig, scratch: Path) -> dict[str, str]:
    """Nothing of the worker's environment but where programs and modules are: keys and passwords stay out."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONPATH": os.pathsep.join(reading.search_path()),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LANG": "C.UTF-8",
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "RES_OPTIONS": "use-vc",  # names are asked for over TCP: there is no UDP in the sandbox
        **config.environment,
    }


def make_scratch() -> Path:
    """An empty folder for one host; by its real path, since the sandbox has no links."""
    return Path(tempfile.mkdtemp(prefix="flightloop-tool-")).resolve()
