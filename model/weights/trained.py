"""Writes trained weights as safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor


def save_trained(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Writes tensors of any shape by name in a decoder's state. Floats are rounded to bfloat16, except float16.

    Args:
        path: the file; its folder must exist.
        tensors: tensors to write.
        metadata: notes in the file, such as how they were trained.

    Raises:
        OSError, SafetensorError: the file can't be written.
    """
    rounded = {name: _rounded(value.detach()).contiguous() for name, value in tensors.items()}
    save_file(rounded, path, metadata=dict(metadata or {}))


def _rounded(value: Tensor) -> Tensor:
    return value.to(torch.bfloat16) if value.dtype in (torch.float32, torch.float64) else value
