"""Causal attention over whole sequences with gradients, by the kernels: for training on processors with AMX.

Suffixes: T tokens of all sequences, N query heads, K key/value heads, H head width, S sequences.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.native.build import compiled
from model.native.kinds import chosen
from model.native.library import Causal as Work
from model.native.library import Kernels, load
from model.native.support import machine_obstacle
from model.nn.causal import Causal

TILE_WIDTH = 32
"""Head widths must be multiples of this."""


def tiled_attention(folder: Path, head_width: int) -> Causal | None:
    """Attention with gradients, several times faster than torch's; None if this machine or width is not supported.

    Args:
        folder: folder of the compiled kernels.
        head_width: the model's head width.

    Returns:
        The attention, for tensors in bfloat16.

    Raises:
        ConfigError: the kernels can't be compiled or stored.
    """
    fastest = chosen("auto")
    if head_width % TILE_WIDTH or fastest is None or machine_obstacle():
        return None
    library = load(compiled(folder.expanduser()), fastest.name)
    if not library.has_tiles():
        return None

    def attend(
        query_TNH: Tensor, key_TKH: Tensor, value_TKH: Tensor, lengths: Sequence[int], begun: Sequence[int]
    ) -> Tensor:
        spans = torch.tensor([lengths, begun], dtype=torch.int32)
        mixed: Tensor = _Attention.apply(  # type: ignore[no-untyped-call]
            library, query_TNH, key_TKH, value_TKH, *spans
        )
        return mixed

    return attend


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        library: Kernels,
        query_TNH: Tensor,
        key_TKH: Tensor,
        value_TKH: Tensor,
        length_S: Tensor,
        begun_S: Tensor,
    ) -> Tensor:
        given = query_TNH.contiguous(), key_TKH.contiguous(), value_TKH.contiguous()
        mixed_TNH = torch.zeros_like(given[0])  # unwanted queries are left out
        sums_NT = torch.empty(mixed_TNH.shape[1::-1], dtype=torch.float32)
        _together(library.attend, given, mixed_TNH, sums_NT, (length_S, begun_S))
        ctx.library = library
        ctx.save_for_backward(*given, mixed_TNH, sums_NT, length_S, begun_S)
        return mixed_TNH

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor, Tensor, Tensor, None, None]:
        query_TNH, key_TKH, value_TKH, mixed_TNH, sums_NT, length_S, begun_S = ctx.saved_tensors
        given = query_TNH, key_TKH, value_TKH
        found = torch.zeros_like(query_TNH), torch.empty_like(key_TKH), torch.empty_like(value_TKH)
        gradients = grads[0].contiguous(), *found
        _together(ctx.library.differentiate, given, mixed_TNH, sums_NT, (length_S, begun_S), gradients)
        return None, *found, None, None


def _together(
    share: Any,
    given: tuple[Tensor, Tensor, Tensor],
    mixed_TNH: Tensor,
    sums_NT: Tensor,
    spans: tuple[Tensor, Tensor],
    gradients: Sequence[Tensor] = (),
) -> None:
    """Runs a kernel on all of torch's threads. Each thread takes units of work until none is left."""
    tokens, heads, width = mixed_TNH.shape
    length_S, begun_S = (span.contiguous() for span in spans)
    start_S = length_S.cumsum(0, dtype=torch.int32) - length_S
    work = Work(tokens=tokens, sequences=len(length_S), heads=heads, kv_heads=given[1].shape[1], head_width=width)
    work.scale = width**-0.5
    named = (
        "query",
        "key",
        "value",
        "mixed",
        "sums",
        "start",
        "length",
        "begun",
        "d_mixed",
        "d_query",
        "d_key",
        "d_value",
    )
    for name, tensor in zip(named, (*given, mixed_TNH, sums_NT, start_S, length_S, begun_S, *gradients), strict=False):
        setattr(work, name, tensor.data_ptr())
    run = _team()
    if run is None:
        share(ctypes.byref(work))
    else:
        run(ctypes.cast(share, ctypes.c_void_p), ctypes.byref(work), torch.get_num_threads(), 0)


@cache
def _team() -> Any:
    """``GOMP_parallel`` of the OpenMP library that torch uses; None if torch uses another library.

    Separate threads would wait until torch's threads, which spin between products, release the processor.
    """
    try:
        run = ctypes.CDLL(None).GOMP_parallel
    except AttributeError:
        return None
    run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    run.restype = None
    return run
