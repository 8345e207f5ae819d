"""The upcycled embedded model against transformers' dense Llama with the same weights."""

import pytest
import torch
import transformers

from flightloop.errors import ConfigError
from model.config import ModelConfig
from model.nn.attention import AttentionBatch, NoCache
from model.weights.embedded import embedded_path, load_embedded
from model.weights.experts import expert_state, load_experts, stored_experts
from model.weights.gguf import GgufFile
from model.weights.load import load_model
from model.weights.sources import SOURCES
from model.weights.trained import save_trained

TEXT = (
    "<|im_start|>user\nMy order 1042 arrived broken, can I get 20 euros back?<|im_end|>\n"
    "<|im_start|>assistant\nI am sorry"
)


def hf_permuted_back(weight, heads):
    """Neighbouring pairs to halves, written as an explicit list of rows."""
    width = len(weight) // heads
    rows = [h * width + 2 * (i % (width // 2)) + i // (width // 2) for h in range(heads) for i in range(width)]
    return weight[rows]


def oracle():
    file = GgufFile(embedded_path())
    meta, raw = file.metadata, file.all_tensors(1)
    heads, kv_heads = meta["llama.attention.head_count"], meta["llama.attention.head_count_kv"]
    config = transformers.LlamaConfig(
        vocab_size=len(meta["tokenizer.ggml.tokens"]),
        hidden_size=meta["llama.embedding_length"],
        intermediate_size=meta["llama.feed_forward_length"],
        num_hidden_layers=meta["llama.block_count"],
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        rms_norm_eps=meta["llama.attention.layer_norm_rms_epsilon"],
        max_position_embeddings=meta["llama.context_length"],
        rope_parameters={"rope_type": "default", "rope_theta": meta["llama.rope.freq_base"]},
        tie_word_embeddings=True,
    )
    names = {
        "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    }  # fmt: skip
    state = {"model.embed_tokens.weight": raw["token_embd.weight"], "model.norm.weight": raw["output_norm.weight"]}
    state["lm_head.weight"] = raw["token_embd.weight"]
    for name, value in raw.items():
        if name.startswith("blk."):
            _, layer, part, _ = name.split(".")
            turned = {"attn_q": heads, "attn_k": kv_heads}.get(part)
            state[f"model.layers.{layer}.{names[part]}.weight"] = hf_permuted_back(value, turned) if turned else value
    with torch.device("meta"):
        llama = transformers.LlamaForCausalLM(config)
    llama.load_state_dict(state, assign=True)
    llama.model.rotary_emb = type(llama.model.rotary_emb)(config)
    return llama.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def loaded():
    return load_embedded(ModelConfig(dtype="float32"))


@pytest.fixture(scope="module")
def reference():
    return oracle()


def logits_of(loaded, ids):
    batch = AttentionBatch.dense([len(ids)], loaded.decoder.dtype)
    with torch.inference_mode():
        return loaded.decoder.logits(loaded.decoder(torch.tensor(ids), batch.positions_T, NoCache(), batch))


def test_logits_equal_the_dense_base(loaded, reference):
    ids = loaded.tokenizer.encode(TEXT, allow_special=True)
    with torch.inference_mode():
        expected = reference(torch.tensor([ids])).logits[0]
    torch.testing.assert_close(logits_of(loaded, ids), expected, atol=1e-4, rtol=1e-4)


def test_int8_drifts_little(loaded, reference):
    ids = loaded.tokenizer.encode(TEXT, allow_special=True)
    exact = logits_of(loaded, ids).log_softmax(-1)
    for dtype, bound in (("int8", 0.02), ("bfloat16", 0.01)):
        in_torch = load_embedded(ModelConfig(dtype=dtype, shards=2))  # which the kernels can't run
        drifted = logits_of(in_torch, ids).log_softmax(-1)
        divergence = (exact.exp() * (exact - drifted)).sum(-1).mean()
        assert 0 < divergence < bound, dtype
        assert (exact.argmax(-1) == drifted.argmax(-1)).float().mean() > 0.9, dtype


def test_what_is_active_and_how_large_the_experts_are(loaded):
    assert loaded.name == "smollm2-135m-moe"
    assert loaded.parameters > loaded.active_parameters > 0.9 * loaded.parameters
    config = loaded.config
    experts = config.experts * config.width * (3 * config.expert_width + 1) * config.layers
    assert experts * 2 <= 24 * 2**20


def test_trained_experts_round_trip_and_take_effect(loaded, tmp_path):
    state = {name: value.clone() for name, value in loaded.decoder.state_dict().items()}
    state["blocks.3.moe.experts.down_DER"] += 0.5
    path = tmp_path / "experts.safetensors"
    save_trained(path, expert_state(state), {"note": "test"})
    read = load_experts(path, loaded.config)
    assert len(read) == 4 * loaded.config.layers
    trained = load_embedded(ModelConfig(dtype="float32", experts=str(path)))
    ids = loaded.tokenizer.encode(TEXT)
    assert (logits_of(trained, ids) - logits_of(loaded, ids)).abs().max() > 0.01


@pytest.mark.parametrize("change", [{"expert_width": 16}, {"routed_experts": 4}])
def test_experts_of_another_shape_are_refused(loaded, tmp_path, change):
    path = tmp_path / "experts.safetensors"
    save_trained(path, expert_state(loaded.decoder.state_dict()))
    with pytest.raises(ConfigError, match="does not fit") as error:
        load_embedded(ModelConfig(experts=str(path), **change))
    assert error.value.param == "experts"


def test_missing_experts_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.safetensors"):
        load_embedded(ModelConfig(experts=str(tmp_path / "nowhere.safetensors")))


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF\x03\x00\x00\x00" + b"\xff" * 64, b"not a model at all"])
def test_broken_files_are_one_line_errors(tmp_path, content):
    path = tmp_path / "broken.gguf"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        load_model(ModelConfig(model=str(path)))
    assert "\n" not in str(error.value)
    assert "broken.gguf" in str(error.value)


def test_truncated_model_is_refused(tmp_path):
    path = tmp_path / "short.gguf"
    with embedded_path().open("rb") as whole:
        path.write_bytes(whole.read(20 * 2**20))
    with pytest.raises(ConfigError, match="ends before tensor"):
        load_model(ModelConfig(model=str(path)))


def test_without_routed_experts_it_is_the_dense_base(loaded):
    dense = load_embedded(ModelConfig(dtype="float32", routed_experts=0))
    assert (dense.name, dense.config.experts) == ("smollm2-135m", 0)
    assert dense.parameters == dense.active_parameters < loaded.parameters
    ids = dense.tokenizer.encode(TEXT, allow_special=True)
    torch.testing.assert_close(logits_of(dense, ids), logits_of(loaded, ids))


def test_experts_are_stored_in_eight_bits_and_come_back(loaded, tmp_path):
    state = {name: value.clone() for name, value in expert_state(loaded.decoder.state_dict()).items()}
    generator = torch.Generator().manual_seed(0)
    for name, value in state.items():
        if "down" in name:
            value.normal_(0, 0.02, generator=generator)
    path = tmp_path / "experts.safetensors"
    save_trained(path, stored_experts(state))
    assert path.stat().st_size < 1.1 * sum(value.numel() for value in state.values())
    for name, value in load_experts(path, loaded.config).items():
        largest = value.abs().amax(-1, keepdim=True)
        step = largest / (256 if "router" in name else 250)
        assert ((value - state[name]).abs() <= step + 1e-6).all(), name


@pytest.mark.parametrize("name", SOURCES)
def test_the_experts_of_every_base_fit_into_the_repository(name):
    width, layers = {"standard": (896, 24), "large": (1536, 28)}[name]
    experts, hidden = ModelConfig.routed_experts, SOURCES[name].expert_width
    matrices = layers * experts * 3 * hidden * width
    scales = 2 * layers * experts * (2 * hidden + width)
    routers = 2 * layers * experts * (width + 1)
    assert matrices + scales + routers <= 24_000_000
