"""Writes checkpoint folders for peers that don't read GGUF: config.json, model.safetensors and the tokenizer.

One checkpoint is the embedded model's dense base, without our experts. Its weights are those of the GGUF, dequantised,
so that all engines run the same weights; in bfloat16 they are rounded, as an engine in that format would do. The others
are random, with the shapes in `bench.peers.shapes`. Each is written once, into the peers' cache folder.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import tokenizers
import torch
from safetensors.torch import save_file
from tokenizers import decoders
from torch import Tensor

from bench.peers.environment import cache_folder
from bench.peers.shapes import parameters
from model.config import EDGE, ModelConfig
from model.nn.shape import DecoderConfig
from model.quant.grouped import plain
from model.weights.files import embedded_path, model_path
from model.weights.gguf import GgufFile
from model.weights.gguf_decoder import gguf_shape, gguf_state
from model.weights.tokenizer import tokenizer_from_gguf

Dtype = Literal["float32", "bfloat16"]


def dense_checkpoint(dtype: Dtype, model: str = EDGE) -> Path:
    """Folder of an embedded model's dense base; writes it if it is missing.

    Raises:
        ConfigError: the model isn't installed and can't be downloaded.
    """
    path = model_path(ModelConfig(model))
    return _once(f"{path.stem}-{dtype}", lambda folder: write_checkpoint(folder, path, dtype))


def random_checkpoint(settings: Mapping[str, Any]) -> Path:
    """Folder of a random bfloat16 model with this config.json and the embedded tokenizer; writes it if it is
    missing."""
    total = round(parameters(settings)[0] / 1e6)
    name = f"random-{settings['model_type']}-{total}m-chat"
    return _once(name, lambda folder: write_random(folder, settings, embedded_path()))


def _once(name: str, write: Callable[[Path], None]) -> Path:
    folder = cache_folder() / "checkpoints" / name
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    # The folder is renamed only when it is complete.
    draft = Path(tempfile.mkdtemp(dir=folder.parent))
    write(draft)
    try:
        draft.rename(folder)
    except OSError:  # another process was faster
        shutil.rmtree(draft)
    return folder


def write_checkpoint(folder: Path, source: Path, dtype: Dtype) -> None:
    """Writes the content of a GGUF into an existing folder."""
    file = GgufFile(source)
    shape = gguf_shape(file)
    to: torch.dtype = getattr(torch, dtype)
    state = {name: plain(value) for name, value in gguf_state(file, shape).items()}
    tensors = {name: value.to(to).contiguous() for name, value in llama_tensors(state, shape).items()}
    _write(folder, tensors, llama_config(shape, file.metadata, dtype), file.metadata)


def write_random(folder: Path, settings: Mapping[str, Any], source: Path, seed: int = 0) -> None:
    """Writes a random olmoe or llama model into an existing folder, with the tokenizer of a GGUF."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(name: str, shape: tuple[int, ...]) -> Tensor:
        if len(shape) == 1:  # of a norm
            return torch.ones(shape, dtype=torch.bfloat16)
        scale = 1.0 if "embed" in name else shape[-1] ** -0.5
        return torch.randn(shape, generator=generator).mul_(scale).to(torch.bfloat16)

    tensors = {name: drawn(name, shape) for name, shape in tensor_shapes(settings).items()}
    _write(folder, tensors, {**settings, "torch_dtype": "bfloat16"}, GgufFile(source).metadata)


def tensor_shapes(settings: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Hugging Face's names and shapes of the tensors in an olmoe or llama checkpoint with this config.json."""
    V, D, F = settings["vocab_size"], settings["hidden_size"], settings["intermediate_size"]
    K = D // settings["num_attention_heads"] * settings["num_key_value_heads"]
    experts = settings.get("num_experts", 0)
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens": (V, D), "model.norm": (D,), "lm_head": (V, D)}
    for layer in range(settings["num_hidden_layers"]):
        block = f"model.layers.{layer}"
        shapes |= {f"{block}.input_layernorm": (D,), f"{block}.post_attention_layernorm": (D,)}
        shapes |= {f"{block}.self_attn.{part}_proj": (D if part in "qo" else K, D) for part in "qkvo"}
        if experts:
            shapes |= {f"{block}.self_attn.q_norm": (D,), f"{block}.self_attn.k_norm": (K,)}
            shapes[f"{block}.mlp.gate"] = (experts, D)
        for owner in [f"{block}.mlp.experts.{expert}" for expert in range(experts)] or [f"{block}.mlp"]:
            shapes |= {f"{owner}.gate_proj": (F, D), f"{owner}.up_proj": (F, D), f"{owner}.down_proj": (D, F)}
    return {f"{name}.weight": shape for name, shape in shapes.items()}


def llama_config(shape: DecoderConfig, metadata: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    """config.json of a dense decoder: Qwen2's if its projections have biases, else Llama's."""
    architecture, kind = ("Qwen2ForCausalLM", "qwen2") if shape.qkv_bias else ("LlamaForCausalLM", "llama")
    return {
        "architectures": [architecture],
        "model_type": kind,
        "vocab_size": shape.vocab,
        "hidden_size": shape.width,
        "intermediate_size": shape.shared_width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_width,
        "hidden_act": "silu",
        "rms_norm_eps": shape.norm_eps,
        "rope_theta": shape.rope_theta,
        "max_position_embeddings": shape.max_positions,
        "tie_word_embeddings": shape.tied,
        "bos_token_id": metadata.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": metadata["tokenizer.ggml.eos_token_id"],
        "torch_dtype": dtype,
    }


def llama_tensors(state: Mapping[str, Tensor], shape: DecoderConfig) -> dict[str, Tensor]:
    """A dense decoder's state under the names that Hugging Face's checkpoints of Llama and Qwen2 have."""
    queries, keys = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    tensors = {"model.embed_tokens.weight": state["embedding.weight_VD"], "model.norm.weight": state["norm.weight_D"]}
    for layer in range(shape.layers):
        source, target = f"blocks.{layer}", f"model.layers.{layer}"
        query, key, value = torch.split(state[f"{source}.attention.qkv.weight_OI"], [queries, keys, keys])
        gate, up = state[f"{source}.moe.shared.gate_up.weight_OI"].chunk(2)
        tensors |= {
            f"{target}.input_layernorm.weight": state[f"{source}.attention_norm.weight_D"],
            f"{target}.self_attn.q_proj.weight": query,
            f"{target}.self_attn.k_proj.weight": key,
            f"{target}.self_attn.v_proj.weight": value,
            f"{target}.self_attn.o_proj.weight": state[f"{source}.attention.out.weight_OI"],
            f"{target}.post_attention_layernorm.weight": state[f"{source}.moe_norm.weight_D"],
            f"{target}.mlp.gate_proj.weight": gate,
            f"{target}.mlp.up_proj.weight": up,
            f"{target}.mlp.down_proj.weight": state[f"{source}.moe.shared.down.weight_OI"],
        }
        if shape.qkv_bias:
            biases = torch.split(state[f"{source}.attention.bias_Y"], [queries, keys, keys])
            names = [f"{target}.self_attn.{part}_proj.bias" for part in "qkv"]
            tensors |= dict(zip(names, biases, strict=True))
    if not shape.tied:
        tensors["lm_head.weight"] = state["head.weight_OI"]
    return tensors


def _tokenizer(metadata: Mapping[str, Any]) -> tokenizers.Tokenizer:
    tokenizer = tokenizer_from_gguf(metadata)
    backend = tokenizer.backend
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(sorted(tokenizer.special, key=tokenizer.special.__getitem__))
    return backend


def _write(folder: Path, tensors: dict[str, Tensor], config: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    _tokenizer(metadata).save(str(folder / "tokenizer.json"))
    eos = metadata["tokenizer.ggml.tokens"][metadata["tokenizer.ggml.eos_token_id"]]
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": eos, "clean_up_tokenization_spaces": False}
    settings |= {"chat_template": metadata["tokenizer.chat_template"]} if "tokenizer.chat_template" in metadata else {}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", "utf-8")
