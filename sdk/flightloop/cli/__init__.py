"""The ``flightloop`` command."""

from flightloop.cli.entry import main

__all__ = ["main"]
