"""Sample metrics of all tiers, as a healthy platform on one node reports them."""

from __future__ import annotations

import math
import time
from typing import Any

_MODEL = {"model": "smollm2-135m-moe"}


class Figures:
    """Returns the tiers of ``flightloop.overview.Overview``; token counters grow, and loads vary over time."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __call__(self) -> dict[str, Any]:
        passed = time.monotonic() - self._began
        tiers = {"system": _system(), "model": _model(), "business": _business(), "guardrail": _guardrail()}
        for item in (*tiers["system"], *tiers["model"]):
            name: str = item["name"]
            if name.endswith("tokens_total"):
                item["value"] += round(38 * passed + 12 * math.sin(passed))
            elif "util" in name and item["value"]:
                item["value"] += 0.1 * math.sin(passed / 4 + len(name))
        return tiers


def _figure(name: str, value: float | None, labels: dict[str, str] | None = None, **more: float) -> dict[str, Any]:
    return {"name": f"flightloop_{name}", "value": value, "labels": labels or {}, **more}


def _system() -> list[dict[str, Any]]:
    node = {"node": "node-1"}
    return [
        _figure("system_cpu_utilisation_ratio", 0.46, node),
        _figure("system_memory_used_ratio", 0.38, node),
        _figure("system_gpu_utilisation_ratio", None),
        _figure("system_memory_fragmentation_ratio", 0.07, {"process": "replica", "device": "cpu"}),
        _figure("system_process_resident_bytes", 1.42e9, {"process": "replica"}),
        _figure("system_process_resident_bytes", 3.1e8, {"process": "api"}),
        _figure("system_network_seconds", 0.0004, {"source": "node-1", "target": "node-1"}, p50=0.0004, p95=0.0009),
        _figure("system_http_requests_total", 4182, {"route": "/v1/runs", "method": "POST", "status": "201"}),
        _figure("system_http_requests_total", 9, {"route": "/v1/runs", "method": "POST", "status": "503"}),
        _figure("system_http_seconds", 0.021, {"route": "/v1/runs"}, p50=0.014, p95=0.072, count=4191),
        _figure("system_replicas", 2, {"deployment": "Model"}),
        _figure("system_replica_utilisation_ratio", 0.68, {"deployment": "Model"}),
        _figure("system_metrics_age_seconds", 1.2),
    ]


def _model() -> list[dict[str, Any]]:
    experts = [8120, 7904, 8533, 6120, 9010, 7711, 8250, 8402]
    return [
        _figure("model_tokens_total", 1_284_530, {**_MODEL, "kind": "prompt"}),
        _figure("model_tokens_total", 211_904, {**_MODEL, "kind": "completion"}),
        _figure("model_tokens_total", 702_118, {**_MODEL, "kind": "cached"}),
        _figure("model_ttft_seconds", 0.42, _MODEL, p50=0.36, p95=1.1, count=3120),
        _figure("model_tpot_seconds", 0.031, _MODEL, p50=0.029, p95=0.052, count=3120),
        _figure("model_queue_seconds", 0.06, _MODEL, p50=0.01, p95=0.31, count=3120),
        _figure("model_running", 5, _MODEL),
        _figure("model_waiting", 1, _MODEL),
        _figure("model_kv_used_ratio", 0.57, _MODEL),
        _figure("model_kv_fragmentation_ratio", 0.11, _MODEL),
        _figure("model_slot_utilisation_ratio", 0.63, _MODEL),
        _figure("model_confidence", 0.83, _MODEL, p50=0.86, p95=0.97, count=3120),
        _figure("model_entropy", 0.48, _MODEL, p50=0.4, p95=1.3, count=3120),
        _figure("model_groundedness", 0.94, {"agent": "support"}, p50=1.0, p95=1.0, count=611),
        _figure("model_toxicity", 0.01, {"agent": "support"}, p50=0.0, p95=0.03, count=611),
        _figure("model_toxic_total", 0, {"agent": "support"}),
        *(_figure("model_expert_tokens_total", n, {**_MODEL, "expert": str(i)}) for i, n in enumerate(experts)),
    ]


def _business() -> list[dict[str, Any]]:
    outcomes = {"verified": 288, "assumed": 190, "failed": 61, "escalated": 44, "blocked": 22, "stopped": 6}
    scores = {"1": 9, "2": 11, "3": 24, "4": 71, "5": 118}
    support = {"agent": "support"}
    return [
        *(_figure("business_runs", n, {**support, "outcome": name}) for name, n in outcomes.items()),
        *(_figure("business_ratings", n, {**support, "score": score}) for score, n in scores.items()),
        _figure("business_resolutions", 402, support),
        _figure("business_cost_euros_total", 3.82, support),
        _figure("business_cost_per_resolution_euros", 0.061),
        _figure("business_roi_ratio", 62.4, {"inputs": "v1"}),
    ]


def _guardrail() -> list[dict[str, Any]]:
    return [
        _figure("guardrail_verdicts_total", 18_204, {"stage": "input", "rail": "secrets", "action": "allow"}),
        _figure("guardrail_verdicts_total", 214, {"stage": "final", "rail": "pii", "action": "redact"}),
        _figure("guardrail_verdicts_total", 96, {"stage": "tool_call", "rail": "ask", "action": "ask"}),
        _figure("guardrail_verdicts_total", 41, {"stage": "input", "rail": "injection", "action": "block"}),
        _figure("guardrail_seconds", 0.002, {"rail": "injection"}, p50=0.0015, p95=0.006, count=18_555),
        _figure("run_seconds", 7.9, {"agent": "support"}, p50=6.8, p95=19.2, count=611),
        _figure("tool_calls_total", 1310, {"tool": "order_details", "outcome": "ok"}),
        _figure("tool_calls_total", 27, {"tool": "order_details", "outcome": "error"}),
    ]
