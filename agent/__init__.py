"""The agents' runtime: loop, journal, HTTP API, and what puts the platform together."""

import os
import sys

# ``python -m`` puts the working folder first, where somebody else's files may have the names of libraries. The folder
# of the platform's packages takes its place. Each package with a module to be started in this way does so itself,
# before it imports anything that Python has not loaded yet: a module that they shared would be looked for there too.
if sys.argv[:1] == ["-m"] and not sys.flags.safe_path:
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def is_project(folder: str) -> bool:
    return os.path.isfile(os.path.join(folder, "tools.py")) and os.path.isdir(os.path.join(folder, "agents"))


# To somebody who stands in a project's folder, Python would give its tools.py for the package of that name.
sys.path[:] = [folder for folder in sys.path if not is_project(folder)]
