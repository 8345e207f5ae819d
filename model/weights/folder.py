"""Loads a checkpoint folder in Hugging Face's layout.

Suffixes: E experts, X gate and up rows, D model width, R expert width.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from flightloop.errors import ConfigError
from model.chat.format import checkpoint_format
from model.config import ModelConfig
from model.nn.decoder import Decoder
from model.nn.shape import DecoderConfig
from model.nn.windows import windowed
from model.quant.quantise import quantise
from model.weights.assemble import assemble
from model.weights.families import Family, folder_shape
from model.weights.form import form_for
from model.weights.loaded import LoadedModel
from model.weights.lora import merged
from model.weights.packed_cache import loaded_weights
from model.weights.tokenizer_json import tokenizer_from_folder
from model.weights.untrained import untrained

Fetch = Callable[[str], Tensor]
_EMBEDDING = "model.embed_tokens.weight"
_DERIVED = ("rotary_emb.inv_freq",)
"""Ends of names of tensors that older checkpoints store although they follow from config.json."""


def load_folder(folder: Path, config: ModelConfig, name: str) -> LoadedModel:
    """Loads a checkpoint folder: config.json, *.safetensors and tokenizer.json, in Hugging Face's layout.

    Args:
        folder: the folder.
        config: format, windows and adapter.
        name: the model's name.

    Raises:
        ConfigError: a file is missing or broken, or the family or a setting is not supported.
    """
    settings, family, shape = described_in(folder, config)
    shape = windowed(shape, config)
    tokenizer = tokenizer_from_folder(folder, settings.get("eos_token_id"), partial(_untrained, folder, shape.vocab))
    chat = checkpoint_format(tokenizer, name)
    form = form_for(config, shape)
    dtype = torch.float32 if form.dtype == "float32" else torch.bfloat16

    def decoder() -> Decoder:
        # A tied checkpoint may store the output projection too.
        unused = ("lm_head.weight",) if shape.tied else ()
        state = _read(folder, lambda fetch: folder_state(fetch, family, shape, dtype), unused)
        changed = merged(state, Path(config.lora)) if config.lora else state
        return quantise(assemble(shape, changed, dtype), form.dtype, native=form.kernels)

    files = [*sorted(folder.glob("*.safetensors")), folder / "config.json"]
    files += [Path(config.lora)] if config.lora else []
    weights = loaded_weights(config, form, files, shape, decoder, tokenizer.encode)
    return LoadedModel(weights, shape, tokenizer, name, chat, form)


def _untrained(folder: Path, vocab: int, words: Collection[int]) -> Collection[int]:
    """The untrained ones of these words. The last row of the embedding is taken for padding if words end before it."""
    if not words or max(words) >= vocab - 1:
        return ()

    def row(index: int) -> Tensor:
        found: Tensor = rows[index : index + 1][0].float()
        return found

    try:
        with ExitStack() as stack:
            files = (stack.enter_context(safe_open(path, "pt")) for path in sorted(folder.glob("*.safetensors")))
            rows = next(file.get_slice(_EMBEDDING) for file in files if _EMBEDDING in file.keys())  # noqa: SIM118
            return untrained(words, vocab - 1, row) if rows.get_shape()[0] == vocab else ()
    except (OSError, SafetensorError, StopIteration):  # told when the weights are read
        return ()


def described_in(folder: Path, config: ModelConfig) -> tuple[dict[str, Any], Family, DecoderConfig]:
    """The content of a folder's config.json, and what it says of the model's family and shape.

    Raises:
        ConfigError: the file is missing or broken, or the family or a setting is not supported.
    """
    if not (folder / "config.json").is_file():
        raise ConfigError(f"{folder} has no config.json, so it is not a checkpoint's folder", param="model")
    settings = _json(folder / "config.json")
    family, shape = folder_shape(settings)
    if config.experts:
        raise ConfigError(f"{folder} takes no trained experts; experts belong to an embedded model", param="experts")
    return settings, family, shape


def folder_state(fetch: Fetch, family: Family, shape: DecoderConfig, dtype: torch.dtype) -> dict[str, Tensor]:
    """The checkpoint's tensors by their names in the decoder's state. ``fetch`` reads one by its checkpoint name."""

    def get(name: str) -> Tensor:
        return fetch(f"{name}.weight").to(dtype)

    state = {"embedding.weight_VD": get("model.embed_tokens"), "norm.weight_D": get("model.norm")}
    if not shape.tied:
        state["head.weight_OI"] = get("lm_head")
    for layer in range(shape.layers):
        source, target = f"model.layers.{layer}", f"blocks.{layer}"
        state[f"{target}.attention_norm.weight_D"] = get(f"{source}.input_layernorm")
        state[f"{target}.moe_norm.weight_D"] = get(f"{source}.post_attention_layernorm")
        projections = [f"{source}.self_attn.{part}_proj" for part in "qkv"]
        state[f"{target}.attention.qkv.weight_OI"] = torch.cat([get(name) for name in projections])
        if shape.qkv_bias:
            biases = [fetch(f"{name}.bias").to(dtype) for name in projections]
            state[f"{target}.attention.bias_Y"] = torch.cat(biases)
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


def _read(folder: Path, use: Callable[[Fetch], dict[str, Tensor]], unused: tuple[str, ...]) -> dict[str, Tensor]:
    """Calls ``use`` with a function that reads a tensor by name from any of the folder's safetensors files.

    Raises:
        ConfigError: a tensor is missing or, apart from ``unused`` ones, not read.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ConfigError(f"{folder} has no *.safetensors file", param="model")
    try:
        opened: list[Any] = [safe_open(path, framework="pt") for path in files]
        where = {name: file for file in opened for name in file.keys()}  # noqa: SIM118 (not a mapping)
        unread = {name for name in where if not name.endswith(_DERIVED) and name not in unused}

        def fetch(name: str) -> Tensor:
            unread.discard(name)
            tensor: Tensor = where[name].get_tensor(name)
            return tensor

        state = use(fetch)
    except KeyError as error:
        raise ConfigError(f"{folder} has no tensor {error.args[0]}", param="model") from error
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"cannot read the weights in {folder}: {error}", param="model") from error
    if unread:
        raise ConfigError(f"{folder} has a tensor that its family doesn't use: {min(unread)}", param="model")
    return state


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path}: {error}", param="model") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path} must contain a JSON object", param="model")
    return value
