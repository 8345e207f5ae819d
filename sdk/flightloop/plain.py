"""Files of a project, read while others wait: a pipe, a device or a file without end holds nobody up."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

MOST_BYTES = 16 * 1024**2


def read(path: Path, most: int = MOST_BYTES) -> bytes:
    """What a plain file holds. Raises OSError: it cannot be read, is none, or has more than ``most`` bytes."""
    # Without blocking: opening a pipe would wait for somebody to write.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no plain file", str(path))
        found = file.read(most + 1)
    if len(found) > most:
        raise OSError(errno.EFBIG, f"it has more than {most} bytes", str(path))
    return found


def read_text(path: Path, most: int = MOST_BYTES) -> str:
    """As UTF-8. Raises OSError, as ``read``, and UnicodeDecodeError."""
    return read(path, most).decode("utf-8")
