"""Loads whichever model the configuration names."""

from __future__ import annotations

from pathlib import Path

from flightloop.errors import ConfigError
from model.config import EMBEDDED, ModelConfig
from model.weights.embedded import load_embedded, load_gguf
from model.weights.loaded import LoadedModel

__all__ = ["LoadedModel", "load_model"]


def load_model(config: ModelConfig) -> LoadedModel:
    """The embedded model or a local llama GGUF.

    Raises:
        ConfigError: when what ``config.model`` names is missing or can't be loaded.
    """
    if config.model == EMBEDDED:
        return load_embedded(config)
    path = Path(config.model)
    if path.suffix == ".gguf":
        return load_gguf(path, config, path.stem)
    raise ConfigError(f'model must be "embedded" or a local .gguf file, not {config.model!r}', param="model")
