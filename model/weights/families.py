"""Families of published checkpoints: what config.json says about the decoder.

Dense families: `llama` (Llama 2 and 3, SmolLM), `qwen2` (Qwen2 and 2.5) and `qwen3`; mixtures of experts: `mixtral`,
`olmoe` and `qwen3_moe`. A setting that this decoder doesn't implement is an error at load, since the checkpoint would
answer wrongly without it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flightloop.errors import ConfigError
from model.nn.shape import DecoderConfig, QkNorm
from model.weights.sizes import check_heads, check_sizes


@dataclass(frozen=True)
class Family:
    """Names of a family's tensors and settings, and its fixed settings.

    Attributes:
        moe: name of the block's mixture of experts; None for a dense family.
        gate, up, down: names of the projections of an expert, or of the feed-forward in a dense family.
        experts, expert_width: keys of config.json; if there are several, the first one present is used.
        normalise: whether the weights of the active experts sum to one; None: as config.json states.
        qk_norm: norm of queries and keys.
        qkv_bias: whether the projections to queries, keys and values have a bias.
    """

    moe: str | None = None
    gate: str = "gate_proj"
    up: str = "up_proj"
    down: str = "down_proj"
    experts: tuple[str, ...] = ("num_experts", "num_local_experts")
    expert_width: str = "intermediate_size"
    normalise: bool | None = None
    qk_norm: QkNorm = "none"
    qkv_bias: bool = False


FAMILIES: Mapping[str, Family] = {
    "llama": Family(),
    "qwen2": Family(qkv_bias=True),
    "qwen3": Family(qk_norm="head"),
    "mixtral": Family("block_sparse_moe", "w1", "w3", "w2", normalise=True),
    "olmoe": Family("mlp", qk_norm="full"),
    "qwen3_moe": Family("mlp", expert_width="moe_intermediate_size", qk_norm="head"),
}

# Settings that this decoder doesn't implement, each with the values that mean "not used".
_UNUSED: Mapping[str, tuple[Any, ...]] = {
    "attention_bias": (None, False),
    "mlp_bias": (None, False),
    "clip_qkv": (None,),
    "mlp_only_layers": (None, []),
    "decoder_sparse_step": (None, 1),
    "hidden_act": ("silu",),
    "partial_rotary_factor": (None, 1, 1.0),
}
_FILE = "config.json"
_SIZES = (
    "vocab_size", "num_hidden_layers", "hidden_size", "num_attention_heads", "num_key_value_heads", "head_dim",
    "intermediate_size", "max_position_embeddings",
)  # fmt: skip


def folder_shape(settings: Mapping[str, Any]) -> tuple[Family, DecoderConfig]:
    """Family and decoder shape of a config.json.

    Raises:
        ConfigError: the family or a setting is not supported.
    """
    kind = str(settings.get("model_type"))
    if kind not in FAMILIES:
        raise ConfigError(f"unknown model_type {kind}; known: {', '.join(FAMILIES)}", param="model")
    _refuse_unknown(settings)
    family = FAMILIES[kind]
    try:
        return family, _shape(family, settings)
    except KeyError as error:
        raise ConfigError(f"config.json has no {error.args[0]}, which {kind} needs", param="model") from error


def _shape(family: Family, settings: Mapping[str, Any]) -> DecoderConfig:
    check_sizes({name: settings.get(name) for name in _SIZES}, _FILE)
    width, heads = settings["hidden_size"], settings["num_attention_heads"]
    kv_heads = settings.get("num_key_value_heads") or heads
    check_heads(width, heads, kv_heads, settings.get("head_dim"), _FILE)
    head_width, rope = settings.get("head_dim") or width // heads, rope_settings(settings)
    experts = next((settings[key] for key in family.experts if key in settings), 0) if family.moe else 0
    normalise = settings.get("norm_topk_prob", False) if family.normalise is None else family.normalise
    return DecoderConfig(
        vocab=settings["vocab_size"],
        layers=settings["num_hidden_layers"],
        width=width,
        heads=heads,
        kv_heads=kv_heads,
        head_width=head_width,
        shared_width=0 if family.moe else settings["intermediate_size"],
        experts=experts,
        expert_width=settings[family.expert_width] if family.moe else 0,
        active=settings["num_experts_per_tok"] if family.moe else 0,
        normalise=normalise,
        qk_norm=family.qk_norm,
        qkv_bias=family.qkv_bias,
        norm_eps=settings["rms_norm_eps"],
        rope_theta=rope.get("rope_theta", 10_000.0),
        rope_factors=rope_factors(rope, head_width),
        max_positions=settings["max_position_embeddings"],
        tied=settings.get("tie_word_embeddings", False),
    )


def rope_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the rotary embedding. Newer files have all in ``rope_parameters``, older ones in two places."""
    given = settings.get("rope_parameters") or settings.get("rope_scaling") or {}
    rope = {"rope_theta": settings["rope_theta"], **given} if "rope_theta" in settings else dict(given)
    return {**rope, "rope_type": rope.get("rope_type") or rope.get("type") or "default"}


def rope_factors(rope: Mapping[str, Any], head_width: int) -> tuple[float, ...]:
    """Divisors of the rotary frequencies (`DecoderConfig.rope_factors`); empty without scaling.

    ``linear`` divides all frequencies; ``llama3`` only the low ones, with a smooth passage between (Llama 3.1's
    published configuration).

    Raises:
        ConfigError: another kind of scaling.
    """
    kind, half = rope["rope_type"], head_width // 2
    if kind == "default":
        return ()
    if kind == "linear":
        return (float(rope["factor"]),) * half
    if kind != "llama3":
        raise ConfigError(f"rope_type {kind!r} in config.json is not supported", param="model")
    factor, low, high = rope["factor"], rope["low_freq_factor"], rope["high_freq_factor"]
    factors = []
    for index in range(half):
        wavelength = 2 * math.pi * rope["rope_theta"] ** (index / half)
        turns = rope["original_max_position_embeddings"] / wavelength
        kept = min(1.0, max(0.0, (turns - low) / (high - low)))  # share of the frequency that stays as it is
        factors.append(1 / ((1 - kept) / factor + kept))
    return tuple(factors)


def _refuse_unknown(settings: Mapping[str, Any]) -> None:
    quantised = settings.get("quantization_config")
    if quantised:
        method = quantised.get("quant_method", "unknown") if isinstance(quantised, Mapping) else quantised
        raise ConfigError(
            f"the checkpoint is quantised ({method}), which can't be read; use its original or a GGUF of it",
            param="model",
        )
    for key, unused in _UNUSED.items():
        if key in settings and settings[key] not in unused:
            raise ConfigError(f"{key}={settings[key]!r} in config.json is not supported", param="model")
    if settings.get("sliding_window") and settings.get("use_sliding_window", True):
        raise ConfigError("sliding_window in config.json is not supported", param="model")
    others = set(settings.get("layer_types") or ()) - {"full_attention"}
    if others:
        raise ConfigError(f"layer_types in config.json has {min(others)}, which is not supported", param="model")
