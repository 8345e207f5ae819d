"""``flightloop new``: creates a project folder from the bundled template."""

from __future__ import annotations

import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from flightloop.errors import Conflict, InvalidRequest

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")


def write_project(folder: Path) -> list[Path]:
    """Writes the template with ``{{name}}`` replaced by the folder's name; returns the written paths.

    Raises:
        InvalidRequest: the folder's name is not a valid agent name.
        Conflict: the folder exists and isn't empty.
    """
    if not _NAME.fullmatch(folder.name):
        raise InvalidRequest(
            f"{folder.name!r} is not a valid agent name: use a-z, 0-9, - and _, and begin with a letter"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict(f"{folder} already exists and isn't empty: choose another name")
    return _copy(files("flightloop") / "template", folder, folder.name)


def _copy(source: Traversable, target: Path, name: str) -> list[Path]:
    target.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for item in sorted(source.iterdir(), key=lambda entry: entry.name):
        if item.name == "__pycache__":
            continue
        path = target / item.name.replace("NAME", name)
        if item.is_dir():
            written += _copy(item, path, name)
        else:
            path.write_text(item.read_text(encoding="utf-8").replace("{{name}}", name), encoding="utf-8")
            written.append(path)
    return written
