"""flightloop: client and wire types of mission control for tool-using agents."""

import sys

# Started with -m, Python looks first into the working folder, where files may have the names of libraries.
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
