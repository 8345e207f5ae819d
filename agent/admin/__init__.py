"""Admin commands: ``python -m agent``."""

from agent.admin.entry import app

__all__ = ["app"]
