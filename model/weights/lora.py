"""Merges LoRA adapters (Hu et al., 2022) from safetensors files into a decoder's weights.

For each adapted matrix ``NAME.weight_OI``, a file has ``NAME.up_OR`` and ``NAME.down_RI``, whose product is added.
Suffixes: O outputs, I inputs, R rank.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from flightloop.errors import ConfigError
from model.quant.grouped import GroupedRows, plain
from model.weights.assemble import State

DOWN, UP, WEIGHT = ".down_RI", ".up_OR", ".weight_OI"


def lora_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the LoRA adapter in a decoder's state."""
    return {name: value for name, value in state.items() if name.endswith((DOWN, UP))}


def merged(state: State, path: Path) -> dict[str, Tensor | GroupedRows]:
    """A decoder's state with the LoRA adapter of a file added. Each sum is computed in float32.

    Four-bit matrices with an adapter are dequantised, since the sum has no exact four-bit form.

    Raises:
        ConfigError: the file is missing, broken, or made for another model.
    """
    try:
        changes: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"cannot read the LoRA adapter {path}: {error}", param="lora") from error
    names = sorted({name.removesuffix(DOWN).removesuffix(UP) for name in changes})
    summed = dict(state)
    for name in names:
        down_RI, up_OR, base = changes.get(name + DOWN), changes.get(name + UP), state.get(name + WEIGHT)
        if down_RI is None or up_OR is None or base is None or base.shape != (len(up_OR), down_RI.shape[1]):
            raise ConfigError(f"{path} does not fit this model: no matrix {name} of the adapter's shape", param="lora")
        weight_OI = plain(base)
        summed[name + WEIGHT] = (weight_OI.float() + up_OR.float() @ down_RI.float()).to(weight_OI.dtype)
    return summed
