"""``python -m dashboards`` starts the operator console on http://127.0.0.1:8501, where visitors log in with an API key.

Environment variables: ``FLIGHTLOOP_URL`` is the platform's URL, ``FLIGHTLOOP_CONSOLE_PORT`` and
``FLIGHTLOOP_CONSOLE_ADDRESS`` are the port and address to bind to, and ``FLIGHTLOOP_CONSOLE_HOSTS`` lists the
host names under which a proxy serves the console. docs/console.md has those of the login with OpenID Connect.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from argparse import ArgumentParser, RawTextHelpFormatter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dashboards import link

if TYPE_CHECKING:  # imports Streamlit, and the login link's key must be received before
    from dashboards.oidc import OidcSettings

HERE = Path(__file__).resolve().parent
ADDRESS, PORT = "127.0.0.1", 8501


@dataclass(frozen=True)
class ConsoleSettings:
    port: int = PORT
    address: str = ADDRESS
    hosts: tuple[str, ...] = ()
    """Further host names under which browsers reach the console."""

    def streamlit(self) -> dict[str, object]:
        """Streamlit's options. They take precedence over its files and environment variables."""
        from dashboards.uploads import MEGABYTES  # not before the login link's key is received

        return {
            "server.port": self.port,
            "server.address": self.address,
            "server.enableCORS": True,
            "server.enableXsrfProtection": True,
            "server.maxUploadSize": MEGABYTES,
            "server.corsAllowedOrigins": [f"https://{host}" for host in self.hosts],
            "secrets.files": [],  # a file in the user's home could switch on another login
        }


def settings(environ: Mapping[str, str]) -> ConsoleSettings:
    """Reads the settings. Raises SystemExit with the variable's name if a value is invalid."""
    port = environ.get("FLIGHTLOOP_CONSOLE_PORT", str(PORT))
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise SystemExit(f"FLIGHTLOOP_CONSOLE_PORT must be a port number from 1 to 65535; it is {port!r}")
    hosts = tuple(environ.get("FLIGHTLOOP_CONSOLE_HOSTS", "").lower().replace(",", " ").split())
    for host in hosts:
        if not re.fullmatch(r"[a-z0-9.-]+", host):
            raise SystemExit(f"FLIGHTLOOP_CONSOLE_HOSTS must contain host names without scheme and port, not {host!r}")
    return ConsoleSettings(int(port), environ.get("FLIGHTLOOP_CONSOLE_ADDRESS", ADDRESS), hosts)


def check_free(address: str, port: int) -> None:
    """Raises SystemExit with a message if the port is taken."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # Lingering closed connections don't block the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except OSError as error:
        why = f"the console cannot listen on {address}:{port} ({error.strerror})"
        raise SystemExit(f"error: {why}; set FLIGHTLOOP_CONSOLE_PORT to a free port") from None


def main() -> None:
    ArgumentParser(prog="python -m dashboards", description=__doc__, formatter_class=RawTextHelpFormatter).parse_args()
    chosen = settings(os.environ)
    for name in ("FLIGHTLOOP_API_KEY", "FLIGHTLOOP_HOME"):  # the client would read an API key from these
        os.environ.pop(name, None)
    left = link.receive(os.environ)  # before any other code runs in this process
    if left is not None:
        link.offer(left)
    from dashboards.oidc import check_installed, oidc_settings

    oidc = oidc_settings(os.environ)
    if oidc is not None:
        check_redirect(oidc.redirect_url, chosen)
        check_installed()
    check_free(chosen.address, chosen.port)
    serve(chosen, oidc)


def check_redirect(url: str, chosen: ConsoleSettings) -> None:
    """Raises SystemExit if the console would refuse the requests with which the issuer sends visitors back."""
    from dashboards.origin import LOOPBACK

    host = urlsplit(url).hostname or ""
    if host not in (*LOOPBACK, chosen.address, *chosen.hosts):
        raise SystemExit(
            f"FLIGHTLOOP_CONSOLE_OIDC_REDIRECT_URL: the console refuses requests to {host}; add it to"
            " FLIGHTLOOP_CONSOLE_HOSTS"
        )


def serve(chosen: ConsoleSettings, oidc: OidcSettings | None = None) -> None:
    """Serves the console until SIGINT or SIGTERM."""
    import streamlit as st
    from starlette.middleware import Middleware

    from dashboards.origin import OwnOrigin
    from dashboards.secure_cookies import SecureCookies

    sys.path.insert(0, str(HERE.parent))
    os.chdir(HERE)  # Streamlit also reads settings from the working folder, which may belong to somebody else
    guards = [Middleware(OwnOrigin, address=chosen.address, names=chosen.hosts)]
    if oidc is not None and oidc.is_encrypted:
        guards.append(Middleware(SecureCookies))
    secrets = {"auth": oidc.secrets()} if oidc is not None else None
    st.App(HERE / "console.py", middleware=guards, secrets=secrets).run(config=chosen.streamlit())


if __name__ == "__main__":
    main()
