"""Records the engine's metrics."""

from __future__ import annotations

from collections.abc import Sequence

from model.engine.request import EngineLoad, Summary
from observability import catalog
from observability.metrics import Metrics


class Recorder:
    """Writes the model tier of the metrics catalogue.

    Args:
        metrics: metrics of this process.
        model: the model's name, used as a label.
    """

    def __init__(self, metrics: Metrics, model: str) -> None:
        self._metrics = metrics
        self._model = model
        self._experts: list[int] = []

    def rejected(self) -> None:
        self._metrics.inc(catalog.MODEL_REQUESTS, model=self._model, outcome="rejected")

    def ended(self, summary: Summary, outcome: str, seconds: float, trace_id: str | None) -> None:
        """Records a request's end. ``seconds``: time since its arrival."""
        inc, observe, model = self._metrics.inc, self._metrics.observe, self._model
        inc(catalog.MODEL_REQUESTS, model=model, outcome=outcome)
        if outcome == "interrupted":
            inc(catalog.MODEL_INTERRUPTED, model=model)
        inc(catalog.MODEL_TOKENS, summary.prompt_tokens, model=model, kind="prompt")
        inc(catalog.MODEL_TOKENS, summary.cached_tokens, model=model, kind="cached")
        inc(catalog.MODEL_TOKENS, summary.completion_tokens, model=model, kind="completion")
        inc(catalog.MODEL_DRAFT_TOKENS, summary.drafted_tokens, model=model, kind="drafted")
        inc(catalog.MODEL_DRAFT_TOKENS, summary.accepted_tokens, model=model, kind="accepted")
        observe(catalog.MODEL_QUEUE_SECONDS, summary.queue_seconds, exemplar=trace_id, model=model)
        observe(catalog.MODEL_REQUEST_SECONDS, seconds, exemplar=trace_id, model=model)
        if summary.ttft_seconds is not None:
            observe(catalog.MODEL_TTFT_SECONDS, summary.ttft_seconds, exemplar=trace_id, model=model)
            if summary.completion_tokens > 1:
                after_first = (seconds - summary.ttft_seconds) / (summary.completion_tokens - 1)
                observe(catalog.MODEL_TPOT_SECONDS, after_first, exemplar=trace_id, model=model)
        if summary.confidence is not None and summary.mean_entropy is not None:
            observe(catalog.MODEL_CONFIDENCE, summary.confidence, model=model)
            observe(catalog.MODEL_ENTROPY, summary.mean_entropy, model=model)

    def load(self, load: EngineLoad) -> None:
        put, model = self._metrics.set, self._model
        put(catalog.MODEL_RUNNING, load.running, model=model)
        put(catalog.MODEL_WAITING, load.waiting, model=model)
        put(catalog.MODEL_KV_USED_RATIO, load.kv_used_ratio, model=model)
        put(catalog.MODEL_KV_FRAGMENTATION_RATIO, load.kv_fragmentation_ratio, model=model)
        put(catalog.MODEL_SLOT_UTILISATION_RATIO, load.running / load.slots, model=model)

    def experts(self, totals: Sequence[int]) -> None:
        """Records tokens per expert. ``totals`` count since the start; only the growth is added."""
        before = self._experts or [0] * len(totals)
        for expert, (old, new) in enumerate(zip(before, totals, strict=True)):
            if new > old:
                self._metrics.inc(catalog.MODEL_EXPERT_TOKENS, new - old, model=self._model, expert=str(expert))
        self._experts = list(totals)
