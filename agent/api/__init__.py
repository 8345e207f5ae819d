"""HTTP API, an ASGI application: ``create_app(deps)``."""

from agent.api.app import create_app
from agent.api.deps import ApiDeps, Catalogue

__all__ = ["ApiDeps", "Catalogue", "create_app"]
