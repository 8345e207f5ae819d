"""Limit of open files of this process. Each connection counts as an open file."""

from __future__ import annotations

import resource


def raise_limit() -> None:
    """Raises the soft limit to the hard limit. Child processes inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError):  # macOS reports no hard limit, but has one
        return


def limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**20 if soft == resource.RLIM_INFINITY else soft
