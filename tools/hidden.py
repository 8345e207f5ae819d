"""Finds files in shared folders that must be hidden from tools: flightloop's keys and journals."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tools.sandbox.confinement import SandboxError

HOME = ".flightloop"
"""Default name of flightloop's home folder."""
JOURNAL = "flightloop.db"
"""Prefix of the names of a journal's database files. A home folder with another name is recognised by them."""
SECRETS = ".env"
"""Prefix of the names of files with keys and passwords that programs have next to their code."""
MOST_ENTRIES = 500_000
"""Maximum number of entries to search below a folder: about a second of work."""


def hidden_below(folder: Path, *, code: bool = False) -> Iterator[Path]:
    """Yields flightloop's home folders (by their name, or a journal in them), and journals in ``folder`` itself.

    Doesn't follow symbolic links: the sandbox shows a link's target only if the target is shared too. Also yields
    folders that can be entered but not listed, since a tool that guesses names could open files in them.

    Args:
        code: whether the folder contains other programs and modules. Their files with secrets (`SECRETS`) count too.

    Raises:
        SandboxError: the folder has too many entries to search.
    """
    left, waiting = MOST_ENTRIES, [folder]
    while waiting:
        here = waiting.pop()
        try:
            found = _listed(here, left, SECRETS if code else None)
        except OSError:
            if os.access(here, os.X_OK):
                yield here
            continue
        left -= found.entries
        if left <= 0:
            raise SandboxError(
                f"{folder} has more than {MOST_ENTRIES} files and folders, too many to scan for flightloop's keys "
                "and journals, which must be hidden from tools: use a smaller folder"
            )
        if found.journals and here != folder:
            yield here
            continue
        yield from (*found.journals, *found.secrets, *found.homes)
        waiting += found.folders


@dataclass
class _Folder:
    """Findings in a folder. ``entries``: number of entries that were searched."""

    entries: int = 0
    folders: list[Path] = field(default_factory=list)
    homes: list[Path] = field(default_factory=list)
    journals: list[Path] = field(default_factory=list)
    secrets: list[Path] = field(default_factory=list)


def _listed(folder: Path, most: int, secrets: str | None) -> _Folder:
    """Searches the first ``most`` entries of a folder. Raises OSError."""
    found = _Folder()
    with os.scandir(folder) as entries:
        for entry in entries:
            found.entries += 1
            if entry.is_dir(follow_symlinks=False):
                (found.homes if entry.name == HOME else found.folders).append(Path(entry.path))
            elif entry.name.startswith(JOURNAL):
                found.journals.append(Path(entry.path))
            elif secrets and entry.name.startswith(secrets):
                found.secrets.append(Path(entry.path))
            if found.entries >= most:
                break
    return found
