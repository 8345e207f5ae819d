"""Settings of the package: frozen, resolved once in the composition root."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path


@dataclass(frozen=True)
class BusinessConfig:
    """Inputs of the return on investment, in euros. Change the version with the figures: it labels the result."""

    version: str = "default-1"
    human_cost_per_conversation: float = 6.0
    """Cost of a conversation that a person handles."""
    platform_cost_per_hour: float = 0.10
    """Cost of machines and operation, busy or idle."""
    prompt_cost_per_1k_tokens: float = 0.0
    completion_cost_per_1k_tokens: float = 0.0
    """Prices of a remote model. The embedded model is covered by the platform's cost."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name != "version" and not 0 <= value < float("inf"):
                raise ValueError(f"BusinessConfig.{item.name} must be a cost in euros, at least 0; it is {value}")

    def model_cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Euros for the tokens of a model call."""
        prompt = prompt_tokens * self.prompt_cost_per_1k_tokens
        return (prompt + completion_tokens * self.completion_cost_per_1k_tokens) / 1000

    def total_cost(self, model_cost: float, seconds: float) -> float:
        """Euros for the model calls and for the platform over a period of ``seconds``."""
        return model_cost + self.platform_cost_per_hour * seconds / 3600

    def roi(self, resolutions: float, total_cost: float) -> float | None:
        """(resolutions * human cost - total cost) / total cost; None without cost."""
        return (resolutions * self.human_cost_per_conversation - total_cost) / total_cost if total_cost else None


@dataclass(frozen=True)
class ProjectionConfig:
    """Settings of the journal's projection."""

    groundedness_category: str = "groundedness"
    """Score category with the supported share of claims. Here 1 is good, unlike in other categories."""
    toxicity_rails: tuple[str, ...] = ("content", "toxicity")
    """Rails whose highest category score counts as an answer's toxicity."""
    toxicity_threshold: float = 0.8
    """An answer above this score counts as toxic. Of 1,117 harmless phrases of the support project, 3.3 % score over
    0.5, 0.2 % over 0.7 and none over 0.8: with 0.5, the alert of toxic answers would fire in a normal hour."""
    remembered_runs: int = 10_000
    """Ended runs that can still be verified, rated or resumed; older ones are forgotten."""


@dataclass(frozen=True)
class TracingConfig:
    """Export of spans: by OTLP over HTTP if ``endpoint`` is set, else to JSON lines in ``directory``, else none."""

    service: str = "flightloop"  # ``service.name`` of the spans
    endpoint: str | None = None
    """Base URL of an OTLP/HTTP receiver, such as ``http://127.0.0.1:4318``."""
    headers: tuple[tuple[str, str], ...] = ()
    """Names and values of HTTP headers for the endpoint."""
    directory: Path | None = None
    """Folder for trace files, used without an endpoint."""
    max_bytes: int = 32 * 1024 * 1024
    """Size at which a trace file is rotated."""
    backups: int = 4  # rotated files that are kept
    capture_content: bool = False
    """Records prompts, arguments and answers in spans. They are personal data, so this is off by default."""
    mask: Callable[[str], str] | None = None
    """Replaces personal data in what is recorded, and in messages of exceptions."""


@dataclass(frozen=True)
class ObservabilityConfig:
    """Settings of metrics and traces in all processes."""

    interval_s: float = 5.0
    """Seconds between two snapshots of a process. If it crashes, the figures since the last one are lost."""
    expiry_s: float = 30.0
    """Seconds without a snapshot after which a process's gauges are dropped."""
    business: BusinessConfig = field(default_factory=BusinessConfig)
    projection: ProjectionConfig = field(default_factory=ProjectionConfig)
    tracing: TracingConfig = field(default_factory=TracingConfig)

    def __post_init__(self) -> None:
        if not 0 < self.interval_s < self.expiry_s:
            raise ValueError(f"interval_s ({self.interval_s}) must be above 0 and below expiry_s ({self.expiry_s})")
