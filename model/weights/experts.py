"""Reads trained routed experts and routers from a safetensors file, which is separate from the base model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from flightloop.errors import ConfigError
from model.nn.shape import DecoderConfig

BIAS = ".moe.router.bias_E"
_PARTS = (".moe.router.", ".moe.experts.")


def expert_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The part of a decoder's state that belongs to routers and routed experts."""
    return {name: value for name, value in state.items() if any(part in name for part in _PARTS)}


def load_experts(path: Path, config: DecoderConfig) -> dict[str, Tensor]:
    """Reads routers and experts, by name in the decoder's state.

    Raises:
        ConfigError: the file is missing, broken, or made for a model of another shape.
    """
    try:
        state: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"cannot read the trained experts {path}: {error}", param="experts") from error
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
