"""The limits of ``agent.bounded_http`` for Serve's HTTP proxy, which has none and no option for any.

Serve calls a function of ours in the proxy's process before it listens, where an environment variable names one.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import structlog
import uvicorn.config

from agent.bounded_http import BoundedHttp, HttpLimits
from agent.connections import Connections, most_connections

log = structlog.get_logger(__name__)
VARIABLE = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
CALLBACK = "agent.serve.bounded_proxy.install"


def ask_for_limits() -> None:
    """To be called before Ray starts, whose processes inherit the environment."""
    os.environ.setdefault(VARIABLE, CALLBACK)


def check_limits() -> None:
    """Tells in the log where the proxy has no limits: Ray was started by something else."""
    if os.environ.get(VARIABLE) != CALLBACK:
        log.warning(
            f"Serve's HTTP proxy has no limits for heads and slow clients: start Ray with {VARIABLE}={CALLBACK}"
        )


def install() -> list[Any]:
    """Has every uvicorn server of this process speak HTTP within the limits. Returns no middleware."""
    protocols: dict[str, Any] = uvicorn.config.HTTP_PROTOCOLS
    protocols["auto"] = partial(BoundedHttp, Connections(most_connections()), HttpLimits())
    return []
