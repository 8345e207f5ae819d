"""How many files this process may have open; each connection is one."""

from __future__ import annotations

import resource


def raise_limit() -> None:
    """As high as it may go without privileges; children inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError):  # macOS has "no limit" as the hard one and refuses it as the soft one
        return


def limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**20 if soft == resource.RLIM_INFINITY else soft
