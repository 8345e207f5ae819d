"""Where Ray's processes look for modules: among the platform's packages, not where somebody happened to start it.

Ray starts its servers in the working folder of its driver. Its workers look for modules in that folder before anywhere
else, also where ``python -P`` keeps it from the driver, and have imported some before any code of ours runs in them.
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
"""Options of ``serve run`` with which Ray goes on to read the working folder."""


def at_platform() -> chdir[Path]:
    """A context in which the folder of the platform's packages is the working folder: for ``ray.init``."""
    make_absolute()
    return chdir(ROOT)


def leave_for_platform() -> None:
    """The same for ``serve run IMPORT_PATH``, which calls ``ray.init`` once it has the application; of any other caller
    the working folder stays."""
    context = get_current_context(silent=True)
    if context is not None and not any(context.params.get(name) for name in RELATIVE):
        make_absolute()
        os.chdir(ROOT)


def make_absolute() -> None:
    """Folders in the environment mean the same wherever the processes that inherit it work."""
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    # An empty entry is the working folder, whoever's that is. A project's modules are no libraries: see agent/__init__.
    kept = [os.path.abspath(path) for path in paths if path and not is_project(path)]
    if "PYTHONPATH" in os.environ:
        os.environ["PYTHONPATH"] = os.pathsep.join(kept)
    for name in FOLDERS:
        if os.environ.get(name):
            os.environ[name] = os.path.abspath(os.environ[name])
