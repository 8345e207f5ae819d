"""Configuration of a model: one frozen record, validated when created.

The pure functions below resolve "auto" values from facts that the caller passes in. Nothing here reads
the environment or imports torch.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from flightloop.errors import ConfigError

EDGE, STANDARD, LARGE = "edge", "standard", "large"
"""The embedded models: the one that is installed with the platform, the default, and the best. Their files:
`model.weights.sources`."""
EMBEDDED = (EDGE, STANDARD, LARGE)


@dataclass(frozen=True)
class ShippedExperts:
    """Trained experts and routers of an embedded model that come with it (docs/model-card.md).

    Attributes:
        path: their safetensors file.
        call_confidence: their `ModelConfig.call_confidence`, chosen on conversations that they weren't trained on.
    """

    path: Path
    call_confidence: float


_WEIGHTS = Path(__file__).parent / "weights"
SHIPPED: Mapping[str, ShippedExperts] = {
    EDGE: ShippedExperts(_WEIGHTS / "smollm2-135m-moe.safetensors", call_confidence=0.1),
    STANDARD: ShippedExperts(_WEIGHTS / "qwen2.5-coder-0.5b-moe.safetensors", call_confidence=0.2),
}
"""By the embedded model's name."""


def promoted_experts(model: str) -> str:
    """Name of the file in the platform's home that has the experts in use of an embedded model, instead of those that
    come with it."""
    return f"experts-{model}.safetensors"


Dtype = Literal["auto", "float32", "bfloat16", "int8", "int4", "mixed"]
ResolvedDtype = Literal["float32", "bfloat16", "int8", "int4", "mixed"]

Kernels = Literal["auto", "avx2", "avx2_vnni", "avx512"]
ResolvedKernels = Literal["avx2", "avx2_vnni", "avx512"]

NATIVE_BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16", "bf16", "sve_bf16"})


@dataclass(frozen=True)
class ModelConfig:
    """How to load and run a model.

    Attributes:
        model: an embedded model's name (`model.weights.sources`), the path of a local GGUF file or Hugging Face
            checkpoint folder (config.json, *.safetensors, tokenizer.json), or a repository on the hub, ``OWNER/NAME``
            or ``OWNER/NAME/FILE.gguf``. By default the model that needs no download.
        dtype: format of the weights; ``"auto"`` picks the fastest on this processor for short agent steps.
            ``"mixed"``: each matrix in the 4 to 8 bits of a GGUF file.
        experts: path of a safetensors file with trained routed experts and routers, such as those in `SHIPPED`;
            embedded models only. None: untrained experts, which don't change the output.
        lora: path of a safetensors file with a LoRA adapter, which is merged into the weights when they are loaded.
            None: no adapter.
        routed_experts: routed experts per layer of the embedded model; 0 loads its dense base model.
        expert_width: hidden width of a routed expert of the embedded model; ``standard`` and ``large`` have their own
            (`model.weights.sources`).
        active_experts: routed experts that are active per token.
        slots: sequences that run in one batch.
        block_size: tokens per block of the KV cache.
        kv_blocks: blocks in the KV cache; ``"auto"``: see `resolve_kv_blocks`.
        max_context: longest sequence, prompt and answer together, in tokens.
        step_tokens: maximum number of tokens per step, prompts and answers together, at least one per slot. Longer
            prompts are processed in chunks, and other requests' answers continue in between.
        draft_tokens: steps with fewer tokens are filled up to this number with draft tokens; 0: no drafts.
        queue: a request is rejected if this many requests of the same or a higher priority are waiting.
        threads: threads of one replica's matrix products; ``"auto"``: see `resolve_threads`.
        attention_window: number of latest tokens that a key/value head sees unless it is in ``global_layers`` or
            ``global_heads``; 0: all heads see everything.
        attention_sinks: number of first tokens that layers with a window see too.
        attention_retrieved: number of older tokens that a head without a window reads per decoded token in a long
            context: the best matches, in addition to the newest tokens. A multiple of 64; 0: all. Kernels only.
        global_layers: numbers of the layers that see everything despite ``attention_window``; ``"auto"``: none.
        global_heads: (layer, key/value head) pairs that see everything; ``"auto"``: if ``global_layers`` is "auto" too,
            the heads that were measured to carry retrieval, for models where they are known (`model.nn.windows`).
        call_confidence: minimum probability that the model assigns to its tool calls, if the request lets it choose
            between calls and text. Calls below it are replaced by an answer in text. 0: all calls are made.
        stream_interval_ms: after the first token, tokens are collected into one chunk for up to this many milliseconds
            (longer while several answers stream); 0: each token is sent at once. Sending a chunk takes as long as some
            tokens of the embedded model.
        shards: number of processes that the routed experts are split over.
        seed: seed of untrained experts and routers.
        cache: folder of the compiled kernels, and of weights that were packed for them.
        kernels: the processor's instructions that the kernels use; ``"auto"``: the fastest (`model.native.kinds`).
    """

    model: str = EDGE
    dtype: Dtype = "auto"
    experts: str | None = None
    lora: str | None = None
    routed_experts: int = 6
    expert_width: int = 32
    active_experts: int = 2
    slots: int = 8
    block_size: int = 16
    kv_blocks: int | Literal["auto"] = "auto"
    max_context: int = 4096
    step_tokens: int = 256
    draft_tokens: int = 8
    queue: int = 64
    threads: int | Literal["auto"] = "auto"
    attention_window: int = 0
    attention_sinks: int = 16
    attention_retrieved: int = 0
    global_layers: tuple[int, ...] | Literal["auto"] = "auto"
    global_heads: tuple[tuple[int, int], ...] | Literal["auto"] = "auto"
    call_confidence: float = 0.0
    stream_interval_ms: int = 50
    shards: int = 1
    seed: int = 0
    cache: str = "~/.cache/flightloop/kernels"
    kernels: Kernels = "auto"

    def __post_init__(self) -> None:
        if not isinstance(self.model, str) or not self.model:
            raise ConfigError("model must be an embedded model's name or a path", param="model")
        _one_of("dtype", self.dtype, get_args(Dtype))
        _one_of("kernels", self.kernels, get_args(Kernels))
        for field in (
            "expert_width", "active_experts", "slots", "block_size", "max_context", "step_tokens", "queue", "shards",
        ):  # fmt: skip
            _at_least(field, getattr(self, field), 1)
        for field in (
            "routed_experts", "draft_tokens", "attention_window", "attention_sinks", "attention_retrieved", "seed",
            "stream_interval_ms",
        ):  # fmt: skip
            _at_least(field, getattr(self, field), 0)
        if self.attention_retrieved % 64:
            raise ConfigError(
                f"attention_retrieved ({self.attention_retrieved}) must be a multiple of 64",
                param="attention_retrieved",
            )
        for field in ("kv_blocks", "threads"):
            if getattr(self, field) != "auto":
                _at_least(field, getattr(self, field), 1)
        if not 0 <= self.call_confidence < 1:
            raise ConfigError(
                f"call_confidence ({self.call_confidence}) must be at least 0 and below 1", param="call_confidence"
            )
        self._check_experts()
        if self.kv_blocks != "auto" and self.kv_blocks * self.block_size < self.max_context:
            raise ConfigError(
                f"kv_blocks ({self.kv_blocks}) times block_size ({self.block_size}) must hold at least one sequence of "
                f"max_context ({self.max_context}) tokens",
                param="kv_blocks",
            )

    def _check_experts(self) -> None:
        for layer in () if self.global_layers == "auto" else self.global_layers:
            _at_least("global_layers", layer, 0)
        for pair in () if self.global_heads == "auto" else self.global_heads:
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise ConfigError(f"global_heads must be (layer, head) pairs, not {pair!r}", param="global_heads")
            for number in pair:
                _at_least("global_heads", number, 0)
        if self.routed_experts == 0 and self.experts is not None:
            raise ConfigError("experts must not be set if routed_experts is 0 (dense model)", param="experts")
        if self.active_experts > self.routed_experts > 0:
            raise ConfigError(
                f"active_experts ({self.active_experts}) must not exceed routed_experts ({self.routed_experts})",
                param="active_experts",
            )
        if self.model == EDGE and self.routed_experts % self.shards:
            raise ConfigError(
                f"shards ({self.shards}) must divide routed_experts ({self.routed_experts})", param="shards"
            )


def _one_of(field: str, value: object, known: Collection[str]) -> None:
    if value not in known:
        raise ConfigError(f"{field} must be one of {', '.join(known)}, not {value!r}", param=field)


def _at_least(field: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"{field} must be a whole number of at least {least}, not {value!r}", param=field)


def resolve_dtype(dtype: Dtype, features: Collection[str]) -> ResolvedDtype:
    """Format of the weights of a model that torch runs; for the kernels, see `model.weights.form`.

    int8 uses bfloat16 activations; in torch it decodes fastest and prefills as fast as bfloat16
    (docs/decisions/0003-int8-kernel.md). On processors without bfloat16, both are slower than float32.

    Args:
        dtype: as configured.
        features: lower-case feature names of the processor, such as "avx512_bf16" or "amx_bf16".
    """
    if dtype != "auto":
        return dtype
    return "int8" if any(name in features for name in NATIVE_BFLOAT16) else "float32"


def resolve_threads(threads: int | Literal["auto"], cores: int, *, processes: int = 1, kernels: bool = False) -> int:
    """Threads of a process that runs a model: at least 1; "auto" gives at most 8.

    torch's threads spin while they wait for each other, so one thread without a core stalls them all: on two busy
    cores, two threads took 50 times as long as one (docs/decisions/0003-int8-kernel.md). They get the process's share
    of the cores minus one, which is left to everything else (API, agents, tools). The kernels' threads don't wait for
    a thread without a core (docs/decisions/0009-kernels.md) and get the whole share.
    """
    if threads != "auto":
        return threads
    return max(1, min(8, cores // processes - (0 if kernels else 1)))


def resolve_kv_blocks(config: ModelConfig) -> int:
    """Blocks in the KV cache: as configured, or half of what all slots need at full context, but enough for one
    sequence.

    Most sequences are far shorter than the longest; the engine queues those that don't fit.
    """
    if config.kv_blocks != "auto":
        return config.kv_blocks
    full = -(-config.max_context // config.block_size)
    return max(full, config.slots * full // 2)
