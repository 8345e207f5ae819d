"""Agent runtime: loop, journal, HTTP API, processes and composition root."""

import os
import sys

# ``python -m`` puts the working folder first on the path, where a user's file may have the name of a library. Put the
# folder of the platform's packages there instead. Every package with a module started by ``python -m`` repeats these
# lines before its first other import: a shared helper module would itself be looked up in the working folder first.
if sys.argv[:1] == ["-m"] and not sys.flags.safe_path:
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def is_project(folder: str) -> bool:
    return os.path.isfile(os.path.join(folder, "tools.py")) and os.path.isdir(os.path.join(folder, "agents"))


# In a project's folder, ``import tools`` would find the project's tools.py instead of the package.
sys.path[:] = [folder for folder in sys.path if not is_project(folder)]
