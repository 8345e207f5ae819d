"""``flightloop tune``: hands its arguments to the platform's tuner, where the platform is installed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

from flightloop.errors import ConfigError


def tuner_command(arguments: Sequence[str], find: Callable[[str], ModuleSpec | None] = find_spec) -> list[str]:
    """The command line of ``python -m model.tuner fit``, of this Python.

    Args:
        arguments: of ``fit``.
        find: looks a package up without importing it.

    Raises:
        ConfigError: the platform is not installed here.
    """
    package = find("model")
    folders = package.submodule_search_locations if package else None
    if not any((Path(folder) / "tuner" / "__main__.py").is_file() for folder in folders or ()):
        raise ConfigError(
            "tuning runs where the platform is installed, and it is not installed beside this command: in a checkout "
            "of the platform, call 'make setup', then '.venv/bin/flightloop tune …' with the same arguments"
        )
    # -P: a folder "model" that happens to lie in the working directory is not the platform's.
    return [sys.executable, "-P", "-m", "model.tuner", "fit", *arguments]
