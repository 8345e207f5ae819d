"""``python -m dashboards``: the operator console on http://127.0.0.1:8501. It asks each visitor for an API key.

``FLIGHTLOOP_URL`` names the platform, ``FLIGHTLOOP_CONSOLE_PORT`` another port, ``FLIGHTLOOP_CONSOLE_ADDRESS``
another address than 127.0.0.1, and ``FLIGHTLOOP_CONSOLE_HOSTS`` the hosts under which a proxy serves it.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dashboards import link

HERE = Path(__file__).resolve().parent
ADDRESS, PORT = "127.0.0.1", 8501


@dataclass(frozen=True)
class ConsoleSettings:
    port: int = PORT
    address: str = ADDRESS
    hosts: tuple[str, ...] = ()
    """Further names under which browsers reach it."""

    def streamlit(self) -> dict[str, object]:
        """Streamlit's options. Those given here win over its files and its environment variables."""
        return {
            "server.port": self.port,
            "server.address": self.address,
            "server.enableCORS": True,
            "server.enableXsrfProtection": True,
            "server.corsAllowedOrigins": [f"https://{host}" for host in self.hosts],
        }


def settings(environ: Mapping[str, str]) -> ConsoleSettings:
    """Raises SystemExit, which names the variable, where a value can't be used."""
    port = environ.get("FLIGHTLOOP_CONSOLE_PORT", str(PORT))
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise SystemExit(f"FLIGHTLOOP_CONSOLE_PORT must be a port number, it is {port!r}")
    hosts = tuple(environ.get("FLIGHTLOOP_CONSOLE_HOSTS", "").lower().replace(",", " ").split())
    for host in hosts:
        if not re.fullmatch(r"[a-z0-9.-]+", host):
            raise SystemExit(f"FLIGHTLOOP_CONSOLE_HOSTS takes host names without scheme and port, one is {host!r}")
    return ConsoleSettings(int(port), environ.get("FLIGHTLOOP_CONSOLE_ADDRESS", ADDRESS), hosts)


def check_free(address: str, port: int) -> None:
    """Raises SystemExit, with a line that says so, where somebody else listens."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what is left of closed connections counts not
            probe.bind(place)
    except OSError as error:
        why = f"the console cannot listen on {address}:{port} ({error.strerror})"
        raise SystemExit(f"error: {why}; name a free port by FLIGHTLOOP_CONSOLE_PORT") from None


def main() -> None:
    chosen = settings(os.environ)
    for name in ("FLIGHTLOOP_API_KEY", "FLIGHTLOOP_HOME"):  # the client would take a key from there
        os.environ.pop(name, None)
    left = link.receive(os.environ)  # before anything else runs in this process
    if left is not None:
        link.offer(left)
    check_free(chosen.address, chosen.port)
    serve(chosen)


def serve(chosen: ConsoleSettings) -> None:
    """Serves the console until SIGINT or SIGTERM."""
    import streamlit as st
    from starlette.middleware import Middleware

    from dashboards.origin import OwnOrigin

    sys.path.insert(0, str(HERE.parent))
    os.chdir(HERE)  # Streamlit also reads settings from the working folder, whose they may not be
    guard = Middleware(OwnOrigin, address=chosen.address, names=chosen.hosts)
    st.App(HERE / "console.py", middleware=[guard]).run(config=chosen.streamlit())


if __name__ == "__main__":
    main()
