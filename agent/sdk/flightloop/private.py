"""Files and folders that only their owner may read, whatever the umask says."""

from __future__ import annotations

import os
from pathlib import Path

OTHERS = 0o077
"""Permission bits of everybody but the owner."""


def opener(path: str, flags: int) -> int:
    """For ``open``: a file that is made gets mode 0600. One that is there keeps its own."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def folder(path: Path) -> Path:
    """The folder, made with mode 0700 if it isn't there; those above it too.

    Raises:
        OSError: it cannot be made.
    """
    for missing in reversed([each for each in (path, *path.parents) if not each.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    return path
