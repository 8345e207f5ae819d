"""Files and folders that only their owner may read, whatever the umask says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import repeat
from pathlib import Path

OTHERS = 0o077
"""Permission bits of everybody but the owner."""
DEEPEST = 16


def opener(path: str, flags: int) -> int:
    """For ``open``: a file that is made gets mode 0600. One that is there keeps its own; a link is not followed."""
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def folder(path: Path) -> Path:
    """The folder, made with mode 0700 if it isn't there; those above it too.

    Raises:
        OSError: it cannot be made.
    """
    for missing in reversed([each for each in (path, *path.parents) if not each.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    return path


def walk(folder: Path, most: int | None = None, skip: Path | None = None) -> Iterator[int]:
    """Descriptors of a folder and of what is in it, each open until the next one is asked for.

    No link is followed: others may be writing there, and put one in the place of what was looked at. What lies deeper
    than `DEEPEST` levels is left out, and what this user can't open.

    Args:
        folder: by its real path.
        most: entries; what comes after them is left out. None: no limit.
        skip: a folder that is left out.

    Raises:
        OSError: the folder can't be opened.
    """
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield here
        left = repeat(None) if most is None else repeat(None, most)
        yield from _entries(here, folder, DEEPEST, left, skip)
    finally:
        os.close(here)


def _entries(here: int, folder: Path, levels: int, left: Iterator[None], skip: Path | None) -> Iterator[int]:
    with os.scandir(here) as entries:
        for entry in entries:
            if next(left, here) is not None:
                return
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            with suppress(OSError):
                opened = os.open(entry.name, flags, dir_fd=here)
                try:
                    if folder / entry.name == skip:
                        continue
                    yield opened
                    if levels and entry.is_dir(follow_symlinks=False):
                        yield from _entries(opened, folder / entry.name, levels - 1, left, skip)
                finally:
                    os.close(opened)
