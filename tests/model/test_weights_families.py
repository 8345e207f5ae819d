"""Checkpoint folders of the known families, tiny and random, against transformers."""

import json
from itertools import pairwise

import pytest
import tokenizers
import torch
import transformers
from tokenizers import AddedToken, decoders, models, pre_tokenizers

from flightloop.errors import ConfigError
from model.config import ModelConfig
from model.engine.kv_cache import kv_cache
from model.engine.runner import LocalRunner, SequenceStep, StepBatch
from model.nn.attention import AttentionBatch, NoCache
from model.weights.load import load_model

COMMON = {
    "vocab_size": 300, "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 32, "max_position_embeddings": 64, "initializer_range": 0.4, "eos_token_id": 257,
    "pad_token_id": None, "bos_token_id": None,
}  # fmt: skip
KINDS = {
    "llama": (transformers.LlamaConfig, {"tie_word_embeddings": True}),
    "llama with linear scaling": (
        transformers.LlamaConfig,
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0}},
    ),
    "llama 3": (
        transformers.LlamaConfig,
        {
            "head_dim": 16,
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 500.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
            },
        },
    ),
    "qwen2": (transformers.Qwen2Config, {"tie_word_embeddings": True}),
    "qwen2, untied": (transformers.Qwen2Config, {"tie_word_embeddings": False}),
    "qwen3": (transformers.Qwen3Config, {"head_dim": 16, "tie_word_embeddings": True}),
    "mixtral": (transformers.MixtralConfig, {"num_local_experts": 6, "num_experts_per_tok": 2}),
    "olmoe": (transformers.OlmoeConfig, {"num_experts": 6, "num_experts_per_tok": 3}),
    "qwen3_moe": (
        transformers.Qwen3MoeConfig,
        {
            "num_experts": 6,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 24,
            "head_dim": 16,
            "norm_topk_prob": True,
        },
    ),
}


def write_tokenizer(folder):
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = tokenizers.Tokenizer(models.BPE(vocab={text: index for index, text in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_tokens([AddedToken("    ", normalized=False)])
    backend.add_special_tokens(["<|end|>"])
    backend.save(str(folder / "tokenizer.json"))
    settings = {"eos_token": {"content": "<|end|>"}, "chat_template": "{{ messages }}"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


@pytest.fixture(scope="module", params=KINDS)
def checkpoint(request, tmp_path_factory):
    config, extra = KINDS[request.param]
    torch.manual_seed(0)
    reference = transformers.AutoModelForCausalLM.from_config(config(**COMMON, **extra)).eval()
    with torch.no_grad():  # norms other than one, so that leaving one out shows
        for name, parameter in reference.named_parameters():
            if "norm" in name:
                parameter.uniform_(0.5, 1.5)
            elif name.endswith("bias"):
                parameter.normal_(0, 0.5)
    folder = tmp_path_factory.mktemp(request.param.replace(",", ""))
    reference.save_pretrained(folder, max_shard_size="60KB")
    write_tokenizer(folder)
    return folder, reference


def test_logits_equal_transformers(checkpoint):
    folder, reference = checkpoint
    loaded = load_model(ModelConfig(model=str(folder), dtype="float32"))
    ids = torch.randint(0, 256, (23,), generator=torch.Generator().manual_seed(1))
    batch = AttentionBatch.dense([len(ids)])
    with torch.inference_mode():
        expected = reference(ids[None]).logits[0]
        got = loaded.decoder.logits(loaded.decoder(ids, batch.positions_T, NoCache(), batch))
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)
    assert loaded.parameters == sum(parameter.numel() for parameter in reference.parameters())
    assert loaded.name == folder.name
    assert (loaded.active_parameters < loaded.parameters) == (loaded.config.experts > 0)


def test_cached_steps_equal_transformers(checkpoint):
    folder, reference = checkpoint
    loaded = load_model(ModelConfig(model=str(folder), dtype="float32"))
    runner = LocalRunner(loaded.decoder, kv_cache(loaded.config, torch.float32, 4, 16))
    ids = torch.randint(0, 256, (23,), generator=torch.Generator().manual_seed(2)).tolist()
    cuts = [0, 9, 10, 11, 20, 23]
    rows = [
        runner.run(StepBatch((SequenceStep(tuple(ids[begin:end]), begin, (2, 1), end - begin),)))
        for begin, end in pairwise(cuts)
    ]
    with torch.inference_mode():
        expected = reference(torch.tensor([ids])).logits[0]
    torch.testing.assert_close(torch.cat(rows), expected, atol=1e-4, rtol=1e-4)


def test_tokenizer_of_a_folder(checkpoint):
    folder, _ = checkpoint
    tokenizer = load_model(ModelConfig(model=str(folder), dtype="float32")).tokenizer
    assert tokenizer.eos_id == 257
    assert tokenizer.encode("<|end|>", allow_special=True) == [257]
    assert 257 not in tokenizer.encode("<|end|>")
    ids = tokenizer.encode("a    é<|end|>")
    assert 256 in ids
    assert tokenizer.decode(ids) == "a    é<|end|>"


def settings_of(folder):
    return json.loads((folder / "config.json").read_text())


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": "gpt2"}, {"attention_bias": True}, {"hidden_act": "gelu"}, {"sliding_window": 32},
        {"rope_parameters": {"rope_type": "yarn"}}, {"num_hidden_layers": 3}, {"hidden_size": 24},
        {"num_hidden_layers": 1}, {"quantization_config": {"quant_method": "fp8"}}, {"partial_rotary_factor": 0.5},
        {"layer_types": ["full_attention", "sliding_attention"]}, {"rms_norm_eps": ...},
        {"hidden_size": "64"}, {"hidden_size": 65, "head_dim": None}, {"num_attention_heads": 0}, {"head_dim": 15},
        {"num_key_value_heads": 3}, {"vocab_size": True}, {"num_hidden_layers": 2.5},
    ],
)  # fmt: skip
def test_what_is_not_known_is_refused_by_name(checkpoint, tmp_path, change):
    folder, _ = checkpoint
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    written = {**settings_of(folder), "use_sliding_window": True, **change}
    kept = {key: value for key, value in written.items() if value is not ...}
    (tmp_path / "config.json").write_text(json.dumps(kept))
    with pytest.raises(ConfigError) as error:
        load_model(ModelConfig(model=str(tmp_path)))
    assert "\n" not in str(error.value)
    key = next(iter(change))
    named = {
        "rope_parameters": "rope_type",
        "quantization_config": "fp8",
        "head_dim": "even",
        "num_key_value_heads": "key/value",
    }
    whole = key == "num_hidden_layers" and isinstance(change[key], int)
    assert (named.get(key, key) if not whole else "tensor") in str(error.value) or key == "hidden_size"


def test_experts_for_a_model_that_takes_none(checkpoint, tmp_path):
    folder, _ = checkpoint
    (tmp_path / "experts.safetensors").touch()
    with pytest.raises(ConfigError, match="takes no trained experts"):
        load_model(ModelConfig(model=str(folder), experts=str(tmp_path / "experts.safetensors")))


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "*.safetensors"])
def test_missing_files_are_named(checkpoint, tmp_path, missing):
    folder, _ = checkpoint
    for path in folder.iterdir():
        if not path.match(missing):
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ConfigError, match=missing.replace("*", r"\*")):
        load_model(ModelConfig(model=str(tmp_path)))


def test_a_missing_template_is_named(checkpoint, tmp_path):
    folder, _ = checkpoint
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|end|>"}))
    with pytest.raises(ConfigError, match=r"chat_template\.jinja"):
        load_model(ModelConfig(model=str(tmp_path)))
    (tmp_path / "chat_template.jinja").write_text("{{ messages[0].content }}")
    assert load_model(ModelConfig(model=str(tmp_path), dtype="float32")).chat.calls.name == "hermes"


def test_experts_must_split_over_the_shards(checkpoint):
    folder, _ = checkpoint
    with pytest.raises(ConfigError, match="shards") as error:
        load_model(ModelConfig(model=str(folder), dtype="float32", shards=4))
    assert error.value.param == "shards"


def test_nothing_there(tmp_path):
    with pytest.raises(ConfigError, match="none of them"):
        load_model(ModelConfig(model=str(tmp_path / "nowhere")))
