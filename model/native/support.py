"""Checks whether the kernels can run a model on this machine."""

from __future__ import annotations

from pathlib import Path

from flightloop.errors import ConfigError
from model.native.build import compiled
from model.native.kinds import AVX2
from model.native.kinds import obstacle as kind_obstacle
from model.nn.shape import DecoderConfig

HEAD_WIDTHS = (32, 64, 128)
MOST_EXPERTS = 512
MOST_GROUPED = 64
"""Maximum number of query heads that share a key/value head."""
MOST_MASKED = 32
"""Maximum number of key/value heads of a layer in which some heads ignore the window."""


def obstacle(shape: DecoderConfig, cache: Path) -> str | None:
    """The reason why the kernels can't run this model here; None if they can.

    Args:
        shape: the model's shape.
        cache: folder of the compiled kernels; they are compiled if they are missing.
    """
    reason = machine_obstacle() or _shape(shape)
    if reason:
        return reason
    try:
        compiled(cache.expanduser())
    except ConfigError as error:
        return error.message
    return None


def machine_obstacle() -> str | None:
    """The reason why the kernels can't run any model here; None if they can."""
    return kind_obstacle(AVX2)


def _shape(shape: DecoderConfig) -> str | None:
    if shape.width % 32:
        return f"the model's width, {shape.width}, is not a multiple of 32"
    if shape.head_width not in HEAD_WIDTHS:
        return f"the heads' width, {shape.head_width}, is not one of {', '.join(map(str, HEAD_WIDTHS))}"
    if shape.vocab % 16:
        return f"the vocabulary, {shape.vocab}, is not a multiple of 16"
    if shape.experts > MOST_EXPERTS or shape.heads > MOST_GROUPED * shape.kv_heads:
        return f"more than {MOST_EXPERTS} experts, or more than {MOST_GROUPED} query heads per key/value head"
    if shape.global_heads and shape.kv_heads > MOST_MASKED:
        return f"{shape.kv_heads} key/value heads exceed {MOST_MASKED}, the limit if some heads ignore the window"
    return None
