"""Two random models of the same size, a mixture of experts and a dense one, as config.json describes them.

The mixture is an OLMoE of 64 experts, 4 of them active per token: 512 million parameters, 182 million (36 %) active.
The dense llama has one feed-forward as wide as all experts together. So both have about as many weights (511 million
parameters in the dense one), but the mixture doesn't have to read most of them for a token.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_COMMON: Mapping[str, Any] = {
    "vocab_size": 49_152,
    "hidden_size": 1024,
    "num_hidden_layers": 14,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "rope_theta": 10_000.0,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
    "attention_bias": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
}

MIXTURE: Mapping[str, Any] = {
    **_COMMON,
    "architectures": ["OlmoeForCausalLM"],
    "model_type": "olmoe",
    "intermediate_size": 128,
    "num_experts": 64,
    "num_experts_per_tok": 4,
    "norm_topk_prob": False,
}
"""About half a billion parameters, 64 experts, 4 active."""

DENSE: Mapping[str, Any] = {
    **_COMMON,
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "intermediate_size": 64 * 128,
}
"""The same number of parameters, all active."""


def parameters(settings: Mapping[str, Any]) -> tuple[int, int]:
    """Numbers of all parameters and of those active per token (the embedding counts like the output projection)."""
    width, layers = settings["hidden_size"], settings["num_hidden_layers"]
    experts, active = settings.get("num_experts", 1), settings.get("num_experts_per_tok", 1)
    heads, kv_heads = settings["num_attention_heads"], settings["num_key_value_heads"]
    attention = 2 * width * width + 2 * width * (width // heads) * kv_heads
    expert = 3 * width * settings["intermediate_size"]
    router = experts * width if experts > 1 else 0
    fixed = 2 * settings["vocab_size"] * width + layers * (attention + router)
    return fixed + layers * experts * expert, fixed + layers * active * expert
