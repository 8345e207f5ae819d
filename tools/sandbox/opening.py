"""Opens files safely by paths in which other processes may place symbolic links at any time."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

STEP = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def without_links(path: str | Path, flags: int, folder: int | None = None) -> int:
    """Opens a file without following symbolic links, and returns its descriptor.

    Args:
        path: absolute, or relative to ``folder``, a descriptor.
        flags: as for ``os.open``.

    Raises:
        OSError: the file doesn't exist; ELOOP: the path contains a link; EXDEV: the path contains ``..``.
    """
    steps = list(Path(path).parts)
    if os.pardir in steps:
        raise OSError(errno.EXDEV, "the path contains ..", str(path))
    start = steps.pop(0) if Path(path).is_absolute() else "."
    here = os.open(start, STEP, dir_fd=folder)
    for index, step in enumerate(steps):
        outer, wanted = here, STEP if index < len(steps) - 1 else flags | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            here = os.open(step, wanted, dir_fd=outer)
        finally:
            os.close(outer)
        if wanted & os.O_PATH and stat.S_ISLNK(os.fstat(here).st_mode):
            os.close(here)
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return here
