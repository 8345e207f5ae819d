"""Files of a deployment that may contain data of a run."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from agent.erasing.lines import overwrite, rewrite
from agent.erasing.marks import Marks

TRACES, LOGS = "traces", "logs"
_SKIPPED = frozenset({"data", TRACES, LOGS, "models", "ray"})
"""Folders of the home without data sets. The tools' data is the project's own."""


@dataclass(frozen=True)
class Places:
    """The files.

    Attributes:
        home: the deployment's home.
        tasks: folder of the project's tasks, where regressions are; None: the project can't be changed.
        kept: files in the home that are never changed, such as the audit log's checkpoints.
    """

    home: Path
    tasks: Path | None = None
    kept: Sequence[Path] = ()

    def recorded(self) -> Iterator[Path]:
        """Traces and logs, to which processes may append."""
        for folder in (TRACES, LOGS):
            yield from _files(self.home / folder, lambda name: True)
        yield from (path for path in self.home.glob("*.log*") if path.is_file() and not path.is_symlink())

    def data_sets(self) -> Iterator[Path]:
        """Data sets in the home, and tasks of the project."""
        kept = {path.resolve() for path in self.kept}
        every = _files(self.home, lambda name: name.endswith(".jsonl"), _SKIPPED)
        yield from (path for path in every if path.resolve() not in kept)
        if self.tasks is not None:
            yield from _files(self.tasks, lambda name: name.endswith(".jsonl"))

    def has(self, path: Path) -> bool:
        """Whether a data set is in reach."""
        folders = [self.home, *([self.tasks] if self.tasks else [])]
        return any(path.resolve().is_relative_to(folder.resolve()) for folder in folders)


@dataclass
class Cleaned:
    """What was found in files, and removed."""

    lines: int = 0
    """Lines of traces and logs."""
    rows: int = 0
    """Rows of data sets, and tasks."""
    problems: list[str] = field(default_factory=list)


def clean(places: Places, marks: Marks, dry_run: bool = False) -> Cleaned:
    """Removes what belongs to the marked runs. Blocks for as long as reading all files takes; can be repeated."""
    found = Cleaned()

    def is_row(line: bytes) -> bool:
        try:
            return marks.has_row(json.loads(line))
        except (ValueError, RecursionError):
            return False

    for path in places.recorded():
        found.lines += _changed(path, partial(overwrite, path, marks.has_line, dry_run), found.problems)
    for path in places.data_sets():
        found.rows += _changed(path, partial(rewrite, path, is_row, dry_run), found.problems)
    return found


def _changed(path: Path, change: Callable[[], int], problems: list[str]) -> int:
    try:
        return change()
    except FileNotFoundError:  # it was rotated away, under a name that is read later or was removed
        return 0
    except OSError as error:
        problems.append(f"{path} could not be cleaned ({error.strerror}): run the command again")
        return 0


def _files(folder: Path, wanted: Callable[[str], bool], skipped: frozenset[str] = frozenset()) -> Iterator[Path]:
    """Files below a folder, without following links. ``skipped``: names of folders in it that are left out."""
    for here, folders, names in os.walk(folder):
        if Path(here) == folder:
            folders[:] = [name for name in folders if name not in skipped]
        paths = (Path(here, name) for name in sorted(names) if wanted(name))
        yield from (path for path in paths if path.is_file() and not path.is_symlink())
