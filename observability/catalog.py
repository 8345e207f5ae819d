"""Catalogue of all metrics: name, tier, help, labels, buckets. Other modules import its constants.

Names follow Prometheus: one prefix, base units, ``_total`` on counters. A label has a bounded set of
values. Ids of runs, users or sessions are never labels (exemplars lead to traces).

Duration buckets: OpenTelemetry's GenAI conventions, extended for small models on slower CPUs.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from flightloop.runs import RunStatus, StopReason
from flightloop.verdicts import Action, Stage


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Tier(StrEnum):
    SYSTEM = "system"
    MODEL = "model"
    BUSINESS = "business"
    GUARDRAIL = "guardrail"
    RUN = "run"
    TOOL = "tool"


class Merge(StrEnum):
    """How values of a gauge from several processes are combined."""

    SUM = "sum"
    MEAN = "mean"
    MAX = "max"


@dataclass(frozen=True)
class Label:
    """A label: its ``values`` if they are known in advance, otherwise at most ``limit`` values.

    Values beyond the limit are recorded as ``other``. ``default`` replaces a missing label.
    """

    name: str
    values: tuple[str, ...] = ()
    limit: int = 20
    default: str | None = None


@dataclass(frozen=True)
class Metric:
    """A metric. ``buckets`` are a histogram's upper bounds in its unit, without infinity."""

    name: str
    kind: Kind
    tier: Tier
    help: str
    labels: tuple[Label, ...] = ()
    buckets: tuple[float, ...] = ()
    merge: Merge = Merge.SUM

    @cached_property
    def label_names(self) -> tuple[str, ...]:
        return tuple(label.name for label in self.labels)


TTFT_BUCKETS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60)
TPOT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5)
DURATION_BUCKETS = (*(round(0.01 * 2**n, 2) for n in range(14)), 300.0, 900.0)
SHORT_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
RATIO_BUCKETS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1)
ENTROPY_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 12)
STEP_BUCKETS = (1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 100)
TOKEN_BUCKETS = (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072)

NODE = Label("node", limit=32)
DEVICE = Label("device", limit=16)
PROCESS = Label("process")
MODEL = Label("model")
ANY_MODEL = Label("model", default="unknown")
AGENT = Label("agent", limit=32)
RAIL = Label("rail", limit=40)
STAGE = Label("stage", tuple(Stage))
OUTCOMES = ("verified", "assumed", "failed", "escalated", "blocked", "stopped")


def _counter(tier: Tier, name: str, help: str, *labels: Label) -> Metric:
    return Metric(f"flightloop_{tier}_{name}_total", Kind.COUNTER, tier, help, labels)


def _gauge(tier: Tier, name: str, help: str, *labels: Label, merge: Merge = Merge.SUM) -> Metric:
    return Metric(f"flightloop_{tier}_{name}", Kind.GAUGE, tier, help, labels, merge=merge)


def _histogram(tier: Tier, name: str, help: str, buckets: tuple[float, ...], *labels: Label) -> Metric:
    return Metric(f"flightloop_{tier}_{name}", Kind.HISTOGRAM, tier, help, labels, buckets)


# System: the machines, the processes, the network and the HTTP front.
SYSTEM_CPU_UTILISATION_RATIO = _gauge(
    Tier.SYSTEM, "cpu_utilisation_ratio", "Share of the node's CPU time in use.", NODE, merge=Merge.MEAN
)
SYSTEM_MEMORY_USED_RATIO = _gauge(
    Tier.SYSTEM, "memory_used_ratio", "Share of the node's memory in use.", NODE, merge=Merge.MEAN
)
SYSTEM_GPU_UTILISATION_RATIO = _gauge(
    Tier.SYSTEM,
    "gpu_utilisation_ratio",
    "Share of time in which a kernel ran on the GPU (NVML); saturates, read it beside tokens per second.",
    NODE,
    DEVICE,
    merge=Merge.MEAN,
)
SYSTEM_GPU_MEMORY_USED_BYTES = _gauge(
    Tier.SYSTEM, "gpu_memory_used_bytes", "GPU memory in use (NVML).", NODE, DEVICE, merge=Merge.MAX
)
SYSTEM_GPU_MEMORY_CAPACITY_BYTES = _gauge(
    Tier.SYSTEM, "gpu_memory_capacity_bytes", "GPU memory installed (NVML).", NODE, DEVICE, merge=Merge.MAX
)
SYSTEM_PROCESS_RESIDENT_BYTES = _gauge(
    Tier.SYSTEM, "process_resident_bytes", "Resident memory, summed over the processes of a role.", PROCESS
)
SYSTEM_PROCESS_CPU_SECONDS = _counter(
    Tier.SYSTEM, "process_cpu_seconds", "CPU time used, summed over the processes of a role.", PROCESS
)
SYSTEM_MEMORY_FRAGMENTATION_RATIO = _gauge(
    Tier.SYSTEM,
    "memory_fragmentation_ratio",
    "Allocator memory that is free but held: glibc fordblks/arena (cpu), inactive split/reserved (GPU).",
    PROCESS,
    DEVICE,
    merge=Merge.MEAN,
)
SYSTEM_MEMORY_UNALLOCATED_RATIO = _gauge(
    Tier.SYSTEM,
    "memory_unallocated_ratio",
    "GPU memory that torch reserved and does not use: 1 - allocated/reserved.",
    PROCESS,
    DEVICE,
    merge=Merge.MEAN,
)
SYSTEM_NETWORK_SECONDS = _histogram(
    Tier.SYSTEM,
    "network_seconds",
    "Round trip between two nodes.",
    SHORT_BUCKETS,
    Label("source", limit=16),
    Label("target", limit=16),
)
SYSTEM_NETWORK_FAILURES = _counter(
    Tier.SYSTEM,
    "network_failures",
    "Pings between two nodes that got no answer.",
    Label("source", limit=16),
    Label("target", limit=16),
)
SYSTEM_HTTP_REQUESTS = _counter(
    Tier.SYSTEM,
    "http_requests",
    "HTTP requests answered, by route template.",
    Label("route", limit=48),
    Label("method", limit=8),
    Label("status"),
)
SYSTEM_HTTP_SECONDS = _histogram(
    Tier.SYSTEM,
    "http_seconds",
    "Time until the answer to an HTTP request begins (a stream may go on for long), by route template.",
    DURATION_BUCKETS,
    Label("route", limit=48),
)
SYSTEM_WEBHOOKS = _counter(
    Tier.SYSTEM,
    "webhooks",
    "Tries to deliver a webhook, and events that were given up after the last of them.",
    Label("endpoint", limit=16),
    Label("outcome", ("delivered", "failed", "given_up")),
)
SYSTEM_REPLICAS = _gauge(
    Tier.SYSTEM, "replicas", "Replicas that run, by deployment.", Label("deployment"), merge=Merge.MAX
)
SYSTEM_REPLICA_UTILISATION_RATIO = _gauge(
    Tier.SYSTEM,
    "replica_utilisation_ratio",
    "Utilisation that autoscaling steers by: busy slots and queue over all slots.",
    Label("deployment"),
    merge=Merge.MEAN,
)
SYSTEM_METRICS_SNAPSHOTS = _counter(
    Tier.SYSTEM,
    "metrics_snapshots",
    "Snapshots the aggregator received.",
    Label("result", ("accepted", "stale", "rejected")),
)
SYSTEM_METRICS_PROCESSES = _gauge(Tier.SYSTEM, "metrics_processes", "Processes that report to the aggregator now.")
SYSTEM_METRICS_SERIES = _gauge(Tier.SYSTEM, "metrics_series", "Series the aggregator holds.")
SYSTEM_METRICS_AGE_SECONDS = _gauge(
    Tier.SYSTEM, "metrics_age_seconds", "Age of the oldest living process's last snapshot.", merge=Merge.MAX
)

# Model: what the engine serves, how fast, and how good it is.
MODEL_TOKENS = _counter(
    Tier.MODEL,
    "tokens",
    "Tokens; cached ones are prompt tokens found in the prefix cache.",
    MODEL,
    Label("kind", ("prompt", "completion", "cached")),
)
MODEL_DRAFT_TOKENS = _counter(
    Tier.MODEL,
    "draft_tokens",
    "Draft tokens that a decoding step verified, by whether they were accepted.",
    MODEL,
    Label("kind", ("drafted", "accepted")),
)
MODEL_REQUESTS = _counter(
    Tier.MODEL,
    "requests",
    "Completions ended, by outcome: a finish reason, interrupted, cancelled, rejected or error.",
    MODEL,
    Label("outcome"),
)
MODEL_TTFT_SECONDS = _histogram(Tier.MODEL, "ttft_seconds", "Time to the first token.", TTFT_BUCKETS, MODEL)
MODEL_TPOT_SECONDS = _histogram(
    Tier.MODEL, "tpot_seconds", "Time per output token after the first.", TPOT_BUCKETS, MODEL
)
MODEL_QUEUE_SECONDS = _histogram(
    Tier.MODEL, "queue_seconds", "Time a request waited for a slot.", DURATION_BUCKETS, MODEL
)
MODEL_REQUEST_SECONDS = _histogram(
    Tier.MODEL, "request_seconds", "Time from a request's arrival to its last token.", DURATION_BUCKETS, MODEL
)
MODEL_RUNNING = _gauge(Tier.MODEL, "running", "Requests being decoded.", MODEL)
MODEL_WAITING = _gauge(Tier.MODEL, "waiting", "Requests waiting for a slot.", MODEL)
MODEL_KV_USED_RATIO = _gauge(Tier.MODEL, "kv_used_ratio", "Share of the KV blocks in use.", MODEL, merge=Merge.MEAN)
MODEL_KV_FRAGMENTATION_RATIO = _gauge(
    Tier.MODEL,
    "kv_fragmentation_ratio",
    "Internal fragmentation of the KV cache: 1 - tokens / (blocks in use * block size).",
    MODEL,
    merge=Merge.MEAN,
)
MODEL_SLOT_UTILISATION_RATIO = _gauge(
    Tier.MODEL, "slot_utilisation_ratio", "Share of the batch slots in use.", MODEL, merge=Merge.MEAN
)
MODEL_EXPERT_TOKENS = _counter(
    Tier.MODEL,
    "expert_tokens",
    "Tokens routed to an expert, summed over the layers.",
    MODEL,
    Label("expert", limit=64),
)
MODEL_CONFIDENCE = _histogram(
    Tier.MODEL,
    "confidence",
    "Confidence of a completion: exp(mean token log-probability) before the grammar's mask.",
    RATIO_BUCKETS,
    ANY_MODEL,
)
MODEL_ENTROPY = _histogram(
    Tier.MODEL, "entropy", "Mean entropy of a completion's token distributions, in nats.", ENTROPY_BUCKETS, ANY_MODEL
)
MODEL_INTERRUPTED = _counter(Tier.MODEL, "interrupted", "Completions that the emergency stop ended.", MODEL)
MODEL_GROUNDEDNESS = _histogram(
    Tier.MODEL,
    "groundedness",
    "Share of an answer's claims that the run's tool results support.",
    RATIO_BUCKETS,
    AGENT,
)
MODEL_TOXICITY = _histogram(
    Tier.MODEL, "toxicity", "Highest category probability of the content rail for an answer.", RATIO_BUCKETS, AGENT
)
MODEL_TOXIC = _counter(Tier.MODEL, "toxic", "Answers whose toxicity was over the threshold.", AGENT)

# Guardrails.
GUARDRAIL_VERDICTS = _counter(
    Tier.GUARDRAIL, "verdicts", "Verdicts of the rails.", STAGE, RAIL, Label("action", tuple(Action))
)
GUARDRAIL_SECONDS = _histogram(Tier.GUARDRAIL, "seconds", "Time a rail took.", SHORT_BUCKETS, RAIL)
GUARDRAIL_APPROVALS = _counter(
    Tier.GUARDRAIL,
    "approvals",
    "Approvals requested, and how they were decided.",
    Label("decision", ("requested", "approve", "deny", "expire")),
)
GUARDRAIL_APPROVALS_PENDING = _gauge(
    Tier.GUARDRAIL, "approvals_pending", "Approvals that wait for a person.", merge=Merge.MAX
)
GUARDRAIL_INTERRUPTS = _counter(
    Tier.GUARDRAIL,
    "interrupts",
    "Emergency stops raised, by scope.",
    Label("scope", ("all", "tenant", "agent", "session", "subject", "run")),
)
GUARDRAIL_INTERRUPT_LATCHED = _gauge(
    Tier.GUARDRAIL, "interrupt_latched", "Emergency stops that are latched now.", merge=Merge.MAX
)

# Runs.
RUN_CREATED = _counter(Tier.RUN, "created", "Runs created.", AGENT)
RUN_ENDED = _counter(
    Tier.RUN,
    "ended",
    "Runs ended; a resumed run ends again.",
    AGENT,
    Label("status", tuple(status for status in RunStatus if status.terminal)),
    Label("stop_reason", tuple(StopReason)),
)
RUN_OPEN = _gauge(Tier.RUN, "open", "Runs that have not ended.", AGENT)
RUN_SECONDS = _histogram(
    Tier.RUN, "seconds", "Time from a run's creation (or resumption) to its end.", DURATION_BUCKETS, AGENT
)
RUN_STEPS = _histogram(Tier.RUN, "steps", "Decisions a run took.", STEP_BUCKETS, AGENT)
RUN_TOKENS = _histogram(Tier.RUN, "tokens", "Prompt and completion tokens a run used.", TOKEN_BUCKETS, AGENT)
RUN_DECISIONS = _counter(
    Tier.RUN, "decisions", "Decisions of the model.", AGENT, Label("kind", ("plan", "calls", "reply"))
)
RUN_COMPACTIONS = _counter(
    Tier.RUN, "compactions", "Times that a summary replaced history that no longer fitted the model's context.", AGENT
)
RUN_CONFIDENCE = _histogram(Tier.RUN, "confidence", "Confidence of a run's decisions.", RATIO_BUCKETS, AGENT)

# Tools.
TOOL_CALLS = _counter(
    Tier.TOOL, "calls", "Tool calls ended.", Label("tool", limit=40), Label("outcome", ("ok", "error"))
)
TOOL_SECONDS = _histogram(Tier.TOOL, "seconds", "Time a tool took.", DURATION_BUCKETS, Label("tool", limit=40))
TOOL_TAINTED = _counter(
    Tier.TOOL, "tainted", "Tool results in which a rail found instructions.", Label("tool", limit=40)
)
TOOL_RETRIES = _counter(
    Tier.TOOL, "retries", "Retries of failed calls whose tools allow them.", Label("tool", limit=40)
)

# Business. Figures that may be revised later (verifications, ratings) are gauges of the current state.
BUSINESS_RUNS = _gauge(Tier.BUSINESS, "runs", "Ended runs by their present outcome.", AGENT, Label("outcome", OUTCOMES))
BUSINESS_RATINGS = _gauge(
    Tier.BUSINESS, "ratings", "Rated runs by their score.", AGENT, Label("score", ("1", "2", "3", "4", "5"))
)
BUSINESS_RESOLVED = _gauge(
    Tier.BUSINESS,
    "resolved",
    "Rated runs by whether the user calls them resolved.",
    AGENT,
    Label("resolved", ("yes", "no")),
)
BUSINESS_RESOLUTIONS = _gauge(
    Tier.BUSINESS, "resolutions", "Accepted resolutions: verified, or called resolved by the user.", AGENT
)
BUSINESS_COST_EUROS = _counter(
    Tier.BUSINESS, "cost_euros", "Cost of the model calls of all runs, failed ones included.", AGENT
)
BUSINESS_PERIOD_SECONDS = _gauge(
    Tier.BUSINESS, "period_seconds", "Time from the first run's creation to the last event.", merge=Merge.MAX
)
BUSINESS_COST_PER_RESOLUTION_EUROS = _gauge(
    Tier.BUSINESS,
    "cost_per_resolution_euros",
    "Model and platform cost of all runs over the accepted resolutions.",
    merge=Merge.MAX,
)
BUSINESS_ROI_RATIO = _gauge(
    Tier.BUSINESS,
    "roi_ratio",
    "(resolutions * human cost - total cost) / total cost, with the configured inputs.",
    Label("inputs", limit=8),
    merge=Merge.MAX,
)
BUSINESS_CALIBRATION_ERROR = _counter(
    Tier.BUSINESS,
    "calibration_error",
    "Sum of (confidence - solved)^2 over verified runs; over their number it is the Brier score.",
)
BUSINESS_CALIBRATED_RUNS = _counter(
    Tier.BUSINESS, "calibrated_runs", "Runs with a confidence whose outcome was verified."
)

CATALOG: tuple[Metric, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
BY_NAME: dict[str, Metric] = {metric.name: metric for metric in CATALOG}
