"""Seeds a project's data with the function ``seed(data)`` of its ``seed.py``."""

from __future__ import annotations

from pathlib import Path

from flightloop import private
from flightloop.errors import ConfigError
from tools.config import ToolsConfig
from tools.one_shot import ProcessFailed, run_once

FILE = "seed.py"


def seed(project: Path, data: Path, config: ToolsConfig) -> None:
    """Runs a project's ``seed.py`` on a folder, in a tool's sandbox without network and programs.

    Args:
        project: folder of the project. Does nothing if it has no ``seed.py``.
        data: folder to fill.
        config: configuration of the sandbox.

    Raises:
        ConfigError: the project's code failed, or there is no sandbox for it.
    """
    path = project.resolve() / FILE
    if path.is_symlink():
        raise ConfigError(f"{path}: is a link; put the file itself there")
    if not path.is_file():
        return
    private.folder(data)
    try:
        run_once(path, config, "seed", data.resolve())
    except ProcessFailed as error:
        raise ConfigError(f"{path}: the data can't be seeded: {error}") from None
