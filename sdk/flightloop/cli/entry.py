"""Starts the command line, or says which extra it needs."""

from __future__ import annotations

import sys


def main() -> None:
    """The console script. Exit codes: 0 well, 1 an error (one line on stderr), 2 wrong usage, 130 Ctrl-C."""
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
