"""ModelConfig: what is refused, and how "auto" is resolved."""

import pytest

from flightloop.errors import ConfigError
from model.config import ModelConfig, resolve_dtype, resolve_kv_blocks, resolve_threads


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", ""), ("dtype", "float16"), ("slots", 0), ("slots", 1.5), ("block_size", -1), ("max_context", True),
        ("kv_blocks", 3), ("kv_blocks", "many"), ("threads", 0), ("shards", 4), ("active_experts", 9), ("seed", -1),
        ("step_tokens", 0), ("draft_tokens", -1), ("attention_retrieved", -64), ("attention_retrieved", 100),
        ("queue", 0),
    ],
)  # fmt: skip
def test_bad_values_name_their_field(field, value):
    with pytest.raises(ConfigError, match=field) as error:
        ModelConfig(**{field: value})
    assert error.value.param == field


def test_auto_dtype_follows_the_processor():
    assert resolve_dtype("auto", {"avx2", "avx512_vnni"}) == "float32"
    assert resolve_dtype("auto", {"avx2", "avx512_bf16"}) == "int8"
    assert resolve_dtype("bfloat16", {"avx2"}) == "bfloat16"


def test_auto_threads_leave_a_core_free():
    assert resolve_threads("auto", cores=2) == 1
    assert resolve_threads("auto", cores=4) == 3
    assert resolve_threads("auto", cores=16, processes=4) == 3
    assert resolve_threads("auto", cores=1, processes=4) == 1
    assert resolve_threads("auto", cores=64) == 8
    assert resolve_threads(3, cores=2) == 3
    assert resolve_threads("auto", cores=2, kernels=True) == 2
    assert resolve_threads("auto", cores=1, kernels=True) == 1


def test_auto_blocks_hold_half_of_the_slots_and_at_least_one():
    assert resolve_kv_blocks(ModelConfig(slots=3, max_context=100, block_size=16)) == 10
    assert resolve_kv_blocks(ModelConfig(slots=1, max_context=100, block_size=16)) == 7
    assert resolve_kv_blocks(ModelConfig(kv_blocks=300, max_context=100)) == 300


def test_a_dense_model_has_no_trained_experts():
    assert ModelConfig(routed_experts=0).active_experts == 2  # unused
    with pytest.raises(ConfigError, match="routed_experts is 0"):
        ModelConfig(routed_experts=0, experts="trained.safetensors")
