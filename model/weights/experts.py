"""Trained routed experts and routers in a safetensors file, which is separate from the base model.

Experts are stored in eight bits, as int8 codes and float16 scales (``NAME.scale``), one for each row of the last axis.
The kernels use experts in this form too. Routers, and the experts of older files, are bfloat16.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from flightloop.errors import ConfigError
from model.nn.shape import DecoderConfig

BIAS = ".moe.router.bias_E"
_ROUTER, _EXPERTS, _SCALE = ".moe.router.", ".moe.experts.", ".scale"
_PARTS = (_ROUTER, _EXPERTS)


def expert_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The part of a decoder's state that belongs to routers and routed experts."""
    return {name: value for name, value in state.items() if any(part in name for part in _PARTS)}


def stored_experts(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Routers and experts as they are stored, from their weights."""
    stored: dict[str, Tensor] = {}
    for name, value in state.items():
        if _EXPERTS not in name:
            stored[name] = value
            continue
        largest = value.detach().float().abs().amax(-1).clamp_(min=1e-5)
        scale = (largest / 127).to(torch.float16)
        codes = (value.detach().float() / scale.float().unsqueeze(-1)).round_().clamp_(-127, 127)
        stored |= {name: codes.to(torch.int8), name + _SCALE: scale}
    return stored


def _widened(name: str, stored: Mapping[str, Tensor]) -> Tensor:
    codes, scale = stored[name], stored.get(name + _SCALE)
    return codes if scale is None else codes.float() * scale.float().unsqueeze(-1)


def load_experts(path: Path, config: DecoderConfig) -> dict[str, Tensor]:
    """Reads routers and experts, by name in the decoder's state.

    Raises:
        ConfigError: the file is missing, broken, or made for a model of another shape.
    """
    try:
        stored: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"cannot read the trained experts {path}: {error}", param="experts") from error
    state = {name: _widened(name, stored) for name in stored if not name.endswith(_SCALE)}
    E, R, D = config.experts, config.expert_width, config.width
    expected = {
        f"blocks.{layer}.moe.{name}": shape
        for layer in range(config.layers)
        for name, shape in (
            ("router.weight_ED", (E, D)),
            ("router.bias_E", (E,)),
            ("experts.gate_up_EXD", (E, 2 * R, D)),
            ("experts.down_DER", (D, E, R)),
        )
    }
    found = {name: tuple(value.shape) for name, value in state.items()}
    if found != expected:
        wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))[0]
        raise ConfigError(
            f"{path} does not fit {config.layers} layers of {E} experts of width {R}: {wrong} has shape "
            f"{found.get(wrong)} instead of {expected.get(wrong)}",
            param="experts",
        )
    return state
