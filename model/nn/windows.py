"""Applies the configuration to a decoder's shape: layers and heads with a window, and the longest context."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from flightloop.errors import ConfigError
from model.config import ModelConfig
from model.nn.shape import DecoderConfig

Head = tuple[int, int]
"""Layer, and key/value head in the layer."""

# Heads that "auto" keeps global, by the model's layers, width and vocabulary.
MEASURED_GLOBAL_HEADS: dict[tuple[int, int, int], tuple[Head, ...]] = {
    # SmolLM2-135M, 90 heads: heads were given a window in rounds, starting with those that matter least for finding
    # needles in essays. These remained global (docs/decisions/0010-windows.md).
    (30, 576, 49_152): (
        *((2, 1), (3, 0), (3, 2), (4, 0), (6, 1), (7, 0), (7, 1), (7, 2), (8, 0), (8, 2), (14, 1), (15, 2), (16, 0)),
        *((17, 0), (17, 1), (18, 2), (19, 1), (20, 1), (21, 2), (22, 1), (23, 0), (23, 2)),
    ),
    # Qwen2.5-Coder-0.5B, 48 heads: those with at least a tenth of their attention on the needle that is asked for.
    (24, 896, 151_936): (
        *((3, 0), (9, 1), (11, 0), (11, 1), (13, 0), (13, 1), (14, 1), (15, 0), (15, 1), (16, 0), (16, 1), (17, 1)),
        *((18, 0), (18, 1), (19, 0), (20, 1), (21, 0), (21, 1), (22, 0), (22, 1), (23, 0), (23, 1)),
    ),
}


MOST_STRETCH, STRETCH = 4, 2.0
"""``MOST_STRETCH``: longest context of a model with windows, as a multiple of the model's own. ``STRETCH``: the rotary
base is chosen for a context that is longer than the required one by this factor."""


def windowed(shape: DecoderConfig, config: ModelConfig) -> DecoderConfig:
    """The shape with windows, sinks, retrieval and context length of ``config``.

    Without a window, the context is limited to the model's own even if ``max_context`` is larger: full attention beyond
    it would be slow and no better.

    Raises:
        ConfigError: the model lacks a configured layer or head, or has no measured heads for "auto", or the context is
            more than `MOST_STRETCH` times the model's own.
    """
    window = config.attention_window
    shape = replace(shape, retrieved=config.attention_retrieved)
    if not window:
        return shape
    heads = _global_heads(shape, config)
    by_layer = tuple(
        tuple(head for head in range(shape.kv_heads) if (layer, head) in heads) for layer in range(shape.layers)
    )
    return replace(
        stretched(shape, config.max_context),
        windows=tuple(0 if len(each) == shape.kv_heads else window for each in by_layer),
        sinks=config.attention_sinks,
        global_heads=by_layer,
    )


def stretched(shape: DecoderConfig, positions: int) -> DecoderConfig:
    """The shape with a rotary table for ``positions`` positions.

    Beyond the model's own context, the slowest-rotating pairs would reach angles that the model was not trained on,
    which makes its output incoherent. Raising the base slows those pairs most and the fastest hardly at all
    ("NTK-aware" scaling), so neighbouring tokens stay as distinct as before.
    """
    factor = positions / shape.max_positions
    if factor <= 1:
        return shape
    if factor > MOST_STRETCH:
        raise ConfigError(
            f"max_context ({positions}) is more than {MOST_STRETCH} times the model's own context "
            f"({shape.max_positions})",
            param="max_context",
        )
    exponent = shape.head_width / (shape.head_width - 2)
    return replace(shape, max_positions=positions, rope_theta=shape.rope_theta * (STRETCH * factor) ** exponent)


def _global_heads(shape: DecoderConfig, config: ModelConfig) -> Collection[Head]:
    layers, heads = config.global_layers, config.global_heads
    if layers == "auto" and heads == "auto":
        measured = MEASURED_GLOBAL_HEADS.get((shape.layers, shape.width, shape.vocab))
        if measured is None:
            raise ConfigError(
                "attention_window requires global_layers or global_heads (layers or heads without a window): "
                '"auto" works for the embedded models edge and standard only',
                param="global_heads",
            )
        return measured
    named = () if layers == "auto" else layers
    chosen = {(layer, head) for layer in named for head in range(shape.kv_heads)}
    chosen |= set() if heads == "auto" else set(heads)
    for layer, head in sorted(chosen | {(layer, 0) for layer in named}):
        if layer >= shape.layers or head >= shape.kv_heads:
            raise ConfigError(
                f"layer {layer}, head {head} does not exist: the model has layers 0 to {shape.layers - 1} "
                f"and heads 0 to {shape.kv_heads - 1}",
                param="global_layers" if layer in named else "global_heads",
            )
    return chosen
