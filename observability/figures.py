"""The console's figures: the three tiers, and runs, tools and guardrails, as plain JSON.

Shares are in 0..1, times in seconds, memory in bytes, costs in euros. What nobody reported is null:
a dashboard that shows 0 there would lie. All figures are since the beginning; rates need two samples
and are left to whoever polls.
"""

from __future__ import annotations

from typing import Any

from observability import catalog as c
from observability.catalog import Metric
from observability.config import BusinessConfig
from observability.values import Values


def overview(values: Values, journal: Values | None = None, business: BusinessConfig | None = None) -> dict[str, Any]:
    """Everything the overview page shows.

    Args:
        values: of the aggregator.
        journal: of the projection, to show one tenant's runs (``projection.values(tenant)``); without
            it, what the aggregator knows of all tenants.
        business: inputs of costs and ROI.
    """
    told = journal or values
    return {
        "system": system(values),
        "model": model(values, told),
        "business": business_figures(told, business or BusinessConfig()),
        "runs": runs(told),
        "tools": tools(told),
        "guardrails": guardrails(values, told),
    }


def system(values: Values) -> dict[str, Any]:
    requests = values.by(c.SYSTEM_HTTP_REQUESTS, "status")
    return {
        "processes": values.value(c.SYSTEM_METRICS_PROCESSES),
        "oldest_report_seconds": values.value(c.SYSTEM_METRICS_AGE_SECONDS),
        "cpu_utilisation": values.mean(c.SYSTEM_CPU_UTILISATION_RATIO),
        "memory_used": values.mean(c.SYSTEM_MEMORY_USED_RATIO),
        "resident_bytes": values.by(c.SYSTEM_PROCESS_RESIDENT_BYTES, "process"),
        "memory_fragmentation": values.mean(c.SYSTEM_MEMORY_FRAGMENTATION_RATIO),
        "gpu_utilisation": values.mean(c.SYSTEM_GPU_UTILISATION_RATIO),
        "gpu_memory_used_bytes": values.value(c.SYSTEM_GPU_MEMORY_USED_BYTES),
        "gpu_memory_capacity_bytes": values.value(c.SYSTEM_GPU_MEMORY_CAPACITY_BYTES),
        "network": _spread(values, c.SYSTEM_NETWORK_SECONDS),
        "network_failures": values.value(c.SYSTEM_NETWORK_FAILURES),
        "http": {
            "requests": sum(requests.values()),
            "server_errors": sum(count for status, count in requests.items() if status.startswith("5")),
            **_spread(values, c.SYSTEM_HTTP_SECONDS),
        },
        "replicas": values.by(c.SYSTEM_REPLICAS, "deployment"),
        "replica_utilisation": values.by(c.SYSTEM_REPLICA_UTILISATION_RATIO, "deployment"),
    }


def model(values: Values, journal: Values) -> dict[str, Any]:
    tokens = values.by(c.MODEL_TOKENS, "kind")
    experts = values.by(c.MODEL_EXPERT_TOKENS, "expert")
    routed = sum(experts.values())
    return {
        "tokens": tokens,
        "cache_hit_rate": _share(tokens.get("cached"), tokens.get("prompt")),
        "requests": values.by(c.MODEL_REQUESTS, "outcome"),
        "interrupted": values.value(c.MODEL_INTERRUPTED),
        "ttft": _spread(values, c.MODEL_TTFT_SECONDS),
        "tpot": _spread(values, c.MODEL_TPOT_SECONDS),
        "queue": _spread(values, c.MODEL_QUEUE_SECONDS),
        "request": _spread(values, c.MODEL_REQUEST_SECONDS),
        "running": values.value(c.MODEL_RUNNING),
        "waiting": values.value(c.MODEL_WAITING),
        "slot_utilisation": values.mean(c.MODEL_SLOT_UTILISATION_RATIO),
        "kv_used": values.mean(c.MODEL_KV_USED_RATIO),
        "kv_fragmentation": values.mean(c.MODEL_KV_FRAGMENTATION_RATIO),
        "confidence": _quality(values, c.MODEL_CONFIDENCE),
        "decision_confidence": _quality(journal, c.RUN_CONFIDENCE),
        "entropy": _quality(values, c.MODEL_ENTROPY),
        "groundedness": _quality(journal, c.MODEL_GROUNDEDNESS),
        "toxicity": {**_quality(journal, c.MODEL_TOXICITY), "over_threshold": journal.value(c.MODEL_TOXIC)},
        "expert_shares": {expert: count / routed for expert, count in experts.items()} if routed else {},
        # 1: every expert gets as much; n: one of n gets all
        "expert_imbalance": max(experts.values()) * len(experts) / routed if routed else None,
    }


def business_figures(values: Values, config: BusinessConfig) -> dict[str, Any]:
    outcomes = values.by(c.BUSINESS_RUNS, "outcome")
    attempted = sum(outcomes.values())
    model_cost = values.value(c.BUSINESS_COST_EUROS) or 0.0
    seconds = values.value(c.BUSINESS_PERIOD_SECONDS) or 0.0
    total = config.total_cost(model_cost, seconds)
    resolutions = values.value(c.BUSINESS_RESOLUTIONS) or 0.0
    calibrated = values.value(c.BUSINESS_CALIBRATED_RUNS)
    return {
        "outcomes": outcomes,
        "attempted": attempted,
        "completion_rate": _share(outcomes.get("verified"), attempted),
        "assumed_rate": _share(outcomes.get("assumed"), attempted),
        "containment_rate": 1 - outcomes.get("escalated", 0.0) / attempted if attempted else None,
        "satisfaction": _satisfaction(values, attempted),
        "resolutions": resolutions,
        "cost": {"model": model_cost, "platform": total - model_cost, "total": total, "period_seconds": seconds},
        "cost_per_resolution": total / resolutions if resolutions else None,
        "roi": {
            "ratio": config.roi(resolutions, total),
            "inputs": {
                "version": config.version,
                "human_cost_per_conversation": config.human_cost_per_conversation,
                "platform_cost_per_hour": config.platform_cost_per_hour,
                "prompt_cost_per_1k_tokens": config.prompt_cost_per_1k_tokens,
                "completion_cost_per_1k_tokens": config.completion_cost_per_1k_tokens,
            },
        },
        "brier_score": _share(values.value(c.BUSINESS_CALIBRATION_ERROR), calibrated),
        "calibrated_runs": calibrated,
    }


def runs(values: Values) -> dict[str, Any]:
    return {
        "created": values.value(c.RUN_CREATED),
        "open": values.value(c.RUN_OPEN),
        "ended": values.by(c.RUN_ENDED, "status"),
        "stop_reasons": values.by(c.RUN_ENDED, "stop_reason"),
        "seconds": _spread(values, c.RUN_SECONDS),
        "steps": values.mean(c.RUN_STEPS),
        "tokens": values.mean(c.RUN_TOKENS),
    }


def tools(values: Values) -> dict[str, Any]:
    return {
        tool: {
            "calls": calls,
            "errors": values.value(c.TOOL_CALLS, tool=tool, outcome="error"),
            **_spread(values, c.TOOL_SECONDS, tool=tool),
        }
        for tool, calls in values.by(c.TOOL_CALLS, "tool").items()
    }


def guardrails(values: Values, journal: Values) -> dict[str, Any]:
    approvals = journal.by(c.GUARDRAIL_APPROVALS, "decision")
    return {
        "actions": journal.by(c.GUARDRAIL_VERDICTS, "action"),
        "rails": {
            rail: journal.by(c.GUARDRAIL_VERDICTS, "action", rail=rail)
            for rail in journal.by(c.GUARDRAIL_VERDICTS, "rail")
        },
        "seconds": _spread(journal, c.GUARDRAIL_SECONDS),
        "approvals": approvals,
        "approvals_pending": values.value(c.GUARDRAIL_APPROVALS_PENDING),
        "interrupts": values.value(c.GUARDRAIL_INTERRUPTS),
        "interrupts_latched": values.value(c.GUARDRAIL_INTERRUPT_LATCHED),
    }


def _satisfaction(values: Values, attempted: float) -> dict[str, Any]:
    ratings = values.by(c.BUSINESS_RATINGS, "score")
    rated = sum(ratings.values())
    return {
        "csat": _share(ratings.get("4", 0.0) + ratings.get("5", 0.0), rated),
        "mean_score": _share(sum(int(score) * count for score, count in ratings.items()), rated),
        "ratings": rated,
        "response_rate": _share(rated, attempted),
        "resolved_rate": _share(values.by(c.BUSINESS_RESOLVED, "resolved").get("yes"), rated),
    }


def _spread(values: Values, metric: Metric, **labels: str) -> dict[str, float | None]:
    return {"p50": values.quantile(metric, 0.5, **labels), "p95": values.quantile(metric, 0.95, **labels)}


def _quality(values: Values, metric: Metric) -> dict[str, float | None]:
    histogram = values.histogram(metric)
    return {
        "mean": values.mean(metric),
        "p50": values.quantile(metric, 0.5),
        "count": float(histogram.count) if histogram else None,
    }


def _share(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None
