"""``python -m dashboards``: the operator console on http://127.0.0.1:8501.

``FLIGHTLOOP_URL`` names the platform, ``FLIGHTLOOP_CONSOLE_PORT`` another port, ``FLIGHTLOOP_CONSOLE_ADDRESS``
another address than 127.0.0.1 (put a login in front of it: who reaches the console can approve and stop).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def command(environ: dict[str, str]) -> list[str]:
    """The Streamlit command for that environment."""
    port = environ.get("FLIGHTLOOP_CONSOLE_PORT", "8501")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise SystemExit(f"FLIGHTLOOP_CONSOLE_PORT must be a port number, it is {port!r}")
    address = environ.get("FLIGHTLOOP_CONSOLE_ADDRESS", "127.0.0.1")
    flags = [f"--server.port={port}", f"--server.address={address}"]
    return [sys.executable, "-m", "streamlit", "run", str(HERE / "console.py"), *flags]


def main() -> None:
    environ = dict(os.environ)
    # Streamlit reads its settings from the working folder, and puts the script's folder first on the path.
    environ["FLIGHTLOOP_HOME"] = str(Path(environ.get("FLIGHTLOOP_HOME") or ".flightloop").absolute())
    environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE.parent), environ.get("PYTHONPATH")]))
    arguments = command(environ)
    os.chdir(HERE)
    os.execve(arguments[0], arguments, environ)


if __name__ == "__main__":
    main()
