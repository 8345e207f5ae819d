"""The decoder in a GGUF file: its shape from the metadata, its weights by their names in the decoder's state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from flightloop.errors import ConfigError
from model.nn.shape import DecoderConfig, QkNorm
from model.quant.grouped import GroupedRows, plain
from model.weights.gguf import GgufFile
from model.weights.sizes import check_heads, check_sizes


@dataclass(frozen=True)
class Architecture:
    """What an architecture adds to the plain decoder.

    Attributes:
        qkv_bias, qk_norm: as in `DecoderConfig`.
        paired: whether the two rows of a rotary pair are neighbours in the file, not half a head apart.
    """

    qkv_bias: bool = False
    qk_norm: QkNorm = "none"
    paired: bool = False


ARCHITECTURES: Mapping[str, Architecture] = {
    "llama": Architecture(paired=True),
    "qwen2": Architecture(qkv_bias=True),
    "qwen3": Architecture(qk_norm="head"),
}


_FILE = "the GGUF's metadata"
_SIZES = (
    "block_count", "embedding_length", "attention.head_count", "attention.head_count_kv", "attention.key_length",
    "feed_forward_length", "context_length",
)  # fmt: skip


def gguf_architecture(metadata: Mapping[str, Any]) -> Architecture:
    """The architecture of a GGUF file. Raises ConfigError if it can't be loaded."""
    name = str(metadata.get("general.architecture"))
    if name not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ConfigError(f"the GGUF's architecture is {name}; those that can be loaded: {known}", param="model")
    return ARCHITECTURES[name]


def gguf_shape(file: GgufFile) -> DecoderConfig:
    """Shape of the dense decoder in a GGUF file.

    Raises:
        ConfigError: the architecture or a setting can't be loaded, or a setting is missing.
    """
    architecture, metadata = gguf_architecture(file.metadata), file.metadata
    prefix = metadata["general.architecture"]
    settings = {key.removeprefix(f"{prefix}."): value for key, value in metadata.items() if key.startswith(prefix)}
    try:
        check_sizes({name: settings.get(name) for name in _SIZES}, _FILE)
        width, heads = settings["embedding_length"], settings["attention.head_count"]
        kv_heads = settings.get("attention.head_count_kv", heads)
        check_heads(width, heads, kv_heads, settings.get("attention.key_length"), _FILE)
        head_width = settings.get("attention.key_length") or width // heads
        return DecoderConfig(
            vocab=len(metadata["tokenizer.ggml.tokens"]),
            layers=settings["block_count"],
            width=width,
            heads=heads,
            kv_heads=kv_heads,
            head_width=head_width,
            shared_width=settings["feed_forward_length"],
            qk_norm=architecture.qk_norm,
            qkv_bias=architecture.qkv_bias,
            norm_eps=settings["attention.layer_norm_rms_epsilon"],
            rope_theta=settings.get("rope.freq_base", 10_000.0),
            rope_factors=_rope_factors(file, settings, head_width),
            max_positions=settings["context_length"],
            tied="output.weight" not in file.tensors,
            stored_twice=_same_matrix(file, "token_embd.weight", "output.weight"),
        )
    except KeyError as error:
        raise ConfigError(f"the GGUF's metadata has no {error.args[0]}", param="model") from error


def _same_matrix(file: GgufFile, one: str, other: str) -> bool:
    """Whether two matrices are one, quantised in different ways."""
    if not {one, other} <= file.tensors.keys() or file.tensors[one].shape != file.tensors[other].shape:
        return False
    rows = torch.stack([file.first_rows(name, _COMPARED).flatten() for name in (one, other)])
    return bool(torch.corrcoef(rows)[0, 1] > _SAME)


_COMPARED, _SAME = 256, 0.98
"""Rows that are compared, and their correlation from which on they count as the same. Four bits leave about 0.995."""


def _rope_factors(file: GgufFile, settings: Mapping[str, Any], head_width: int) -> tuple[float, ...]:
    kind, turned = settings.get("rope.scaling.type", "none"), settings.get("rope.dimension_count", head_width)
    if turned != head_width:
        raise ConfigError(
            f"the GGUF turns only {turned} of a head's {head_width} numbers (rotary embedding), which is not supported",
            param="model",
        )
    if _ROPE_FACTORS in file.tensors:
        return tuple(file.tensor(_ROPE_FACTORS).tolist())
    if kind == "linear":
        return (float(settings["rope.scaling.factor"]),) * (head_width // 2)
    if kind != "none":
        raise ConfigError(f"the GGUF's rope scaling {kind} is not supported", param="model")
    return ()


_ROPE_FACTORS = "rope_freqs.weight"


def gguf_state(file: GgufFile, shape: DecoderConfig, stored: bool = False) -> dict[str, Tensor | GroupedRows]:
    """Weights of a GGUF by their names in a dense decoder's state.

    They are float32; with ``stored``, matrices keep their formats, except an embedding that the projection shares.

    Raises:
        ConfigError: a tensor is missing, or the decoder has no use for one.
    """
    raw = file.all_tensors(threads=2, stored=stored)
    raw.pop(_ROPE_FACTORS, None)
    try:
        state = _state(raw, shape, gguf_architecture(file.metadata))
    except KeyError as error:
        raise ConfigError(f"the GGUF has no tensor {error.args[0]}", param="model") from error
    if raw:
        raise ConfigError(f"the GGUF has a tensor that its architecture doesn't use: {min(raw)}", param="model")
    return state


def _state(raw: dict[str, Any], shape: DecoderConfig, architecture: Architecture) -> dict[str, Tensor | GroupedRows]:
    """Takes the tensors out of ``raw``."""
    embedding = raw.pop("token_embd.weight")
    # A tied projection is made from it, in a format of its own.
    embedding = plain(embedding) if shape.tied else embedding
    state = {"embedding.weight_VD": embedding, "norm.weight_D": raw.pop("output_norm.weight")}
    if not shape.tied:
        state["head.weight_OI"] = raw.pop("output.weight")
    for layer in range(shape.layers):
        source, target = f"blk.{layer}", f"blocks.{layer}"
        qkv = [raw.pop(f"{source}.attn_{part}.weight") for part in "qkv"]
        if architecture.paired:
            qkv = [unpermuted(qkv[0], shape.heads), unpermuted(qkv[1], shape.kv_heads), qkv[2]]
        gate_up = [raw.pop(f"{source}.ffn_{part}.weight") for part in ("gate", "up")]
        state |= {
            f"{target}.attention_norm.weight_D": raw.pop(f"{source}.attn_norm.weight"),
            f"{target}.attention.qkv.weight_OI": _stacked(qkv),
            f"{target}.attention.out.weight_OI": raw.pop(f"{source}.attn_output.weight"),
            f"{target}.moe_norm.weight_D": raw.pop(f"{source}.ffn_norm.weight"),
            f"{target}.moe.shared.gate_up.weight_OI": _stacked(gate_up),
            f"{target}.moe.shared.down.weight_OI": raw.pop(f"{source}.ffn_down.weight"),
        }
        if shape.qkv_bias:
            biases = [raw.pop(f"{source}.attn_{part}.bias") for part in "qkv"]
            state[f"{target}.attention.bias_Y"] = torch.cat(biases)
        if shape.qk_norm != "none":
            state[f"{target}.attention.q_norm.weight_D"] = raw.pop(f"{source}.attn_q_norm.weight")
            state[f"{target}.attention.k_norm.weight_D"] = raw.pop(f"{source}.attn_k_norm.weight")
    return state


def unpermuted(weight_OI: Tensor | GroupedRows, heads: int) -> Tensor | GroupedRows:
    """Undoes the reordering of query and key rows in GGUFs of the llama architecture.

    In a GGUF, the two rows of a rotary pair are neighbours within a head; here, as in Hugging Face checkpoints, they
    are half a head apart.
    """
    outputs = weight_OI.shape[0]
    order_O = torch.arange(outputs).view(heads, outputs // heads // 2, 2).transpose(1, 2).flatten()
    return weight_OI.rows(order_O) if isinstance(weight_OI, GroupedRows) else weight_OI[order_O]


def _stacked(parts: list[Tensor | GroupedRows]) -> Tensor | GroupedRows:
    rows = [part for part in parts if isinstance(part, GroupedRows)]
    return GroupedRows.cat(rows) if len(rows) == len(parts) else torch.cat([plain(part) for part in parts])
