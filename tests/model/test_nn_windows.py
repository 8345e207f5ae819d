"""From the configuration to the windows of a decoder's layers."""

from dataclasses import replace

import pytest

from flightloop.errors import ConfigError
from model.config import ModelConfig
from model.nn.windows import windowed
from model.weights.tiny import TINY

SHAPE = replace(TINY, layers=4)


def test_without_a_window_the_shape_stays() -> None:
    assert windowed(SHAPE, ModelConfig(global_layers=(1,))) == SHAPE


def test_layers_that_are_not_global_get_the_window() -> None:
    shape = windowed(SHAPE, ModelConfig(attention_window=512, attention_sinks=8, global_layers=(1, 3)))
    assert shape.windows == (512, 0, 512, 0)
    assert shape.sinks == 8
    assert [shape.window(layer) for layer in range(4)] == [512, 0, 512, 0]
    assert SHAPE.window(3) == 0


def test_auto_is_refused_where_nothing_was_measured() -> None:
    with pytest.raises(ConfigError, match="global_layers"):
        windowed(SHAPE, ModelConfig(attention_window=512))


def test_a_layer_beyond_the_model_is_refused() -> None:
    with pytest.raises(ConfigError, match="layer 4"):
        windowed(SHAPE, ModelConfig(attention_window=512, global_layers=(4,)))


@pytest.mark.parametrize(
    "wrong", [{"attention_window": -1}, {"attention_sinks": 1.5}, {"global_layers": (0, -1)}, {"global_layers": ("a",)}]
)
def test_bad_values_are_refused_by_name(wrong) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        ModelConfig(**wrong)
