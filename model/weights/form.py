"""Chooses a model's number format, and whether the kernels or torch run it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flightloop.errors import ConfigError
from model.config import Kernels, ModelConfig, ResolvedDtype, resolve_dtype
from model.native.cache import TOKENS
from model.native.kinds import chosen
from model.native.support import obstacle
from model.nn.shape import DecoderConfig
from model.weights.assemble import processor_features


@dataclass(frozen=True)
class Form:
    """How a model is run.

    Attributes:
        dtype: number format of the weights.
        kernels: whether the kernels of model/native run the model, or torch.
        obstacle: why the kernels don't although they were wanted; None if they do, or weren't.
        kind: the kind of kernels, as configured.
    """

    dtype: ResolvedDtype
    kernels: bool
    obstacle: str | None = None
    kind: Kernels = "auto"

    @property
    def title(self) -> str:
        """Format and means in words, such as "4 to 8 bits, avx512 kernels"."""
        kind = chosen(self.kind) if self.kernels else None
        return f"{TITLES[self.dtype]}, {f'{kind.name} kernels' if kind else 'torch'}"


TITLES: Mapping[ResolvedDtype, str] = {
    "float32": "float32", "bfloat16": "bfloat16", "int8": "8 bits", "int4": "4 bits", "mixed": "4 to 8 bits",
}  # fmt: skip

StoredForm = Literal["int4", "mixed"] | None
"""Format of a file's matrices that the kernels use as they are; None: they are not quantised."""

FLOAT32 = Form("float32", kernels=False)


def form_for(config: ModelConfig, shape: DecoderConfig, stored: StoredForm = None) -> Form:
    """The form for the configured ``dtype`` on this machine.

    "auto" picks the fastest form with almost no loss of quality: with the kernels, the format that the file is
    ``stored`` in, else int8; without the kernels, see `model.config.resolve_dtype`. The kernels are compiled if needed.

    Raises:
        ConfigError: int4 or mixed is configured, but the kernels can't run the model, or the file isn't quantised; or
            a kind of kernels is configured that this machine can't have.
    """
    chosen(config.kernels)
    dtype = config.dtype
    if dtype in ("float32", "bfloat16"):
        return Form(resolve_dtype(dtype, ()), kernels=False)
    if dtype == "mixed" and stored != "mixed":
        raise ConfigError("dtype mixed is only for GGUF files with quantised matrices; use auto", param="dtype")
    reason = _obstacle(config, shape)
    if reason is None:
        return Form((stored or "int8") if dtype == "auto" else dtype, kernels=True, kind=config.kernels)
    if dtype in ("int4", "mixed"):
        raise ConfigError(f"dtype {dtype} is not possible: {reason}; use int8", param="dtype")
    return Form(resolve_dtype(dtype, processor_features()), kernels=False, obstacle=reason)


def _obstacle(config: ModelConfig, shape: DecoderConfig) -> str | None:
    if config.shards > 1:
        return "its experts are split over shards"
    if config.block_size % TOKENS:
        return f"block_size {config.block_size} is not a multiple of {TOKENS}"
    return obstacle(shape, Path(config.cache))
