"""From the configuration to the windows of a decoder's layers and heads."""

from dataclasses import replace

import pytest

from flightloop.errors import ConfigError
from model.config import ModelConfig
from model.nn.rope import Rope
from model.nn.shape import EVERYTHING, Reach
from model.nn.windows import MEASURED_GLOBAL_HEADS, stretched, windowed
from model.weights.tiny import TINY

SHAPE = replace(TINY, layers=4)


def test_without_a_window_the_shape_stays() -> None:
    assert windowed(SHAPE, ModelConfig(global_layers=(1,))) == SHAPE
    assert SHAPE.reaches == (EVERYTHING,) * 4


def test_layers_that_are_not_global_get_the_window() -> None:
    shape = windowed(SHAPE, ModelConfig(attention_window=512, attention_sinks=8, global_layers=(1, 3)))
    assert shape.windows == (512, 0, 512, 0)
    assert shape.sinks == 8
    assert shape.reaches == (Reach(512, bounded=True), EVERYTHING, Reach(512, bounded=True), EVERYTHING)
    assert [shape.globals(layer) for layer in range(4)] == [()] * 4


def test_a_layer_with_a_global_head_is_not_bounded() -> None:
    shape = windowed(SHAPE, ModelConfig(attention_window=512, global_heads=((1, 0), (2, 0), (2, 1))))
    assert shape.windows == (512, 512, 0, 512)
    assert [shape.globals(layer) for layer in range(4)] == [(), (0,), (), ()]
    assert [reach.bounded for reach in shape.reaches] == [True, False, False, True]


def test_all_layers_can_be_bounded() -> None:
    shape = windowed(SHAPE, ModelConfig(attention_window=512, global_layers=()))
    assert shape.reaches == (Reach(512, bounded=True),) * 4


def test_positions_go_beyond_the_models_own_with_windows_only() -> None:
    config = ModelConfig(attention_window=512, global_layers=(), max_context=3 * SHAPE.max_positions)
    shape = windowed(SHAPE, config)
    assert shape.max_positions == 3 * SHAPE.max_positions
    assert shape.rope_theta > 3 * SHAPE.rope_theta
    assert windowed(SHAPE, replace(config, attention_window=0)) == SHAPE
    within = windowed(SHAPE, replace(config, max_context=64))
    assert (within.max_positions, within.rope_theta) == (SHAPE.max_positions, SHAPE.rope_theta)


def test_the_slowest_angle_beyond_stays_within_what_was_learned() -> None:
    own, far = SHAPE.max_positions, 4 * SHAPE.max_positions
    slowest = lambda shape: float(Rope(shape.head_width, shape.rope_theta, 2).sin_XH[1, -1].asin())  # noqa: E731
    assert slowest(stretched(SHAPE, far)) * far <= slowest(SHAPE) * own * 1.0001


def test_a_context_of_more_than_four_times_is_refused() -> None:
    with pytest.raises(ConfigError, match="max_context"):
        windowed(SHAPE, ModelConfig(attention_window=512, global_layers=(), max_context=4 * SHAPE.max_positions + 1))


def test_auto_is_refused_where_nothing_was_measured() -> None:
    with pytest.raises(ConfigError, match="global_heads"):
        windowed(SHAPE, ModelConfig(attention_window=512))


def test_auto_takes_what_was_measured() -> None:
    (layers, width, vocab), heads = next(iter(MEASURED_GLOBAL_HEADS.items()))
    shape = windowed(
        replace(TINY, layers=layers, width=width, vocab=vocab, heads=9, kv_heads=3), ModelConfig(attention_window=512)
    )
    apart = {(layer, head) for layer in range(layers) for head in shape.globals(layer)}
    apart |= {(layer, head) for layer in range(layers) for head in range(3) if shape.window(layer) == 0}
    assert apart == set(heads)


@pytest.mark.parametrize("wrong", [{"global_layers": (4,)}, {"global_heads": ((0, 2),)}, {"global_heads": ((4, 0),)}])
def test_what_the_model_does_not_have_is_refused(wrong) -> None:
    with pytest.raises(ConfigError, match="does not exist") as caught:
        windowed(SHAPE, ModelConfig(attention_window=512, **wrong))
    assert caught.value.param == next(iter(wrong))


@pytest.mark.parametrize(
    "wrong",
    [
        {"attention_window": -1},
        {"attention_sinks": 1.5},
        {"global_layers": (0, -1)},
        {"global_layers": ("a",)},
        {"global_heads": (1,)},
        {"global_heads": ((1, -1),)},
    ],
)
def test_bad_values_are_refused_by_name(wrong) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        ModelConfig(**wrong)
