"""What the routed experts do to the model's general language: its perplexity with them and without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from agent.config import Settings
from bench.engine.workload import wikitext
from bench.errors import BenchError
from bench.perplexity import CONTEXT, score
from bench.rows import Row
from model.config import EMBEDDED, ModelConfig
from model.engine.local import local_runner
from model.weights.load import load_model

WINDOWS = 32


def perplexity_ratio(settings: Settings, data: Path, told: Callable[[str], None], windows: int = WINDOWS) -> Row:
    """Of the model that a platform with these settings serves, on WikiText-2.

    Args:
        settings: name the model, its format and its experts.
        data: folder with WikiText-2.
        told: gets how far it has come.
        windows: of 1,024 tokens that are scored.

    Raises:
        BenchError: WikiText-2 isn't there, or the model can't be run without its experts.
        ConfigError: the model can't be loaded.
    """
    if settings.model_url or settings.model != EMBEDDED:
        raise BenchError("only the embedded model can be run without its experts")
    config = ModelConfig(
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
