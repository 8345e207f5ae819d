"""Client and wire types of flightloop, mission control for tool-using agents."""

from flightloop import errors
from flightloop.client import AsyncFlightloop, Flightloop
from flightloop.code_generator import CodeGenerator
from flightloop.errors import FlightloopError
from flightloop.subject import Subject
from flightloop.tool import Effect, Permission, ToolContext, ToolRefused, tool

__all__ = [
    "AsyncFlightloop",
    "CodeGenerator",
    "Effect",
    "Flightloop",
    "FlightloopError",
    "Permission",
    "Subject",
    "ToolContext",
    "ToolRefused",
    "errors",
    "tool",
]
