"""Which layers look through a window, from what the user configures."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from flightloop.errors import ConfigError
from model.config import ModelConfig
from model.nn.shape import DecoderConfig

# The layers that "auto" keeps global, by the model's layers, width and vocabulary.
MEASURED_GLOBAL_LAYERS: dict[tuple[int, int, int], tuple[int, ...]] = {}


def windowed(shape: DecoderConfig, config: ModelConfig) -> DecoderConfig:
    """The shape with the windows and sinks that ``config`` asks for.

    Raises:
        ConfigError: when it names layers that the model doesn't have, or leaves the choice of layers to measurements
            that there are none of for this model.
    """
    window = config.attention_window
    if not window:
        return shape
    chosen = _global_layers(shape, config.global_layers)
    windows = tuple(0 if layer in chosen else window for layer in range(shape.layers))
    return replace(shape, windows=windows, sinks=config.attention_sinks)


def _global_layers(shape: DecoderConfig, wanted: tuple[int, ...] | Literal["auto"]) -> tuple[int, ...]:
    if wanted == "auto":
        measured = MEASURED_GLOBAL_LAYERS.get((shape.layers, shape.width, shape.vocab))
        if measured is None:
            raise ConfigError(
                'global_layers must name the layers that see everything: "auto" knows them for the embedded model only',
                param="global_layers",
            )
        return measured
    for layer in wanted:
        if layer >= shape.layers:
            raise ConfigError(
                f"global_layers names layer {layer}, but the model's layers are 0 to {shape.layers - 1}",
                param="global_layers",
            )
    return wanted
