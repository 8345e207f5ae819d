"""Whether the kernels can run a model here."""

from __future__ import annotations

from model.native.build import NEEDED, compiler, processor_flags
from model.nn.shape import DecoderConfig

HEAD_WIDTHS = (32, 64, 128)
MOST_EXPERTS = 512
MOST_GROUPED = 64
"""Query heads that share a key/value head."""
MOST_MASKED = 32
"""Key/value heads of which some see everything."""


def obstacle(shape: DecoderConfig) -> str | None:
    """Why they can't; None: they can."""
    return machine_obstacle() or _shape(shape)


def machine_obstacle() -> str | None:
    """Why they can run no model at all here; None: they can."""
    missing = [name for name in NEEDED if name not in processor_flags()]
    if missing:
        return f"the processor lacks {', '.join(missing)}"
    return None if compiler() else "there is no C++ compiler (g++ or clang++)"


def _shape(shape: DecoderConfig) -> str | None:
    if shape.width % 32:
        return f"the model's width, {shape.width}, is no multiple of 32"
    if shape.head_width not in HEAD_WIDTHS:
        return f"the heads' width, {shape.head_width}, is none of {', '.join(map(str, HEAD_WIDTHS))}"
    if shape.vocab % 16:
        return f"the vocabulary, {shape.vocab}, is no multiple of 16"
    if shape.experts > MOST_EXPERTS or shape.heads > MOST_GROUPED * shape.kv_heads:
        return "there are too many experts or heads"
    if shape.global_heads and shape.kv_heads > MOST_MASKED:
        return f"of {shape.kv_heads} key/value heads no single ones can see everything"
    return None
