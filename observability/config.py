"""Settings of the package: frozen, resolved once in the composition root."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path


@dataclass(frozen=True)
class BusinessConfig:
    """Inputs of the return on investment. Change a figure, change the version: it labels the result.

    Costs are in euros.
    """

    version: str = "default-1"
    human_cost_per_conversation: float = 6.0
    """What it costs when a person handles the conversation."""
    platform_cost_per_hour: float = 0.10
    """Machines and operation, whether or not runs go on."""
    prompt_cost_per_1k_tokens: float = 0.0
    completion_cost_per_1k_tokens: float = 0.0
    """Prices of a remote model; the embedded one is paid by the platform's hour."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name != "version" and not 0 <= value < float("inf"):
                raise ValueError(f"BusinessConfig.{item.name} must be a cost in euros of at least 0, not {value}")

    def model_cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Euros for the tokens of a model call."""
        prompt = prompt_tokens * self.prompt_cost_per_1k_tokens
        return (prompt + completion_tokens * self.completion_cost_per_1k_tokens) / 1000

    def total_cost(self, model_cost: float, seconds: float) -> float:
        """Euros for the model calls and for the platform over a period of ``seconds``."""
        return model_cost + self.platform_cost_per_hour * seconds / 3600

    def roi(self, resolutions: float, total_cost: float) -> float | None:
        """(resolutions * human cost - total cost) / total cost; None where nothing was spent."""
        return (resolutions * self.human_cost_per_conversation - total_cost) / total_cost if total_cost else None


@dataclass(frozen=True)
class ProjectionConfig:
    """How verdicts are read, and how many ended runs may still be verified, rated or resumed."""

    groundedness_category: str = "groundedness"
    """Score category that holds supported claims / claims: 1 is good, unlike other scores."""
    toxicity_rails: tuple[str, ...] = ("content", "toxicity")
    """Rails whose highest category score is an answer's toxicity."""
    toxicity_threshold: float = 0.5
    remembered_runs: int = 10_000


@dataclass(frozen=True)
class TracingConfig:
    """Where spans go: OTLP over HTTP if ``endpoint`` is given, else JSON lines in ``directory``, else nowhere.

    ``capture_content`` puts prompts, arguments and answers into spans: off, since they are personal data.
    """

    service: str = "flightloop"
    endpoint: str | None = None
    """Base URL of an OTLP/HTTP receiver, such as ``http://127.0.0.1:4318``."""
    headers: tuple[tuple[str, str], ...] = ()
    directory: Path | None = None
    max_bytes: int = 32 * 1024 * 1024
    backups: int = 4
    capture_content: bool = False


@dataclass(frozen=True)
class ObservabilityConfig:
    interval_s: float = 5.0
    """Time between two snapshots of a process: at most this much of its figures dies with it."""
    expiry_s: float = 30.0
    business: BusinessConfig = field(default_factory=BusinessConfig)
    projection: ProjectionConfig = field(default_factory=ProjectionConfig)
    tracing: TracingConfig = field(default_factory=TracingConfig)

    def __post_init__(self) -> None:
        if not 0 < self.interval_s < self.expiry_s:
            raise ValueError(f"interval_s ({self.interval_s}) must be above 0 and below expiry_s ({self.expiry_s})")
