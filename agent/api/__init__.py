"""HTTP API, an ASGI application: ``create_app(deps)``."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent.api.app import create_app
    from agent.api.deps import ApiDeps, Catalogue

__all__ = ["ApiDeps", "Catalogue", "create_app"]

# The settings need `agent.api.auth` alone: a command that starts no server need not wait for the whole API.
_ON_DEMAND = {"ApiDeps": "agent.api.deps", "Catalogue": "agent.api.deps", "create_app": "agent.api.app"}


if not TYPE_CHECKING:  # checkers of types would take any name for one that exists

    def __getattr__(name: str) -> Any:
        """Imports the application when it is first asked for (PEP 562)."""
        if (module := _ON_DEMAND.get(name)) is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(module), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
