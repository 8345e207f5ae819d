"""Chooses a model's number format, and whether the kernels or torch run it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flightloop.errors import ConfigError
from model.config import Dtype, ResolvedDtype, resolve_dtype
from model.native.cache import TOKENS
from model.native.support import obstacle
from model.nn.shape import DecoderConfig
from model.weights.assemble import processor_features


@dataclass(frozen=True)
class Form:
    """Number format of the weights, and whether the kernels of model/native (``kernels``) or torch run the model."""

    dtype: ResolvedDtype
    kernels: bool


StoredForm = Literal["int4", "mixed"] | None
"""Format of a file's matrices that the kernels use as they are; None: they are not quantised."""

FLOAT32 = Form("float32", kernels=False)


def form_for(
    dtype: Dtype, shape: DecoderConfig, *, shards: int = 1, block_size: int = TOKENS, stored: StoredForm = None
) -> Form:
    """The form for a configured ``dtype`` on this machine.

    "auto" picks the fastest form with almost no loss of quality: with the kernels, the format that the file is
    ``stored`` in, else int8; without the kernels, see `model.config.resolve_dtype`.

    Raises:
        ConfigError: int4 or mixed is configured, but the kernels can't run the model, or the file isn't quantised.
    """
    reason = obstacle(shape)
    if shards > 1:
        reason = "its experts are split over shards"
    elif block_size % TOKENS:
        reason = f"block_size {block_size} is not a multiple of {TOKENS}"
    if dtype in ("float32", "bfloat16"):
        return Form(resolve_dtype(dtype, ()), kernels=False)
    if dtype == "mixed" and stored != "mixed":
        raise ConfigError("dtype mixed is only for GGUF files with quantised matrices; use auto", param="dtype")
    if reason is None:
        return Form((stored or "int8") if dtype == "auto" else dtype, kernels=True)
    if dtype in ("int4", "mixed"):
        raise ConfigError(f"dtype {dtype} is not possible: {reason}; use int8", param="dtype")
    return Form(resolve_dtype(dtype, processor_features()), kernels=False)
