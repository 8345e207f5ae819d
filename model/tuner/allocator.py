"""Keeps the memory that a training step frees for the next step.

The C library gives large blocks back to the system as soon as they are freed, and the system clears each page that is
asked for again. A step frees and asks for gigabytes, so that took a quarter of its time.
"""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # parameters of mallopt(3)


def keep_freed_memory() -> bool:
    """Lets this process keep what it frees, until it ends. Returns False where the C library is not glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, -1))
