"""Writes trained weights: bfloat16 tensors as safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor


def save_trained(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Writes tensors of any shape and float type, rounded to bfloat16, by name in a decoder's state.

    Args:
        path: the file; its folder must exist.
        tensors: tensors to write.
        metadata: notes in the file, such as how they were trained.

    Raises:
        OSError, SafetensorError: the file can't be written.
    """
    rounded = {name: value.detach().to(torch.bfloat16).contiguous() for name, value in tensors.items()}
    save_file(rounded, path, metadata=dict(metadata or {}))
