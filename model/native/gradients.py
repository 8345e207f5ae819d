"""Causal attention over whole sequences with gradients by the kernels: for training on processors with tiles (AMX).

Suffixes: T tokens of all sequences, N query heads, K key/value heads, H head width, L tokens of one sequence.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.native.build import compiled
from model.native.library import Gradients, load
from model.native.support import machine_obstacle

TILE_WIDTH = 32
"""Heads' widths are multiples of it."""


def tiled_attention(folder: Path, head_width: int) -> Callable[[Tensor, Tensor, Tensor, Sequence[int]], Tensor] | None:
    """Attention whose gradients take a tenth of the time of torch's; None where it can't be had.

    Args:
        folder: of the compiled kernels.
        head_width: of the model.

    Returns:
        A function of queries (T, N, H), keys and values (T, K, H) and the sequences' lengths, which gives what the
        queries mix together, (T, N, H). It takes bfloat16 only.

    Raises:
        ConfigError: the kernels can't be compiled or kept.
    """
    if head_width % TILE_WIDTH or machine_obstacle():
        return None
    library = load(compiled(folder.expanduser()))
    if not library.flightloop_has_tiles():
        return None

    def attend(query_TNH: Tensor, key_TKH: Tensor, value_TKH: Tensor, lengths: Sequence[int]) -> Tensor:
        mixed: Tensor = _Attention.apply(  # type: ignore[no-untyped-call]
            library, query_TNH, key_TKH, value_TKH, list(lengths)
        )
        return mixed

    return attend


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, library: ctypes.CDLL, query_TNH: Tensor, key_TKH: Tensor, value_TKH: Tensor, lengths: list[int]
    ) -> Tensor:
        ctx.library, ctx.lengths = library, lengths
        copies = query_TNH.shape[1] // key_TKH.shape[1]
        mixed, sums = [], []
        parts = zip(*(torch.split(x, lengths) for x in (query_TNH, key_TKH, value_TKH)), strict=True)
        for query_LNH, key_LKH, value_LKH in parts:
            heads = (query_LNH, *(x.repeat_interleave(copies, 1) for x in (key_LKH, value_LKH)))
            mixed_1NLH, sums_1NL = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
                *(x.transpose(0, 1).unsqueeze(0) for x in heads), is_causal=True
            )
            mixed.append(mixed_1NLH[0].transpose(0, 1))
            sums.append(sums_1NL[0])
        mixed_TNH = torch.cat(mixed)
        ctx.save_for_backward(*(x.contiguous() for x in (query_TNH, key_TKH, value_TKH)), mixed_TNH, torch.cat(sums, 1))
        return mixed_TNH

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor, Tensor, Tensor, None]:
        [d_mixed_TNH] = grads
        query_TNH, key_TKH, value_TKH, mixed_TNH, sums_NT = ctx.saved_tensors
        found = torch.empty_like(query_TNH), torch.empty_like(key_TKH), torch.empty_like(value_TKH)
        length = torch.tensor(ctx.lengths, dtype=torch.int32)
        start = length.cumsum(0, dtype=torch.int32) - length
        given = (query_TNH, key_TKH, value_TKH, mixed_TNH, d_mixed_TNH.contiguous(), *found, sums_NT.contiguous())
        tokens, heads, width = query_TNH.shape
        kv_heads = key_TKH.shape[1]
        work = Gradients(
            *(x.data_ptr() for x in (*given, start, length)),
            *(tokens, len(length), heads, kv_heads, width, width**-0.5, 0),
        )
        _together(ctx.library.flightloop_gradients_share, work)
        return None, *found, None


def _together(share: Any, work: Gradients) -> None:
    """Calls a function that takes units of work until none is left, on all of torch's threads."""
    run = _team()
    if run is None:
        share(ctypes.byref(work))
    else:
        run(ctypes.cast(share, ctypes.c_void_p), ctypes.byref(work), torch.get_num_threads(), 0)


@cache
def _team() -> Any:
    """OpenMP's own function, from the library that torch uses; None where torch uses another one.

    Threads of our own would have to wait until torch's, which spin between products, give up the processor.
    """
    try:
        run = ctypes.CDLL(None).GOMP_parallel
    except AttributeError:
        return None
    run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    run.restype = None
    return run
