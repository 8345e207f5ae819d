"""Entry point of the CLI; names the missing extra if its packages are not installed."""

from __future__ import annotations

import sys


def main() -> None:
    """Console script. Exit codes: 0 success, 1 error (one line on stderr), 2 wrong usage, 130 Ctrl-C."""
    try:
        from flightloop.cli.app import app
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        print("flightloop: the command line needs two more packages: pip install 'flightloop[cli]'", file=sys.stderr)
        raise SystemExit(1) from None
    from flightloop.cli.errors import one_line

    with one_line():
        app()
