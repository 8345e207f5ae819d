"""The agents' runtime: loop, journal, HTTP API, and what puts the platform together."""

import os
import sys

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def _is_project(folder: str) -> bool:
    return os.path.isfile(os.path.join(folder, "tools.py")) and os.path.isdir(os.path.join(folder, "agents"))


# ``python -m`` puts the working folder first, where somebody else's files may have the names of libraries.
if sys.argv[:1] == ["-m"] and sys.path and os.path.realpath(sys.path[0]) != os.path.realpath(_ROOT):
    del sys.path[0]
# To somebody who stands in a project's folder, Python would give its tools.py for the package of that name.
sys.path[:] = [folder for folder in sys.path if not _is_project(folder)]
