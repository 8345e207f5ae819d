"""Reads a GGUF file: metadata and tensors, either dequantised to float32 or as stored.

The `gguf` package decodes the values. The header is parsed here in 0.1 s, since the package's reader spends 1.7 s on
the 98,000 strings of a small vocabulary. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import gguf
import numpy as np
import torch
from torch import Tensor

from flightloop.errors import ConfigError
from model.quant.grouped import GROUP, GroupedRows
from model.weights.blocks import GROUPED, grouped

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
_BROKEN = (struct.error, ValueError, TypeError, LookupError, ArithmeticError, RecursionError, MemoryError)
"""Errors that can occur while parsing an invalid header."""


STORED = GROUPED | {gguf.GGMLQuantizationType.Q6_K}
"""Formats of matrices that are read without dequantising."""


@dataclass(frozen=True)
class TensorInfo:
    """Location and format of a tensor in the file. ``shape`` is in torch's order, slowest axis first."""

    shape: tuple[int, ...]
    kind: gguf.GGMLQuantizationType
    offset: int
    nbytes: int


class GgufFile:
    """An open (memory-mapped) GGUF file.

    Attributes:
        metadata: plain Python values by GGUF key.
        tensors: location and format of each tensor, by name.

    Raises:
        ConfigError: the file can't be read or isn't GGUF version 2 or 3.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._data = np.memmap(path, dtype=np.uint8, mode="r")
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot read the model file {path}: {error}", param="model") from error
        try:
            self.metadata, self.tensors = _Header(self._data).parse()
        except _BROKEN as error:
            raise ConfigError(f"{path} is not a complete GGUF file: {error}", param="model") from error

    def tensor(self, name: str) -> Tensor:
        """A tensor in float32, in torch's order of axes."""
        return self._read(self.tensors[name])

    def first_rows(self, name: str, count: int) -> Tensor:
        """The first rows of a matrix, in float32."""
        info = self.tensors[name]
        rows, columns = info.shape
        count = min(count, rows)
        return self._read(replace(info, shape=(count, columns), nbytes=info.nbytes // rows * count))

    def row(self, name: str, row: int) -> Tensor:
        """One row of a matrix, in float32."""
        info = self.tensors[name]
        rows, columns = info.shape
        size = info.nbytes // rows
        return self._read(replace(info, shape=(1, columns), offset=info.offset + row * size, nbytes=size))[0]

    def _read(self, info: TensorInfo) -> Tensor:
        raw = self._data[info.offset : info.offset + info.nbytes]
        if info.kind in (gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16):
            raw = raw.view(np.float32 if info.kind is gguf.GGMLQuantizationType.F32 else np.float16)
        else:
            raw = raw.reshape(*gguf.quant_shape_to_byte_shape(info.shape, info.kind))
        values = gguf.dequantize(raw, info.kind).astype(np.float32, copy=False)
        return torch.from_numpy(np.array(values, copy=not values.flags.writeable)).view(info.shape)

    def stored(self, name: str) -> GroupedRows | Tensor:
        """A matrix in its stored format, without dequantising; float32 if it has another one than `STORED`.

        Q6_K has a scale per 16 weights. They are rounded again, to six bits with one scale per 32.
        """
        info = self.tensors[name]
        if info.kind not in STORED or len(info.shape) != 2 or info.shape[1] % GROUP:
            return self.tensor(name)
        if info.kind is gguf.GGMLQuantizationType.Q6_K:
            return GroupedRows.symmetric(self.tensor(name), 6)
        return grouped(self._data[info.offset : info.offset + info.nbytes], info.kind, *info.shape)

    @property
    def form(self) -> Literal["int4", "mixed"] | None:
        """Format of most matrices: int4 (Q4_1), or any of `STORED`; None: they are not quantised."""
        kinds = [info.kind for info in self.tensors.values() if len(info.shape) == 2]
        if 2 * kinds.count(gguf.GGMLQuantizationType.Q4_1) > len(kinds):
            return "int4"
        return "mixed" if 2 * sum(kind in STORED for kind in kinds) > len(kinds) else None

    def all_tensors(self, threads: int, stored: bool = False) -> dict[str, Tensor | GroupedRows]:
        """All tensors in float32; with ``stored``, matrices are not dequantised (`stored`).

        ``threads`` threads decode them (numpy releases the interpreter lock).
        """
        read = self.stored if stored else self.tensor
        with ThreadPoolExecutor(threads) as pool:
            return dict(zip(self.tensors, pool.map(read, self.tensors), strict=True))


class _Header:
    """A cursor over the header's bytes."""

    def __init__(self, data: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
        self._data = data.data
        self._at = 0

    def parse(self) -> tuple[dict[str, Any], dict[str, TensorInfo]]:
        if bytes(self._data[:4]) != b"GGUF":
            raise ValueError("it does not begin with GGUF")
        self._at = 4
        version, count, keys = self._scalar("<I"), self._scalar("<Q"), self._scalar("<Q")
        if version not in (2, 3):
            raise ValueError(f"version {version} is not supported, only 2 and 3 are")
        metadata = {self._string(): self._value(self._scalar("<I")) for _ in range(keys)}
        found = {self._string(): self._place() for _ in range(count)}
        alignment = int(metadata.get("general.alignment", gguf.GGUF_DEFAULT_ALIGNMENT))
        base = -(-self._at // alignment) * alignment
        tensors = {name: _info(shape, kind, base + offset) for name, (shape, kind, offset) in found.items()}
        for name, info in tensors.items():
            if info.offset + info.nbytes > len(self._data):
                raise ValueError(f"it ends before tensor {name}")
        return metadata, tensors

    def _place(self) -> tuple[tuple[int, ...], int, int]:
        axes = [int(self._scalar("<Q")) for _ in range(self._scalar("<I"))]
        return tuple(reversed(axes)), int(self._scalar("<I")), int(self._scalar("<Q"))

    def _scalar(self, form: str) -> Any:
        (value,) = struct.unpack_from(form, self._data, self._at)
        self._at += struct.calcsize(form)
        return value

    def _string(self) -> str:
        length = self._scalar("<Q")
        if self._at + length > len(self._data):
            raise ValueError("it ends within a string")
        self._at += length
        return str(self._data[self._at - length : self._at], "utf-8")

    def _strings(self, count: int) -> list[str]:
        """As many strings: vocabularies have 300,000 of them."""
        data, at, length_at, end = self._data, self._at, struct.Struct("<Q").unpack_from, len(self._data)
        found = []
        for _ in range(count):
            (length,) = length_at(data, at)
            at += 8 + length
            if at > end:
                raise ValueError("it ends within a string")
            found.append(str(data[at - length : at], "utf-8"))
        self._at = at
        return found

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            return self._scalar(_SCALARS[kind])
        item, length = self._scalar("<I"), self._scalar("<Q")
        if item == _STRING:
            return self._strings(length)
        if item == _ARRAY:
            return [self._value(item) for _ in range(length)]
        form = f"<{length}{_SCALARS[item][1]}"
        values = list(struct.unpack_from(form, self._data, self._at))
        self._at += struct.calcsize(form)
        return values


def _info(shape: tuple[int, ...], kind: int, offset: int) -> TensorInfo:
    quantisation = gguf.GGMLQuantizationType(kind)
    block, size = gguf.GGML_QUANT_SIZES[quantisation]
    return TensorInfo(shape, quantisation, offset, math.prod(shape) // block * size)
