"""C interface of the kernels: the structures of src/decoder.h, field by field."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_float, c_int32, c_int64, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class Matrix(Structure):
    """Packed weights; see src/matrix.h."""

    _fields_ = [
        ("codes", c_void_p),
        ("scale", c_void_p),
        ("bits", c_int32),
        ("minimum", c_int32),
        ("outputs", c_int32),
        ("groups", c_int32),
    ]


class Layer(Structure):
    _fields_ = [
        ("attention_norm", c_void_p),
        ("ffn_norm", c_void_p),
        ("query_norm", c_void_p),
        ("key_norm", c_void_p),
        ("cosine", c_void_p),
        ("sine", c_void_p),
        ("qkv", Matrix),
        ("out", Matrix),
        ("qkv_bias", c_void_p),
        ("gate_up", Matrix),
        ("down", Matrix),
        ("router", c_void_p),
        ("router_bias", c_void_p),
        ("expert_gate_up", Matrix),
        ("expert_down", Matrix),
        ("keys", c_void_p),
        ("values", c_void_p),
        ("key_scale", c_void_p),
        ("value_scale", c_void_p),
        ("key_sum", c_void_p),
        ("window", c_int32),
        ("globals", c_int32),
        ("group", c_int32),
    ]


class Shape(Structure):
    _fields_ = [
        *(
            (name, c_int32)
            for name in (
                "layers", "width", "heads", "kv_heads", "head_width", "hidden", "vocabulary", "experts",
                "expert_hidden", "active", "normalise", "full_norm", "block_size", "sinks", "retrieved",
            )
        ),
        ("epsilon", c_float),
    ]  # fmt: skip


class Batch(Structure):
    _fields_ = [
        ("tokens", c_int32),
        ("sequences", c_int32),
        ("scored", c_int32),
        ("answers", c_int32),
        ("token", c_void_p),
        ("position", c_void_p),
        ("start", c_void_p),
        ("length", c_void_p),
        ("table_at", c_void_p),
        ("tables", c_void_p * 2),
        ("scored_row", c_void_p),
        ("states", c_void_p),
        ("wanted", c_int64),
        ("depth", c_int32),
    ]


class Model(Structure):
    _fields_ = [
        ("shape", Shape),
        ("layers", POINTER(Layer)),
        ("embedding", Matrix),
        ("norm", c_void_p),
        ("head", Matrix),
        ("expert_tokens", POINTER(c_int64)),
    ]


class Choice(Structure):
    _fields_ = [("token", c_int32), ("logprob", c_float), ("entropy", c_float)]


class Causal(Structure):
    """See src/causal.h."""

    _fields_ = [
        *(
            (name, c_void_p)
            for name in (
                "query", "key", "value", "mixed", "d_mixed", "d_query", "d_key", "d_value", "sums", "start", "length",
                "begun",
            )
        ),
        *((name, c_int32) for name in ("tokens", "sequences", "heads", "kv_heads", "head_width")),
        ("scale", c_float),
        ("next", c_int32),
    ]  # fmt: skip


@dataclass(frozen=True)
class Kernels:
    """The functions of one kind; see src/api.cpp. They release the interpreter lock while they run."""

    open: Any
    close: Any
    choose: Any
    step: Any
    has_tiles: Any
    attend: Any
    differentiate: Any


def load(path: Path, kind: str) -> Kernels:
    """Loads the compiled library and binds the functions of a kind of processor."""
    library = ctypes.CDLL(str(path))

    def bound(name: str, result: Any, *arguments: Any) -> Any:
        function = getattr(library, f"flightloop_{kind}_{name}")
        function.argtypes, function.restype = arguments, result
        return function

    return Kernels(
        open=bound("open", c_void_p, POINTER(Model), c_int32, c_int32),
        close=bound("close", None, c_void_p),
        choose=bound(
            "choose", None, c_void_p, c_void_p, c_int32, c_int32, c_void_p, c_int32, c_void_p, POINTER(Choice)
        ),
        step=bound("step", None, c_void_p, POINTER(Batch), c_void_p),
        has_tiles=bound("has_tiles", c_int32),
        attend=bound("attend", None, POINTER(Causal)),
        differentiate=bound("differentiate", None, POINTER(Causal)),
    )
