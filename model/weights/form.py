"""Chooses a model's number format, and whether the kernels or torch run it."""

from __future__ import annotations

from dataclasses import dataclass

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


FLOAT32 = Form("float32", kernels=False)


def form_for(
    dtype: Dtype, shape: DecoderConfig, *, shards: int = 1, block_size: int = TOKENS, exact_int4: bool = False
) -> Form:
    """The form for a configured ``dtype`` on this machine.

    "auto" picks the fastest form with almost no loss of quality: with the kernels, int4 if the file is already in four
    bits (``exact_int4``), else int8; without the kernels, see `model.config.resolve_dtype`.

    Raises:
        ConfigError: int4 is configured, but the kernels can't run the model.
    """
    reason = obstacle(shape)
    if shards > 1:
        reason = "its experts are split over shards"
    elif block_size % TOKENS:
        reason = f"block_size {block_size} is not a multiple of {TOKENS}"
    if dtype in ("float32", "bfloat16"):
        return Form(resolve_dtype(dtype, ()), kernels=False)
    if reason is None:
        return Form("int4" if dtype == "int4" or (dtype == "auto" and exact_int4) else "int8", kernels=True)
    if dtype == "int4":
        raise ConfigError(f"dtype int4 is not possible: {reason}; use int8", param="dtype")
    return Form(resolve_dtype(dtype, processor_features()), kernels=False)
