"""What each command begins with."""

from __future__ import annotations

from agent.config import Settings, load_settings
from agent.serve.logs import log_to_stderr


def configured(**overrides: object) -> Settings:
    """The settings, with logs as they say; ``overrides`` (not None) win over the environment. Raises ConfigError."""
    settings = load_settings(**overrides)
    log_to_stderr(settings.log_level)
    return settings
