"""Grafana dashboards as data: one per tier; each panel has a title and PromQL queries."""

from __future__ import annotations

from dataclasses import dataclass, field

from observability import catalog as c
from observability.catalog import Metric
from observability.slo import ERRORS, SLOS


@dataclass(frozen=True)
class Query:
    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """A panel. ``kind`` and ``unit`` are Grafana's ids; ``width`` is in 24ths of the page."""

    title: str
    kind: str
    unit: str
    queries: tuple[Query, ...]
    help: str = ""
    width: int = 8


@dataclass(frozen=True)
class Variable:
    """A drop-down filter at the top of a dashboard, filled with the values of a metric's label."""

    name: str
    metric: Metric


@dataclass(frozen=True)
class Board:
    uid: str
    title: str
    panels: tuple[Panel, ...]
    variables: tuple[Variable, ...] = field(default=())


def _sum(metric: Metric, by: str = "", where: str = "") -> str:
    return f"sum{_by(by)} ({metric.name}{_matchers(where)})"


def _rate(metric: Metric, by: str = "", where: str = "", suffix: str = "") -> str:
    return f"sum{_by(by)} (rate({metric.name}{suffix}{_matchers(where)}[$__rate_interval]))"


def _quantile(share: float, metric: Metric, where: str = "", by: str = "") -> str:
    inner = _rate(metric, f"le, {by}" if by else "le", where, "_bucket")
    return f"histogram_quantile({share}, {inner})"


def _mean(metric: Metric, by: str = "", where: str = "") -> str:
    return f"{_rate(metric, by, where, '_sum')} / {_rate(metric, by, where, '_count')}"


def _by(names: str) -> str:
    return f" by ({names})" if names else ""


def _matchers(where: str) -> str:
    return f"{{{where}}}" if where else ""


def _line(title: str, unit: str, *queries: Query, help: str = "", width: int = 8) -> Panel:
    return Panel(title, "timeseries", unit, queries, help, width)


def _stat(title: str, unit: str, expr: str, help: str = "", width: int = 4) -> Panel:
    return Panel(title, "stat", unit, (Query(expr),), help, width)


def _spread(title: str, metric: Metric, where: str = "") -> Panel:
    queries = (Query(_quantile(share, metric, where), f"p{share * 100:.0f}") for share in (0.5, 0.95, 0.99))
    return _line(title, "s", *queries, help=metric.help)


M = 'model=~"$model"'
A = 'agent=~"$agent"'

SYSTEM = Board(
    "flightloop-system",
    "flightloop · system",
    (
        _stat("Processes reporting", "short", _sum(c.SYSTEM_METRICS_PROCESSES)),
        _stat("Oldest report", "s", f"max({c.SYSTEM_METRICS_AGE_SECONDS.name})"),
        _stat("Requests per second", "reqps", _rate(c.SYSTEM_HTTP_REQUESTS)),
        _stat(
            "Server errors",
            "percentunit",
            f'(sum(rate({c.SYSTEM_HTTP_REQUESTS.name}{{status=~"5.."}}[$__rate_interval])) or vector(0))'
            f" / {_rate(c.SYSTEM_HTTP_REQUESTS)}",
        ),
        _stat("Emergency stops latched", "short", f"max({c.GUARDRAIL_INTERRUPT_LATCHED.name})"),
        _stat("Replicas", "short", _sum(c.SYSTEM_REPLICAS)),
        _line("CPU in use", "percentunit", Query(c.SYSTEM_CPU_UTILISATION_RATIO.name, "{{node}}")),
        _line(
            "GPU in use",
            "percentunit",
            Query(c.SYSTEM_GPU_UTILISATION_RATIO.name, "{{node}} {{device}}"),
            help=c.SYSTEM_GPU_UTILISATION_RATIO.help,
        ),
        _line("Memory in use", "percentunit", Query(c.SYSTEM_MEMORY_USED_RATIO.name, "{{node}}")),
        _line("Resident memory", "bytes", Query(_sum(c.SYSTEM_PROCESS_RESIDENT_BYTES, "process"), "{{process}}")),
        _line(
            "GPU memory",
            "percentunit",
            Query(
                f"{c.SYSTEM_GPU_MEMORY_USED_BYTES.name} / {c.SYSTEM_GPU_MEMORY_CAPACITY_BYTES.name}",
                "{{node}} {{device}}",
            ),
        ),
        _line(
            "Memory fragmentation",
            "percentunit",
            Query(c.SYSTEM_MEMORY_FRAGMENTATION_RATIO.name, "{{process}} {{device}}"),
            Query(c.SYSTEM_MEMORY_UNALLOCATED_RATIO.name, "{{process}} {{device}} unallocated"),
            help=c.SYSTEM_MEMORY_FRAGMENTATION_RATIO.help,
        ),
        _line("CPU seconds per second", "short", Query(_rate(c.SYSTEM_PROCESS_CPU_SECONDS, "process"), "{{process}}")),
        _line(
            "Network latency, p95",
            "s",
            Query(_quantile(0.95, c.SYSTEM_NETWORK_SECONDS, by="source, target"), "{{source}} → {{target}}"),
        ),
        _line(
            "Pings unanswered",
            "short",
            Query(_rate(c.SYSTEM_NETWORK_FAILURES, "source, target"), "{{source}} → {{target}}"),
        ),
        _line(
            "Requests by route", "reqps", Query(_rate(c.SYSTEM_HTTP_REQUESTS, "route, status"), "{{route}} {{status}}")
        ),
        _line("HTTP latency, p95", "s", Query(_quantile(0.95, c.SYSTEM_HTTP_SECONDS, by="route"), "{{route}}")),
        _line(
            "Replica utilisation",
            "percentunit",
            Query(c.SYSTEM_REPLICA_UTILISATION_RATIO.name, "{{deployment}}"),
            help=c.SYSTEM_REPLICA_UTILISATION_RATIO.help,
        ),
        _line(
            "Snapshots by result",
            "short",
            Query(_rate(c.SYSTEM_METRICS_SNAPSHOTS, "result"), "{{result}}"),
        ),
        _line("Series", "short", Query(_sum(c.SYSTEM_METRICS_SERIES), "series")),
        _line(
            "Webhooks by outcome",
            "short",
            Query(_rate(c.SYSTEM_WEBHOOKS, "endpoint, outcome"), "{{endpoint}} {{outcome}}"),
            help=c.SYSTEM_WEBHOOKS.help,
        ),
        _line(
            "Error budgets burnt (1 h)",
            "percentunit",
            *(Query(f'{ERRORS}1h{{slo="{slo.name}"}}', slo.name) for slo in SLOS),
            help="Share of bad events in the last hour, by service level.",
        ),
    ),
)

MODEL = Board(
    "flightloop-model",
    "flightloop · model",
    (
        _stat("Output tokens per second", "short", _rate(c.MODEL_TOKENS, where=f'{M}, kind="completion"')),
        _stat("Running", "short", _sum(c.MODEL_RUNNING, where=M)),
        _stat("Waiting", "short", _sum(c.MODEL_WAITING, where=M)),
        _stat("Slots in use", "percentunit", f"avg({c.MODEL_SLOT_UTILISATION_RATIO.name}{{{M}}})"),
        _stat("KV cache in use", "percentunit", f"avg({c.MODEL_KV_USED_RATIO.name}{{{M}}})"),
        _stat("Confidence", "percentunit", _mean(c.MODEL_CONFIDENCE, where=M)),
        _line("Tokens per second", "short", Query(_rate(c.MODEL_TOKENS, "kind", M), "{{kind}}")),
        _line("Completions", "reqps", Query(_rate(c.MODEL_REQUESTS, "outcome", M), "{{outcome}}")),
        _line("Stopped by an interrupt", "reqps", Query(_rate(c.MODEL_INTERRUPTED, "model", M), "{{model}}")),
        _spread("Time to first token", c.MODEL_TTFT_SECONDS, M),
        _spread("Time per output token", c.MODEL_TPOT_SECONDS, M),
        _spread("Time in queue", c.MODEL_QUEUE_SECONDS, M),
        _spread("Request duration", c.MODEL_REQUEST_SECONDS, M),
        _line(
            "KV cache",
            "percentunit",
            Query(f"avg({c.MODEL_KV_USED_RATIO.name}{{{M}}})", "in use"),
            Query(f"avg({c.MODEL_KV_FRAGMENTATION_RATIO.name}{{{M}}})", "internal fragmentation"),
            help=c.MODEL_KV_FRAGMENTATION_RATIO.help,
        ),
        _line(
            "Prefix cache hits",
            "percentunit",
            Query(
                _rate(c.MODEL_TOKENS, where=f'{M}, kind="cached"')
                + " / "
                + _rate(c.MODEL_TOKENS, where=f'{M}, kind="prompt"'),
                "share of prompt tokens",
            ),
        ),
        _line(
            "Guessed tokens",
            "short",
            Query(_rate(c.MODEL_DRAFT_TOKENS, "kind", M), "{{kind}}"),
            help=c.MODEL_DRAFT_TOKENS.help,
        ),
        Panel(
            "Expert load",
            "bargauge",
            "percentunit",
            (
                Query(
                    f"{_rate(c.MODEL_EXPERT_TOKENS, 'expert', M)} / scalar({_rate(c.MODEL_EXPERT_TOKENS, where=M)})",
                    "{{expert}}",
                ),
            ),
            "Share of the routed tokens by expert.",
            12,
        ),
        _line(
            "Confidence and entropy",
            "short",
            Query(_mean(c.MODEL_CONFIDENCE, where=M), "confidence"),
            Query(_mean(c.MODEL_ENTROPY, where=M), "entropy (nats)"),
            help=c.MODEL_CONFIDENCE.help,
            width=12,
        ),
        _line("Groundedness", "percentunit", Query(_mean(c.MODEL_GROUNDEDNESS, "agent"), "{{agent}}")),
        _line("Toxicity, p95", "percentunit", Query(_quantile(0.95, c.MODEL_TOXICITY, by="agent"), "{{agent}}")),
        _line("Answers over the toxicity threshold", "short", Query(_rate(c.MODEL_TOXIC, "agent"), "{{agent}}")),
    ),
    (Variable("model", c.MODEL_TOKENS),),
)

_RUNS = _sum(c.BUSINESS_RUNS, where=A)
_VERIFIED = _sum(c.BUSINESS_RUNS, where=f'{A}, outcome="verified"')
_CONTENT = _sum(c.BUSINESS_RATINGS, where=f'{A}, score=~"4|5"')
_RATED = _sum(c.BUSINESS_RATINGS, where=A)
BUSINESS = Board(
    "flightloop-business",
    "flightloop · business",
    (
        _stat(
            "Completion rate",
            "percentunit",
            f"{_VERIFIED} / {_RUNS}",
            "Runs with a verified successful end state over runs attempted.",
        ),
        _stat(
            "Satisfaction",
            "percentunit",
            f"{_CONTENT} / {_RATED}",
            "Ratings of 4 and 5 over all ratings; read it with the response rate.",
        ),
        _stat("Response rate", "percentunit", f"{_RATED} / {_RUNS}", "Rated runs over ended runs."),
        _stat("Resolutions", "short", _sum(c.BUSINESS_RESOLUTIONS, where=A), c.BUSINESS_RESOLUTIONS.help),
        _stat(
            "Cost per resolution",
            "currencyEUR",
            f"max({c.BUSINESS_COST_PER_RESOLUTION_EUROS.name})",
            c.BUSINESS_COST_PER_RESOLUTION_EUROS.help,
        ),
        _stat("ROI", "percentunit", f"max({c.BUSINESS_ROI_RATIO.name})", c.BUSINESS_ROI_RATIO.help),
        _line("Runs by outcome", "short", Query(_sum(c.BUSINESS_RUNS, "outcome", A), "{{outcome}}")),
        _line("Ratings", "short", Query(_sum(c.BUSINESS_RATINGS, "score", A), "{{score}}")),
        _line("Resolved by the user's word", "short", Query(_sum(c.BUSINESS_RESOLVED, "resolved", A), "{{resolved}}")),
        _line(
            "Model cost per hour",
            "currencyEUR",
            Query(f"3600 * {_rate(c.BUSINESS_COST_EUROS, 'agent', A)}", "{{agent}}"),
        ),
        _line(
            "ROI over time",
            "percentunit",
            Query(c.BUSINESS_ROI_RATIO.name, "inputs {{inputs}}"),
            help=c.BUSINESS_ROI_RATIO.help,
        ),
        _line(
            "Calibration (Brier score)",
            "short",
            Query(f"{_sum(c.BUSINESS_CALIBRATION_ERROR)} / {_sum(c.BUSINESS_CALIBRATED_RUNS)}", "Brier score"),
            help="Mean (confidence - solved)^2 over verified runs: 0 is perfect, 0.25 is a coin.",
        ),
        _stat("Days observed", "d", f"max({c.BUSINESS_PERIOD_SECONDS.name}) / 86400", c.BUSINESS_PERIOD_SECONDS.help),
        _stat("Runs open", "short", _sum(c.RUN_OPEN, where=A)),
        _stat("Runs created per minute", "short", f"60 * {_rate(c.RUN_CREATED, where=A)}"),
        _stat("Steps a run", "short", _mean(c.RUN_STEPS, where=A)),
        _stat("Tokens a run", "short", _mean(c.RUN_TOKENS, where=A)),
        _stat("Decisions' confidence", "percentunit", _mean(c.RUN_CONFIDENCE, where=A)),
        _line("Runs ended", "short", Query(_rate(c.RUN_ENDED, "status, stop_reason", A), "{{status}} {{stop_reason}}")),
        _spread("Run duration", c.RUN_SECONDS, A),
        _line("Decisions", "short", Query(_rate(c.RUN_DECISIONS, "kind", A), "{{kind}}")),
        _line(
            "Compactions",
            "short",
            Query(_rate(c.RUN_COMPACTIONS, "agent", A), "{{agent}}"),
            help=c.RUN_COMPACTIONS.help,
        ),
        _line("Tool calls", "short", Query(_rate(c.TOOL_CALLS, "tool, outcome"), "{{tool}} {{outcome}}")),
        _line("Tool duration, p95", "s", Query(_quantile(0.95, c.TOOL_SECONDS, by="tool"), "{{tool}}")),
        _line("Tainted results", "short", Query(_rate(c.TOOL_TAINTED, "tool"), "{{tool}}")),
        _line("Retries", "short", Query(_rate(c.TOOL_RETRIES, "tool"), "{{tool}}")),
        _line("Verdicts", "short", Query(_rate(c.GUARDRAIL_VERDICTS, "stage, action"), "{{stage}} {{action}}")),
        _line("Rail duration, p95", "s", Query(_quantile(0.95, c.GUARDRAIL_SECONDS, by="rail"), "{{rail}}")),
        _line(
            "Approvals",
            "short",
            Query(_sum(c.GUARDRAIL_APPROVALS, "decision"), "{{decision}}"),
            Query(_sum(c.GUARDRAIL_APPROVALS_PENDING), "pending"),
        ),
        _line("Emergency stops raised", "short", Query(_sum(c.GUARDRAIL_INTERRUPTS, "scope"), "{{scope}}")),
    ),
    (Variable("agent", c.RUN_CREATED),),
)

BOARDS = (SYSTEM, MODEL, BUSINESS)
