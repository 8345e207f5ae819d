"""Client and wire types of flightloop, mission control for tool-using agents."""

import sys

# ``python -m`` puts the working folder first on the path, where a user's file may have the name of a library.
if sys.argv[:1] == ["-m"] and f"{__name__}.testing" in sys.orig_argv and not sys.flags.safe_path:
    del sys.path[0]

from flightloop import errors
from flightloop.client import AsyncFlightloop, Flightloop
from flightloop.errors import FlightloopError
from flightloop.tool import Effect, Permission, ToolContext, ToolRefused, tool

__all__ = [
    "AsyncFlightloop",
    "Effect",
    "Flightloop",
    "FlightloopError",
    "Permission",
    "ToolContext",
    "ToolRefused",
    "errors",
    "tool",
]
