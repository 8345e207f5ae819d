"""Wire types of predictions: descriptions of a chart, a table or a text, with evidence."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, FiniteFloat, model_validator
from pydantic_core import PydanticCustomError

from flightloop.content import Body, ImageUrl, Many, Part, Table, TablePart, TextPart, Wire
from flightloop.limits import IMAGES, METADATA, TEXT_CHARS
from flightloop.readings import ImageReading
from flightloop.runs import Metadata, RunStatus, StrictBudget
from flightloop.subject import GivenSubject

PREDICT = "predict"
"""Name of the agent that predicts."""
TABLES = 8


class PredictionCreate(Body):
    """Body of ``POST /v1/predictions``. A follow-up needs only a text and the session."""

    text: str = Field(default="", max_length=TEXT_CHARS)
    """The question; empty: what is to be seen."""
    context: str = Field(default="", max_length=TEXT_CHARS)
    """What the asker knows about the data. Counts as the user's own words, like ``text``."""
    images: Many[ImageUrl] = Field(default_factory=list, max_length=IMAGES)
    tables: Many[Table] = Field(default_factory=list, max_length=TABLES)
    session_id: str | None = Field(default=None, min_length=1, max_length=128, pattern=r"^[^\x00]*$")
    subject: GivenSubject | None = None
    budget: StrictBudget = Field(default_factory=StrictBudget)
    metadata: Metadata = Field(default_factory=dict, max_length=METADATA)

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if not (self.text.strip() or self.images or self.tables):
            raise PydanticCustomError("nothing_asked", "give a text, an image or a table")
        return self


class EvidencePoint(Wire):
    """A value of the data, and where it was read."""

    image: int | None = None
    """Number of the image, from 1; None: the value is of a table that was given."""
    pixel: tuple[FiniteFloat, FiniteFloat] | None = None
    """Position in the stored image, in pixels from its top left; None: unknown, as for cells of a table."""
    series: str = ""
    category: str
    value: FiniteFloat
    confidence: FiniteFloat = 1.0
    printed: bool = True
    """Whether the value is printed or given. Otherwise it was measured."""


class PredictedPoint(Wire):
    """A fact that code has computed from the values."""

    kind: Literal["largest", "smallest", "change", "trend", "outlier"]
    series: str = ""
    category: str
    value: FiniteFloat
    """The value; of a change the relative change (0.1 is 10 % more), of a trend Kendall's tau (-1 to 1)."""
    text: str
    evidence: list[int] = Field(default_factory=list)
    """Indexes in ``Prediction.evidence``."""


class ChartAdvice(Wire):
    """The chart that shows the data best."""

    chart: str
    reason: str
    spec: dict[str, Any]
    """Vega-Lite specification that contains the data."""


class Prediction(Wire):
    """The answer of ``predict``. Names in it come from the image and are untrusted."""

    run_id: str
    session_id: str
    status: RunStatus
    description: str
    described_by: Literal["model", "code"]
    """``code`` if the data support nothing that the model wrote."""
    key_points: list[PredictedPoint] = Field(default_factory=list)
    chart: ChartAdvice | None = None
    """None if the data have no numbers."""
    table: Table | None = None
    """The values, one row for each category."""
    confidence: FiniteFloat | None = None
    """Mean confidence of the reading, 0 to 1; 1 for tables that were given, None without data."""
    evidence: list[EvidencePoint] = Field(default_factory=list)
    readings: list[ImageReading] = Field(default_factory=list)


def input_of(body: PredictionCreate) -> list[Part]:
    """The input of the run that predicts, without its images."""
    text = body.text.strip() or "What is to be seen? Describe it."
    parts: list[Part] = [TextPart(text=text)]
    if body.context.strip():
        parts.append(TextPart(text=f"Context: {body.context.strip()}"))
    return [*parts, *(TablePart(table=table) for table in body.tables)]
