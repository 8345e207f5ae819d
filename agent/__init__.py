"""The agents' runtime: loop, journal, HTTP API, and what puts the platform together."""

import sys
from pathlib import Path


def _is_project(folder: str) -> bool:
    return Path(folder, "tools.py").is_file() and Path(folder, "agents").is_dir()


# To somebody who stands in a project's folder, Python would give its tools.py for the package of that name.
sys.path[:] = [folder for folder in sys.path if not _is_project(folder)]
