"""Headers of GGUF files that nobody means well with: whatever they say, one error tells that the file is none."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flightloop.errors import ConfigError
from model.weights.gguf import GgufFile

INT32, STRING, ARRAY = 5, 8, 9


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def header(*, keys: bytes = b"", count: int = 0, tensors: bytes = b"", many: int = 0) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, many, count) + keys + tensors


NO_ALIGNMENT = text("general.alignment") + struct.pack("<Ii", INT32, 0)
WORDS_FOR_ALIGNMENT = text("general.alignment") + struct.pack("<I", STRING) + text("wide")
DEEP = text("deep") + struct.pack("<I", ARRAY) + struct.pack("<IQ", ARRAY, 1) * 5_000 + struct.pack("<IQ", INT32, 0)
ENDLESS = text("long") + struct.pack("<IIQ", ARRAY, INT32, 2**62)
HUGE_AXES = text("w") + struct.pack("<IQQIQ", 2, 2**63, 2**63, 0, 0)
MANY_AXES = text("w") + struct.pack("<I", 2**31)


@pytest.mark.parametrize(
    "written",
    [
        header(keys=NO_ALIGNMENT, count=1),
        header(keys=WORDS_FOR_ALIGNMENT, count=1),
        header(keys=DEEP, count=1),
        header(keys=ENDLESS, count=1),
        header(count=2**63),
        header(tensors=HUGE_AXES, many=1),
        header(tensors=MANY_AXES, many=1),
    ],
)
def test_a_hostile_header_is_one_error(tmp_path: Path, written: bytes) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(written)
    with pytest.raises(ConfigError, match="not a complete GGUF file"):
        GgufFile(path)


@settings(deadline=None, database=None)
@given(st.binary(max_size=200))
def test_bytes_after_the_beginning(tmp_path_factory: pytest.TempPathFactory, rest: bytes) -> None:
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<I", 3) + rest)
    try:
        GgufFile(path)
    except ConfigError:
        return
    assert rest.startswith(bytes(8))  # no tensors: a file of nothing but metadata is whole
