"""Starts flightloop's MCP server for the programs of MCP clients: standard library only."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

COMMAND = (os.environ.get("SERVER_PYTHON", ""), "-m", "agent", "mcp", "serve")
"""Serves over standard input and output."""


def settings() -> dict[str, str]:
    """Environment of the server: the platform's address and key, and flightloop's modules."""
    passed = ("FLIGHTLOOP_URL", "FLIGHTLOOP_API_KEY", "PATH", "HOME")
    return {**{name: os.environ[name] for name in passed}, "PYTHONPATH": os.environ["SERVER_PATH"]}


@contextmanager
def http_server() -> Iterator[str]:
    """Serves over HTTP on a free port while the context is open. Yields the URL."""
    command = [*COMMAND, "--http", "--port", "0"]
    process = subprocess.Popen(command, env=settings(), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        yield next(word for word in line.replace(",", " ").split() if word.startswith("http"))
    finally:
        process.terminate()
        process.wait(20)
