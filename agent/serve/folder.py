"""Makes Ray's processes import from the platform's packages instead of the folder in which Ray was started.

Ray starts its servers in its driver's working folder. Ray's workers search that folder first for modules, even if the
driver runs with ``python -P``, and import some before any of our code runs in them.
"""

from __future__ import annotations

import os
from contextlib import chdir
from pathlib import Path

from click import get_current_context

from agent import is_project

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("RAY_TMPDIR", "TMPDIR")
RELATIVE = ("reload", "working_dir", "runtime_env", "runtime_env_json")
"""Options of ``serve run`` for which Ray still needs the original working folder."""


def at_platform() -> chdir[Path]:
    """Context with the platform's root as the working folder, for ``ray.init``."""
    make_absolute()
    return chdir(ROOT)


def leave_for_platform() -> None:
    """Changes the working folder to the platform's root if called under ``serve run IMPORT_PATH``, which calls
    ``ray.init`` after building the application. Otherwise does nothing."""
    context = get_current_context(silent=True)
    if context is not None and not any(context.params.get(name) for name in RELATIVE):
        make_absolute()
        os.chdir(ROOT)


def make_absolute() -> None:
    """Makes folders in the environment absolute, because child processes may have another working folder."""
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    # An empty entry means the working folder. Project folders are dropped too: see agent/__init__.
    kept = [os.path.abspath(path) for path in paths if path and not is_project(path)]
    if "PYTHONPATH" in os.environ:
        os.environ["PYTHONPATH"] = os.pathsep.join(kept)
    for name in FOLDERS:
        if os.environ.get(name):
            os.environ[name] = os.path.abspath(os.environ[name])
