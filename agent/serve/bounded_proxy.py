"""Installs the limits of ``agent.serve.bounded_http`` in Serve's HTTP proxy, which has no option for them.

Serve calls a function named by an environment variable in the proxy's process before it listens.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import structlog
import uvicorn.config

from agent.serve.bounded_http import BoundedHttp, HttpLimits
from agent.serve.open_connections import Connections, most_connections

log = structlog.get_logger(__name__)
VARIABLE = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
CALLBACK = "agent.serve.bounded_proxy.install"


def ask_for_limits() -> None:
    """Sets the environment variable with which Serve's HTTP proxy calls ``install``. Call it before Ray starts, because
    Ray's processes inherit the environment."""
    os.environ.setdefault(VARIABLE, CALLBACK)


def check_limits() -> None:
    """Logs a warning if Ray was started without ``ask_for_limits``."""
    if os.environ.get(VARIABLE) != CALLBACK:
        log.warning(
            f"Serve's HTTP proxy has no limits on request heads and slow clients: start Ray with {VARIABLE}={CALLBACK}"
        )


def install() -> list[Any]:
    """Makes BoundedHttp uvicorn's default protocol in this process. Returns no middleware."""
    protocols: dict[str, Any] = uvicorn.config.HTTP_PROTOCOLS
    protocols["auto"] = partial(BoundedHttp, Connections(most_connections()), HttpLimits())
    return []
