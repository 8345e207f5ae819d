"""Loads the configured model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from flightloop.errors import ConfigError
from model.config import EDGE, ModelConfig
from model.weights.embedded import load_embedded, load_gguf
from model.weights.files import model_path
from model.weights.folder import described_in, load_folder
from model.weights.gguf import GgufFile
from model.weights.gguf_decoder import gguf_shape
from model.weights.loaded import LoadedModel
from model.weights.sources import SOURCES

__all__ = ["LoadedModel", "check_model", "load_model"]


def load_model(config: ModelConfig) -> LoadedModel:
    """Loads an embedded model, a GGUF file, or a checkpoint folder of a known family.

    Raises:
        ConfigError: the model is missing or can't be loaded, or its experts can't be split over the shards.
    """
    loaded = _load(config)
    if config.shards > 1 and (loaded.config.experts == 0 or loaded.config.experts % config.shards):
        raise ConfigError(
            f"shards ({config.shards}) must divide the model's {loaded.config.experts} experts", param="shards"
        )
    return loaded


def check_model(config: ModelConfig) -> None:
    """Reads the model's description, so that a model that can't be served is told before anything starts.

    Raises:
        ConfigError: a file is missing or broken, or the model isn't supported.
    """
    path = model_path(config)
    if path.is_dir():
        described_in(path, config)
    else:
        gguf_shape(GgufFile(path))


def _load(config: ModelConfig) -> LoadedModel:
    path = model_path(config)
    if config.model == EDGE:
        return load_embedded(config)
    if path.is_dir():
        return load_folder(path, config, Path(config.model).name)
    if config.model in SOURCES:
        source = SOURCES[config.model]
        name = f"{source.title.lower()}{'-moe' if config.routed_experts else ''}"
        return load_gguf(path, replace(config, expert_width=source.expert_width), name)
    # Experts are added to the embedded models only, unless trained ones are given.
    return load_gguf(path, config if config.experts else replace(config, routed_experts=0), path.stem)
