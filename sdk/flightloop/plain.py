"""Reads project files safely: pipes, devices and endless files can't block the reader."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

MOST_BYTES = 16 * 1024**2


def read(path: Path, most: int = MOST_BYTES) -> bytes:
    """Reads a regular file. Raises OSError if it cannot be read, is not regular, or has more than ``most`` bytes."""
    # Non-blocking, because opening a pipe would wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        found = file.read(most + 1)
    if len(found) > most:
        raise OSError(errno.EFBIG, f"it has more than {most} bytes", str(path))
    return found


def read_text(path: Path, most: int = MOST_BYTES) -> str:
    """Reads a regular file as UTF-8. Raises OSError like ``read``, and UnicodeDecodeError."""
    return read(path, most).decode("utf-8")
