"""Settings and logging for commands."""

from __future__ import annotations

from agent.config import Settings, load_settings
from agent.serve.logs import log_to_stderr


def configured(**overrides: object) -> Settings:
    """Loads the settings, overridden by ``overrides`` that are not None, and sets up logging. Raises ConfigError."""
    settings = load_settings(**overrides)
    log_to_stderr(settings.log_level)
    return settings
