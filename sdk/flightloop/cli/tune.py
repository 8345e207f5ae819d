"""``flightloop tune``: passes its arguments to the platform's tuner, which must be installed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

from flightloop.errors import ConfigError


def tuner_command(arguments: Sequence[str], find: Callable[[str], ModuleSpec | None] = find_spec) -> list[str]:
    """Command line of ``python -m model.tuner fit`` with this Python.

    Args:
        arguments: command-line arguments of ``fit``.
        find: finds a package without importing it.

    Raises:
        ConfigError: the platform is not installed here.
    """
    package = find("model")
    folders = package.submodule_search_locations if package else None
    if not any((Path(folder) / "tuner" / "__main__.py").is_file() for folder in folders or ()):
        raise ConfigError(
            "tuning needs the platform, which is not installed in this environment: in a checkout of the platform, "
            "run 'make setup', then '.venv/bin/flightloop tune …' with the same arguments"
        )
    # -P: never import a folder "model" in the working directory.
    return [sys.executable, "-P", "-m", "model.tuner", "fit", *arguments]
