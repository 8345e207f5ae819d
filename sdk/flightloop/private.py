"""Private files and folders, readable by their owner only, regardless of the umask."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import repeat
from pathlib import Path

OTHERS = 0o077
"""Permission bits of group and others."""
DEEPEST = 16


def opener(path: str, flags: int) -> int:
    """Opener for ``open``: new files get mode 0600, existing ones keep theirs, symbolic links are rejected."""
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def folder(path: Path) -> Path:
    """Creates the folder and its missing parents with mode 0700, and returns it.

    Raises:
        OSError: the folder cannot be created.
    """
    for missing in reversed([each for each in (path, *path.parents) if not each.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    return path


def write_once(path: Path, text: str) -> None:
    """Writes a new private file atomically by linking it into place. An existing file, which another process may have
    just written, stays. Raises OSError."""
    with _draft(path, text) as draft, suppress(FileExistsError):
        os.link(draft, path)


def replace(path: Path, text: str) -> None:
    """Replaces a private file atomically and durably. Raises OSError."""
    with _draft(path, text) as draft:
        os.rename(draft, path)
        handle = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def _draft(path: Path, text: str) -> Iterator[str]:
    """A private file with this text beside ``path``, removed at the end if it is still there."""
    folder(path.parent)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(handle)
        yield draft
    finally:
        with suppress(FileNotFoundError):
            os.unlink(draft)


def walk(folder: Path, most: int | None = None, skip: Path | None = None) -> Iterator[int]:
    """Yields descriptors of a folder and its entries, each open until the next is requested.

    Symbolic links are not followed, because other users may replace entries by links during the walk. Levels below
    `DEEPEST` and entries that this user can't open are skipped.

    Args:
        folder: the folder's path, without symbolic links.
        most: maximum number of entries; None: no limit.
        skip: a folder to skip.

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
