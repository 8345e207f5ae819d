"""Processes that a platform has started."""

from __future__ import annotations

import psutil


def family_of(pid: int) -> list[psutil.Process]:
    """A process and all that descend from it."""
    first = psutil.Process(pid)
    return [first, *first.children(recursive=True)]
