"""Measures how the routed experts affect general language: perplexity with and without them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from agent.config import Settings
from bench.engine.workload import wikitext
from bench.errors import BenchError
from bench.perplexity import CONTEXT, score
from bench.rows import Row
from model.config import EMBEDDED, STANDARD, ModelConfig
from model.engine.local import local_runner
from model.weights.load import load_model

WINDOWS = 32


def perplexity_ratio(settings: Settings, data: Path, told: Callable[[str], None], windows: int = WINDOWS) -> Row:
    """Perplexity ratio on WikiText-2 for the model that a platform with these settings serves.

    Args:
        settings: model, format and experts.
        data: folder with WikiText-2.
        told: called with the progress.
        windows: windows of 1,024 tokens to score.

    Raises:
        BenchError: WikiText-2 is missing, or the model can't run without its experts.
        ConfigError: the model can't be loaded.
    """
    model = settings.model or STANDARD
    if settings.model_url or model not in EMBEDDED:
        raise BenchError("only an embedded model can be run without its experts")
    config = ModelConfig(
        model,
        dtype=settings.model_dtype,
        experts=str(settings.experts.resolve()) if settings.experts else None,
        lora=str(settings.model_lora.resolve()) if settings.model_lora else None,
        kv_blocks=CONTEXT // ModelConfig.block_size + 1,
        max_context=CONTEXT,
        threads=settings.model_threads or "auto",
    )
    with_them = _perplexity(config, data, windows, lambda done: told(f"perplexity with experts, {done}"))
    without = replace(config, experts=None, lora=None, routed_experts=0)
    note = f"WikiText-2, test part, {windows} windows of {CONTEXT:,} tokens"
    value = _perplexity(without, data, windows, lambda done: told(f"perplexity without experts, {done}"))
    return Row("perplexity_ratio", with_them, "", "without experts", value, higher_is_better=False, note=note)


def _perplexity(config: ModelConfig, data: Path, windows: int, told: Callable[[str], None]) -> float:
    loaded = load_model(config)
    text = wikitext(data, loaded.tokenizer)[: windows * CONTEXT]

    def so_far(done: int) -> None:
        told(f"{done:,} of {len(text):,} tokens")

    runner = local_runner(loaded, config)
    return score(runner, text, block_size=config.block_size, told=so_far).perplexity
