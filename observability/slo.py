"""Service levels as data, and the Prometheus rules generated from them.

Alerts on the error budget's burn rate over two windows, after the Google SRE workbook: both windows
must be above the threshold, and the short one ends the alert soon after its cause. A minimum number of
events avoids paging for a single failure in a quiet night.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from observability import catalog as c
from observability.limits import OTHER

ERRORS = "flightloop:slo_errors:ratio_rate"
EVENTS = "flightloop:slo_events:increase"
HEADER = "# Written by `python -m observability` from observability/slo.py: change it there.\n"


@dataclass(frozen=True)
class Slo:
    """A service level."""

    name: str
    help: str
    """Definition of a good event."""
    objective: float
    """Share of good events over 30 days."""
    good: str
    """PromQL rate of good events, with ``{window}`` for the range."""
    all: str
    """PromQL rate of all events, with ``{window}`` too."""
    minimum: float = 10
    """Events in the long window below which no alert fires."""

    def __post_init__(self) -> None:
        if not 0 < self.objective < 1:
            raise ValueError(f"{self.name}: objective must be between 0 and 1, not {self.objective}")

    def burns(self) -> list[Burn]:
        """Alerts that can fire: under a loose objective, the budget cannot burn at the high rates."""
        return [burn for burn in BURNS if burn.factor * (1 - self.objective) < 1]


@dataclass(frozen=True)
class Burn:
    """A burn-rate alert over two windows."""

    factor: float
    """How many times faster than allowed the budget burns."""
    long: str  # window of the alert
    short: str  # second window, which ends the alert soon
    severity: str
    """Decides who is alerted, and how."""


BURNS = (
    Burn(14.4, "1h", "5m", "page"),
    Burn(6, "6h", "30m", "page"),
    Burn(3, "1d", "2h", "ticket"),
    Burn(1, "3d", "6h", "ticket"),
)
WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")


@dataclass(frozen=True)
class Alert:
    """An alert on a state instead of a budget. ``lasting``: how long the state must last."""

    name: str
    expr: str
    lasting: str
    severity: str
    summary: str


def _rate(metric: c.Metric, matchers: str = "", suffix: str = "") -> str:
    return f"sum(rate({metric.name}{suffix}{{{{{matchers}}}}}[{{window}}]))"


def _within(metric: c.Metric, seconds: float) -> str:
    if seconds not in metric.buckets:
        raise ValueError(f"{metric.name} has no bucket at {seconds}")
    return _rate(metric, f'le="{float(seconds)!r}"', "_bucket")


def _overflowed() -> list[str]:
    names = sorted({label.name for metric in c.CATALOG for label in metric.labels if not label.values})
    return [f'{{__name__=~"flightloop_.+", {name}="{OTHER}"}}' for name in names]


SLOS = (
    Slo(
        "api_availability",
        "HTTP requests that the platform did not fail (no 5xx).",
        0.995,
        _rate(c.SYSTEM_HTTP_REQUESTS, 'status!~"5.."'),
        _rate(c.SYSTEM_HTTP_REQUESTS),
    ),
    Slo(
        "first_token",
        "Completions whose first token came within 2.5 s.",
        0.95,
        _within(c.MODEL_TTFT_SECONDS, 2.5),
        _rate(c.MODEL_TTFT_SECONDS, suffix="_count"),
    ),
    Slo(
        "run_completion",
        "Runs that did not fail; those stopped by a guardrail, a person or a budget count as good.",
        0.95,
        _rate(c.RUN_ENDED, 'stop_reason!="error"'),
        _rate(c.RUN_ENDED),
    ),
    Slo(
        "tool_success",
        "Tool calls that succeeded.",
        0.90,
        _rate(c.TOOL_CALLS, 'outcome="ok"'),
        _rate(c.TOOL_CALLS),
    ),
    Slo(
        "guardrail_latency",
        "Rails that decided within 250 ms.",
        0.99,
        _within(c.GUARDRAIL_SECONDS, 0.25),
        _rate(c.GUARDRAIL_SECONDS, suffix="_count"),
        minimum=50,
    ),
)

ALERTS = (
    Alert(
        "FlightloopDown",
        'up{job="flightloop"} == 0',
        "1m",
        "page",
        "The platform's metrics can't be scraped.",
    ),
    Alert(
        "FlightloopNobodyReports",
        f"{c.SYSTEM_METRICS_PROCESSES.name} < 1",
        "2m",
        "page",
        "No process reports to the aggregator.",
    ),
    Alert(
        "FlightloopInterruptLatched",
        f"{c.GUARDRAIL_INTERRUPT_LATCHED.name} > 0",
        "0m",
        "page",
        "An emergency stop is latched: runs and completions are refused until it is cleared.",
    ),
    Alert(
        "FlightloopKvCacheFull",
        f"max by (model) ({c.MODEL_KV_USED_RATIO.name}) > 0.95",
        "10m",
        "ticket",
        "The KV cache of {{ $labels.model }} is nearly full: requests wait or are preempted.",
    ),
    Alert(
        "FlightloopApprovalsWait",
        f"min_over_time({c.GUARDRAIL_APPROVALS_PENDING.name}[30m]) > 0",
        "0m",
        "ticket",
        "Approvals have waited for a person for half an hour.",
    ),
    Alert(
        "FlightloopToxicAnswers",
        f"sum(increase({c.MODEL_TOXIC.name}[1h])) > 3",
        "0m",
        "ticket",
        "Several answers in the last hour exceeded the toxicity threshold.",
    ),
    Alert(
        "FlightloopSeriesOverflow",
        f'count by (metric) (label_replace({" or ".join(_overflowed())}, "metric", "$1", "__name__", "(.+)")) > 0',
        "15m",
        "ticket",
        "{{ $labels.metric }} has more label values than its limit; the rest is counted as 'other'.",
    ),
)


def rules() -> dict[str, Any]:
    """Recording rules and alerts in Prometheus' format."""
    return {
        "groups": [
            {"name": "flightloop-slo-records", "interval": "30s", "rules": [r for slo in SLOS for r in _records(slo)]},
            {
                "name": "flightloop-slo-alerts",
                "rules": [_burn_alert(slo, burn) for slo in SLOS for burn in slo.burns()],
            },
            {"name": "flightloop-alerts", "rules": [_alert(alert) for alert in ALERTS]},
        ]
    }


def rules_yaml() -> str:
    return HEADER + yaml.safe_dump(rules(), sort_keys=False, width=1000, allow_unicode=True)


def _records(slo: Slo) -> list[dict[str, Any]]:
    made = []
    for window in WINDOWS:
        good, total = slo.good.format(window=window), slo.all.format(window=window)
        made.append(_record(f"{ERRORS}{window}", f"1 - {good} / ({total} > 0)", slo))
    for window in sorted({burn.long for burn in BURNS}, key=WINDOWS.index):
        counted = slo.all.replace("rate(", "increase(", 1).format(window=window)
        made.append(_record(f"{EVENTS}{window}", counted, slo))
    return made


def _record(name: str, expr: str, slo: Slo) -> dict[str, Any]:
    return {"record": name, "expr": expr, "labels": {"slo": slo.name}}


def _burn_alert(slo: Slo, burn: Burn) -> dict[str, Any]:
    threshold = round(burn.factor * (1 - slo.objective), 6)
    matcher = f'{{slo="{slo.name}"}}'
    conditions = (
        f"{ERRORS}{burn.long}{matcher} > {threshold}",
        f"{ERRORS}{burn.short}{matcher} > {threshold}",
        f"{EVENTS}{burn.long}{matcher} >= {slo.minimum:g}",
    )
    return {
        "alert": "FlightloopErrorBudgetBurn",
        "expr": " and ".join(conditions),
        "labels": {"severity": burn.severity, "slo": slo.name, "window": burn.long},
        "annotations": {
            "summary": f"{slo.name}: the error budget burns {burn.factor:g} times too fast.",
            "description": f"{slo.help} Objective {slo.objective:.1%}; bad now: {{{{ $value | humanizePercentage }}}}.",
        },
    }


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": alert.expr,
        "for": alert.lasting,
        "labels": {"severity": alert.severity},
        "annotations": {"summary": alert.summary},
    }
