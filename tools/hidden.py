"""What lies below the folders that a tool is shown and is nevertheless kept from it: keys and journals of platforms."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tools.sandbox.confinement import SandboxError

HOME = ".flightloop"
"""A platform's home where nothing else is said."""
JOURNAL = "flightloop.db"
"""How a journal and the files beside it begin, in a home of whatever name."""
SECRETS = ".env"
"""How files begin in which a program's keys and passwords lie beside its code."""
MOST_ENTRIES = 500_000
"""That are looked at below one folder: about a second of work."""


def hidden_below(folder: Path, *, code: bool = False) -> Iterator[Path]:
    """Homes of platforms, known by their name or by the journal in them, and journals in the folder itself.

    No link is followed: the sandbox shows what is behind one only if that is shared too. A folder that can be
    entered and not listed is hidden as well, since a tool that guesses names could open what is in it.

    Args:
        code: it holds programs and modules of others: their files of secrets are hidden too.

    Raises:
        SandboxError: the folder holds too much to be looked through.
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
                f"{folder} holds more than {MOST_ENTRIES} files and folders, too many to be looked through for keys "
                "and journals of platforms, which no tool may reach: use a smaller folder"
            )
        if found.journals and here != folder:
            yield here
            continue
        yield from (*found.journals, *found.secrets, *found.homes)
        waiting += found.folders


@dataclass
class _Folder:
    """What was found in it. ``entries``: how many were looked at."""

    entries: int = 0
    folders: list[Path] = field(default_factory=list)
    homes: list[Path] = field(default_factory=list)
    journals: list[Path] = field(default_factory=list)
    secrets: list[Path] = field(default_factory=list)


def _listed(folder: Path, most: int, secrets: str | None) -> _Folder:
    """Its first entries. Raises OSError."""
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
