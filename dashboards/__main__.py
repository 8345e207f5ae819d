"""``python -m dashboards``: the operator console on http://127.0.0.1:8501.

``FLIGHTLOOP_URL`` names the platform, ``FLIGHTLOOP_CONSOLE_PORT`` another port, ``FLIGHTLOOP_CONSOLE_ADDRESS``
another address than 127.0.0.1 (put a login in front of it: who reaches the console can approve and stop).
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ADDRESS, PORT = "127.0.0.1", "8501"


def command(environ: dict[str, str]) -> list[str]:
    """The Streamlit command for that environment."""
    port = environ.get("FLIGHTLOOP_CONSOLE_PORT", PORT)
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise SystemExit(f"FLIGHTLOOP_CONSOLE_PORT must be a port number, it is {port!r}")
    address = environ.get("FLIGHTLOOP_CONSOLE_ADDRESS", ADDRESS)
    flags = [f"--server.port={port}", f"--server.address={address}"]
    return [sys.executable, "-m", "streamlit", "run", str(HERE / "console.py"), *flags]


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
    environ = dict(os.environ)
    # Streamlit reads its settings from the working folder, and puts the script's folder first on the path.
    environ["FLIGHTLOOP_HOME"] = str(Path(environ.get("FLIGHTLOOP_HOME") or ".flightloop").absolute())
    environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE.parent), environ.get("PYTHONPATH")]))
    arguments = command(environ)
    check_free(environ.get("FLIGHTLOOP_CONSOLE_ADDRESS", ADDRESS), int(environ.get("FLIGHTLOOP_CONSOLE_PORT", PORT)))
    os.chdir(HERE)
    os.execve(arguments[0], arguments, environ)


if __name__ == "__main__":
    main()
