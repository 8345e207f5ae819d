"""GGUF files of the known architectures, tiny and random, against transformers; and their quantised blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from flightloop.errors import ConfigError
from model.config import ModelConfig
from model.engine.kv_cache import kv_cache
from model.engine.runner import LocalRunner, SequenceStep, StepBatch
from model.native.support import machine_obstacle
from model.quant.grouped import GroupedRows, plain
from model.weights.blocks import GROUPED, grouped
from model.weights.gguf import GgufFile
from model.weights.gguf_decoder import gguf_shape, gguf_state
from model.weights.load import load_model

WIDTH, HEADS, KV_HEADS, HEAD, HIDDEN, LAYERS = 64, 4, 2, 32, 96, 2
SHAPE = {
    "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS,
    "intermediate_size": HIDDEN, "max_position_embeddings": 64, "initializer_range": 0.4, "vocab_size": 272,
    "rms_norm_eps": 1e-5, "head_dim": HEAD, "eos_token_id": 256, "bos_token_id": None, "pad_token_id": None,
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}  # fmt: skip
KINDS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "llama": ("llama", transformers.LlamaConfig, {"tie_word_embeddings": True}),
    "llama 3": ("llama", transformers.LlamaConfig, {"rope_parameters": LLAMA3}),
    "qwen2": ("qwen2", transformers.Qwen2Config, {"tie_word_embeddings": True}),
    "qwen2, untied": ("qwen2", transformers.Qwen2Config, {"tie_word_embeddings": False}),
    "qwen3": ("qwen3", transformers.Qwen3Config, {"tie_word_embeddings": True}),
}
NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip


def reference(kind: str) -> Any:
    _, config, extra = KINDS[kind]
    torch.manual_seed(0)
    made = transformers.AutoModelForCausalLM.from_config(config(**SHAPE, **extra)).eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "norm" in name:
                parameter.uniform_(0.5, 1.5)
            elif name.endswith("bias"):
                parameter.normal_(0, 0.5)
    return made


def neighbours(weight: Any, heads: int) -> Any:
    """Halves of a rotary pair side by side, as llama's GGUFs have them."""
    return weight.reshape(heads, 2, HEAD // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def write(path: Path, kind: str, made: Any, dtype: str = "F32", **changes: Any) -> Path:
    """Writes a model as llama.cpp's converter does. ``changes`` replace settings; None leaves one out."""
    architecture = KINDS[kind][0]
    writer = gguf.GGUFWriter(path, architecture)
    values = {
        "block_count": LAYERS, "context_length": 64, "embedding_length": WIDTH, "feed_forward_length": HIDDEN,
        "attention.head_count": HEADS, "attention.head_count_kv": KV_HEADS, "attention.key_length": HEAD,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.freq_base": made.config.rope_parameters["rope_theta"], **changes,
    }  # fmt: skip
    kinds = {str: gguf.GGUFValueType.STRING, float: gguf.GGUFValueType.FLOAT32, int: gguf.GGUFValueType.UINT32}
    for key, value in values.items():
        if value is not None:
            writer.add_key_value(f"{architecture}.{key}", value, kinds[type(value)])
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2" if architecture.startswith("qwen") else "llama-bpe")
    special = ["<|im_start|>", "<|im_end|>", "<tool_call>"]
    unused = [f"[unused{number}]" for number in range(272 - 257 - len(special))]
    writer.add_token_list([*letters, *special, "ab", *unused])
    writer.add_token_types([1] * 256 + [3, 3, 4, 1] + [5] * len(unused))
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(257)
    writer.add_chat_template("{{ messages }}")
    if made.config.rope_parameters["rope_type"] == "llama3":
        ordinary = 500.0 ** (-torch.arange(0, HEAD, 2) / HEAD)
        writer.add_tensor("rope_freqs.weight", (ordinary / made.model.rotary_emb.inv_freq).numpy())
    for name, tensor in made.state_dict().items():
        weight = tensor.numpy()
        if name.startswith("model.layers."):
            _, _, layer, part = name.split(".", 3)
            part, _, end = part.rpartition(".")
            heads = {"self_attn.q_proj": HEADS, "self_attn.k_proj": KV_HEADS}.get(part)
            if heads and architecture == "llama":
                weight = neighbours(weight, heads)
            target = f"blk.{layer}.{NAMES[part]}.{end}"
        elif name == "lm_head.weight":
            if made.config.tie_word_embeddings:
                continue
            target = "output.weight"
        else:
            target = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}[name]
        stored = gguf.GGMLQuantizationType[dtype if weight.ndim == 2 else "F32"]
        writer.add_tensor(target, gguf.quantize(weight, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def logits(loaded: Any, ids: list[int], cuts: tuple[int, ...] = ()) -> torch.Tensor:
    runner = LocalRunner(loaded.decoder, kv_cache(loaded.config, torch.float32, 4, 16))
    ends = [*cuts, len(ids)]
    rows = [
        runner.run(StepBatch((SequenceStep(tuple(ids[begin:end]), begin, (2, 1), end - begin),)))
        for begin, end in zip([0, *ends], ends, strict=False)
    ]
    return torch.cat(rows)


IDS = torch.randint(0, 256, (23,), generator=torch.Generator().manual_seed(1)).tolist()


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("kind", KINDS)
def test_logits_equal_transformers(tmp_path: Path, kind: str, dtype: str) -> None:
    made = reference(kind)
    if dtype != "F32":
        with torch.no_grad():
            for parameter in made.parameters():
                if parameter.ndim == 2:
                    parameter.copy_(parameter.to(torch.float16 if dtype == "F16" else torch.bfloat16))
    path = write(tmp_path / "tiny.gguf", kind, made, dtype)
    loaded = load_model(ModelConfig(model=str(path), dtype="float32", routed_experts=0))
    with torch.inference_mode():
        expected = made(torch.tensor([IDS])).logits[0]
    torch.testing.assert_close(logits(loaded, IDS), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(logits(loaded, IDS, (9, 10, 11, 20)), expected, atol=1e-4, rtol=1e-4)
    assert loaded.parameters == made.num_parameters()


@pytest.mark.skipif(machine_obstacle() is not None, reason=str(machine_obstacle()))
@pytest.mark.parametrize("dtype", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"])
def test_matrices_keep_their_format(tmp_path: Path, dtype: str) -> None:
    path = write(tmp_path / "tiny.gguf", "qwen2", reference("qwen2"), dtype)
    loaded = load_model(ModelConfig(model=str(path), routed_experts=0))
    assert loaded.form.dtype == ("int4" if dtype == "Q4_1" else "mixed")
    file = GgufFile(path)
    shape = gguf_shape(file)
    stored, exact = gguf_state(file, shape, stored=True), gguf_state(file, shape)
    assert sum(isinstance(value, GroupedRows) for value in stored.values()) >= 4 * shape.layers
    for name, value in stored.items():
        assert torch.equal(plain(value), exact[name]), name


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"rope.scaling.type": "yarn"}, "yarn"),
        ({"rope.dimension_count": 16}, "16 of a head's 32"),
        ({"block_count": None}, "block_count"),
        ({"block_count": 1}, "blk.1"),
        ({"block_count": 3}, "blk.2"),
        ({"attention.head_count": 7}, "7 heads can't share"),
        ({"attention.head_count_kv": 3}, "3 key/value heads"),
    ],
)
def test_what_is_not_known_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    path = write(tmp_path / "tiny.gguf", "qwen2", reference("qwen2"), **changes)
    with pytest.raises(ConfigError, match=named) as error:
        load_model(ModelConfig(model=str(path)))
    assert "\n" not in str(error.value)


def test_tokens_that_are_words_are_found_in_any_text(tmp_path: Path) -> None:
    path = write(tmp_path / "tiny.gguf", "qwen2", reference("qwen2"))
    tokenizer = load_model(ModelConfig(model=str(path), dtype="float32")).tokenizer
    assert 258 in tokenizer.encode("a <tool_call> b")
    assert 256 not in tokenizer.encode("<|im_start|>")
    assert tokenizer.encode("<|im_start|>", allow_special=True) == [256]
    text = "Grüße <tool_call> 123  und\n\n mehr<|im_end|>"
    assert tokenizer.decode(tokenizer.encode(text)) == text


@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from(sorted(GROUPED)), seed=st.integers(0, 1000))
def test_blocks_are_read_as_the_format_says(kind: gguf.GGMLQuantizationType, seed: int) -> None:
    """Against the `gguf` package, on random bytes with scales of ordinary size."""
    outputs, inputs = 3, 512
    block, size = gguf.GGML_QUANT_SIZES[kind]
    generator = np.random.default_rng(seed)
    data = generator.integers(0, 256, (outputs * inputs // block, size), dtype=np.uint8)
    scales = 2 if kind.name in ("Q4_1", "Q5_1", "Q4_K", "Q5_K") else 1
    factors = generator.uniform(0.01, 1, (len(data), scales)).astype(np.float16)
    data[:, : 2 * scales] = factors.view(np.uint8)
    rows = grouped(data.reshape(-1), kind, outputs, inputs)
    expected = torch.from_numpy(gguf.dequantize(data.reshape(outputs, -1), kind))
    exact = not kind.name.endswith("_K")
    error = 0.0 if exact else 2**-9 * float(expected.abs().max())
    torch.testing.assert_close(rows.dequantised(), expected, atol=error, rtol=0)


def test_the_whole_file_is_needed(tmp_path: Path) -> None:
    path = write(tmp_path / "tiny.gguf", "qwen3", reference("qwen3"))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match="ends before tensor"):
        GgufFile(path)
