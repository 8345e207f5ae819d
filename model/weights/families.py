"""Published checkpoints in Hugging Face's layout: a local folder with config.json, *.safetensors and tokenizer.json.

Known families: dense `llama`; mixtures of experts `mixtral`, `olmoe` and `qwen3_moe`. Checkpoints with features that
this decoder lacks (biases, sliding windows, scaled rotary embedding) are rejected rather than loaded incorrectly.
Suffixes: E experts, X gate and up rows, D model width, R expert width.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from flightloop.errors import ConfigError
from model.config import ModelConfig
from model.nn.shape import DecoderConfig, QkNorm
from model.nn.windows import windowed
from model.quant.quantise import quantise
from model.weights.assemble import assemble
from model.weights.form import form_for
from model.weights.loaded import LoadedModel
from model.weights.lora import merged
from model.weights.tokenizer_json import tokenizer_from_folder

Fetch = Callable[[str], Tensor]


@dataclass(frozen=True)
class Family:
    """Names of a family's tensors and settings, and its fixed settings.

    Attributes:
        moe: name of the block's mixture of experts; None for a dense family.
        gate, up, down: names of the projections of an expert, or of the feed-forward in a dense family.
        experts, expert_width: keys of config.json; if there are several, the first one present is used.
        normalise: whether the weights of the active experts sum to one; None: as config.json states.
        qk_norm: norm of queries and keys.
    """

    moe: str | None = None
    gate: str = "gate_proj"
    up: str = "up_proj"
    down: str = "down_proj"
    experts: tuple[str, ...] = ("num_experts", "num_local_experts")
    expert_width: str = "intermediate_size"
    normalise: bool | None = None
    qk_norm: QkNorm = "none"


FAMILIES: Mapping[str, Family] = {
    "llama": Family(),
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
    "rope_scaling": (None,),
    "hidden_act": ("silu",),
}


def load_folder(folder: Path, config: ModelConfig) -> LoadedModel:
    """Loads a checkpoint folder.

    Raises:
        ConfigError: a file is missing or broken, or the family or a setting is not supported.
    """
    settings = _json(folder / "config.json")
    family, shape = folder_shape(settings)
    shape = windowed(shape, config)
    tokenizer = tokenizer_from_folder(folder, settings.get("eos_token_id"))
    form = form_for(config.dtype, shape, shards=config.shards, block_size=config.block_size)
    dtype = torch.float32 if form.dtype == "float32" else torch.bfloat16
    state = _read(folder, lambda fetch: folder_state(fetch, family, shape, dtype))
    changed = merged(state, Path(config.lora)) if config.lora else state
    decoder = quantise(assemble(shape, changed, dtype), form.dtype, native=form.kernels)
    return LoadedModel.of(decoder, tokenizer, folder.name, form)


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
    width, heads = settings["hidden_size"], settings["num_attention_heads"]
    experts = next((settings[key] for key in family.experts if key in settings), 0) if family.moe else 0
    normalise = settings.get("norm_topk_prob", False) if family.normalise is None else family.normalise
    return family, DecoderConfig(
        vocab=settings["vocab_size"],
        layers=settings["num_hidden_layers"],
        width=width,
        heads=heads,
        kv_heads=settings.get("num_key_value_heads") or heads,
        head_width=settings.get("head_dim") or width // heads,
        shared_width=0 if family.moe else settings["intermediate_size"],
        experts=experts,
        expert_width=settings[family.expert_width] if family.moe else 0,
        active=settings["num_experts_per_tok"] if family.moe else 0,
        normalise=normalise,
        qk_norm=family.qk_norm,
        norm_eps=settings["rms_norm_eps"],
        rope_theta=_rope(settings).get("rope_theta", 10_000.0),
        max_positions=settings["max_position_embeddings"],
        tied=settings.get("tie_word_embeddings", False),
    )


def _rope(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    # Newer files have the rotary settings in a mapping, older ones at the top level.
    return settings.get("rope_parameters") or settings


def _refuse_unknown(settings: Mapping[str, Any]) -> None:
    for key, unused in _UNUSED.items():
        if key in settings and settings[key] not in unused:
            raise ConfigError(f"{key}={settings[key]!r} in config.json is not supported", param="model")
    if settings.get("sliding_window") and settings.get("use_sliding_window", True):
        raise ConfigError("sliding_window in config.json is not supported", param="model")
    if _rope(settings).get("rope_type", "default") != "default":
        raise ConfigError(f"rope_type={_rope(settings)['rope_type']!r} in config.json is not supported", param="model")


def folder_state(fetch: Fetch, family: Family, shape: DecoderConfig, dtype: torch.dtype) -> dict[str, Tensor]:
    """The checkpoint's tensors by their names in the decoder's state. ``fetch`` reads one by its checkpoint name."""

    def get(name: str) -> Tensor:
        return fetch(f"{name}.weight").to(dtype)

    state = {"embedding": get("model.embed_tokens"), "norm.weight_D": get("model.norm")}
    if not shape.tied:
        state["head.weight_OI"] = get("lm_head")
    for layer in range(shape.layers):
        source, target = f"model.layers.{layer}", f"blocks.{layer}"
        state[f"{target}.attention_norm.weight_D"] = get(f"{source}.input_layernorm")
        state[f"{target}.moe_norm.weight_D"] = get(f"{source}.post_attention_layernorm")
        qkv = [get(f"{source}.self_attn.{part}_proj") for part in "qkv"]
        state[f"{target}.attention.qkv.weight_OI"] = torch.cat(qkv)
        state[f"{target}.attention.out.weight_OI"] = get(f"{source}.self_attn.o_proj")
        if shape.qk_norm != "none":
            state[f"{target}.attention.q_norm.weight_D"] = get(f"{source}.self_attn.q_norm")
            state[f"{target}.attention.k_norm.weight_D"] = get(f"{source}.self_attn.k_norm")
        if family.moe is None:
            gate_up, down = _feed_forward(get, family, f"{source}.mlp")
            state[f"{target}.moe.shared.gate_up.weight_OI"] = gate_up
            state[f"{target}.moe.shared.down.weight_OI"] = down
            continue
        moe = f"{source}.{family.moe}"
        each = [_feed_forward(get, family, f"{moe}.experts.{expert}") for expert in range(shape.experts)]
        state[f"{target}.moe.router.weight_ED"] = get(f"{moe}.gate")
        state[f"{target}.moe.router.bias_E"] = torch.zeros(shape.experts, dtype=dtype)
        state[f"{target}.moe.experts.gate_up_EXD"] = torch.stack([gate_up for gate_up, _ in each])
        state[f"{target}.moe.experts.down_DER"] = torch.stack([down for _, down in each], 1)
    return state


def _feed_forward(get: Fetch, family: Family, name: str) -> tuple[Tensor, Tensor]:
    gate_up = torch.cat([get(f"{name}.{family.gate}"), get(f"{name}.{family.up}")])
    return gate_up, get(f"{name}.{family.down}")


def _read(folder: Path, use: Callable[[Fetch], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Calls ``use`` with a function that reads a tensor by name from any of the folder's safetensors files."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ConfigError(f"{folder} has no *.safetensors file", param="model")
    try:
        opened: list[Any] = [safe_open(path, framework="pt") for path in files]
        where = {name: file for file in opened for name in file.keys()}  # noqa: SIM118 (not a mapping)
        return use(lambda name: where[name].get_tensor(name))
    except KeyError as error:
        raise ConfigError(f"{folder} has no tensor {error.args[0]}", param="model") from error
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"cannot read the weights in {folder}: {error}", param="model") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path}: {error}", param="model") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path} must contain a JSON object", param="model")
    return value
