"""The command ``flightloop``."""

from flightloop.cli.entry import main

__all__ = ["main"]
