"""Memory for weights: one block in large pages.

Every token reads all weights. With pages of 4 KiB, the processor looks up each page's address anew, and its prefetcher
stops at each page's end.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping

import torch
from torch import Tensor

LINE = 64
"""Bytes of a cache line, at which every tensor begins."""


def settled(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of tensors in one block of memory, which lives as long as any of them."""
    sizes = {name: -(-tensor.nbytes // LINE) * LINE for name, tensor in tensors.items()}
    block = mmap.mmap(-1, max(LINE, sum(sizes.values())), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        block.madvise(mmap.MADV_HUGEPAGE)
    memory, placed, at = torch.frombuffer(block, dtype=torch.uint8), dict[str, Tensor](), 0
    for name, tensor in tensors.items():
        placed[name] = memory[at : at + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
        placed[name].copy_(tensor)
        at += sizes[name]
    return placed
