"""Which layers and heads look through a window, from what the user configures."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from flightloop.errors import ConfigError
from model.config import ModelConfig
from model.nn.shape import DecoderConfig

Head = tuple[int, int]
"""Layer, and key/value head in it."""

# The heads that "auto" keeps global, by the model's layers, width and vocabulary.
MEASURED_GLOBAL_HEADS: dict[tuple[int, int, int], tuple[Head, ...]] = {
    # SmolLM2-135M: of 90 heads, those left after the ones that needles in essays miss least were put behind a window,
    # round by round (docs/decisions/0009-windows.md).
    (30, 576, 49_152): (
        *((2, 1), (3, 0), (3, 2), (4, 0), (6, 1), (7, 0), (7, 1), (7, 2), (8, 0), (8, 1), (8, 2), (14, 1), (14, 2)),
        *((15, 1), (15, 2), (16, 0), (16, 2), (17, 0), (17, 1), (18, 2), (19, 1), (20, 1), (21, 2), (22, 1), (23, 0)),
        *((23, 2), (28, 0), (29, 2)),
    ),
}


def windowed(shape: DecoderConfig, config: ModelConfig) -> DecoderConfig:
    """The shape with the windows and sinks that ``config`` asks for.

    Raises:
        ConfigError: when it names layers or heads that the model doesn't have, or leaves the choice to measurements
            that there are none of for this model.
    """
    window = config.attention_window
    if not window:
        return shape
    heads = _global_heads(shape, config)
    by_layer = tuple(
        tuple(head for head in range(shape.kv_heads) if (layer, head) in heads) for layer in range(shape.layers)
    )
    return replace(
        shape,
        windows=tuple(0 if len(wide) == shape.kv_heads else window for wide in by_layer),
        sinks=config.attention_sinks,
        global_heads=by_layer,
    )


def _global_heads(shape: DecoderConfig, config: ModelConfig) -> Collection[Head]:
    layers, heads = config.global_layers, config.global_heads
    if layers == "auto" and heads == "auto":
        measured = MEASURED_GLOBAL_HEADS.get((shape.layers, shape.width, shape.vocab))
        if measured is None:
            raise ConfigError(
                "attention_window needs global_layers or global_heads, what sees everything: "
                '"auto" knows it for the embedded model only',
                param="global_heads",
            )
        return measured
    named = () if layers == "auto" else layers
    chosen = {(layer, head) for layer in named for head in range(shape.kv_heads)}
    chosen |= set() if heads == "auto" else set(heads)
    for layer, head in sorted(chosen | {(layer, 0) for layer in named}):
        if layer >= shape.layers or head >= shape.kv_heads:
            raise ConfigError(
                f"layer {layer}, head {head} is to see everything, but the model has layers 0 to {shape.layers - 1} "
                f"and heads 0 to {shape.kv_heads - 1}",
                param="global_layers" if layer in named else "global_heads",
            )
    return chosen
