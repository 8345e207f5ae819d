"""Client and wire types of flightloop, mission control for tool-using agents."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from flightloop import errors
from flightloop.errors import FlightloopError
from flightloop.subject import Subject
from flightloop.tool import POLICY_EGRESS, Effect, Permission, ToolContext, ToolRefused, tool

if TYPE_CHECKING:
    from flightloop.client import AsyncFlightloop, Flightloop
    from flightloop.code_generator import CodeGenerator

__all__ = [
    "POLICY_EGRESS",
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

# A tool host imports this package for `tool` alone; the client, with httpx, takes most of its time.
_ON_DEMAND = {
    "AsyncFlightloop": "flightloop.client",
    "CodeGenerator": "flightloop.code_generator",
    "Flightloop": "flightloop.client",
}


if not TYPE_CHECKING:  # checkers of types would take any name for one that exists

    def __getattr__(name: str) -> Any:
        """Imports the client when it is first asked for (PEP 562)."""
        if (module := _ON_DEMAND.get(name)) is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(module), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
