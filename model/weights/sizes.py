"""Checks the sizes that a checkpoint states, so that a wrong file is an error that names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flightloop.errors import ConfigError


def check_sizes(stated: Mapping[str, Any], where: str) -> None:
    """Raises ConfigError if a size is not a whole number from 1 on. None means that it isn't stated.

    Args:
        where: the file that states them, for the error.
    """
    for name, size in stated.items():
        if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 1):
            raise ConfigError(f"{name} in {where} is {size!r}, but it must be a whole number from 1 on", param="model")


def check_heads(width: int, heads: int, kv_heads: int, head_width: int | None, where: str) -> None:
    """Raises ConfigError if a decoder can't have these heads.

    Args:
        head_width: width of a head as stated; None: the model's width divided by the number of heads.
        where: the file that states them, for the error.
    """
    if head_width is None and width % heads:
        raise ConfigError(f"{where}: a width of {width} can't be divided among {heads} heads", param="model")
    each = head_width or width // heads
    if each % 2:
        raise ConfigError(
            f"{where}: a head has a width of {each}, but rotary embedding needs an even one", param="model"
        )
    if heads % kv_heads:
        raise ConfigError(f"{where}: {heads} heads can't share {kv_heads} key/value heads", param="model")
