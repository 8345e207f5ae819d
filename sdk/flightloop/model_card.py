"""Wire type of a model in ``GET /v1/models``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from flightloop.content import Wire


class ModelCard(Wire):
    """An entry of ``GET /v1/models``. Parameter counts are absolute numbers."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    """Unix time at which the model was loaded; 0: unknown."""
    owned_by: str = "flightloop"
    context_length: int | None = None
    parameters: int | None = None
    active_parameters: int | None = None
    weights: str | None = None
    """Number format of the weights, and what computes with them; None: unknown."""
    parts: list[str] = Field(default_factory=lambda: ["text"])
    """Content part types that the model accepts."""
    reads_plans: bool = True
    """Whether its prompts show the plan of a run."""
