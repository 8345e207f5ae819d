"""Makes a prediction of a run: facts by code, the description by the model as the guard let it through."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from agent.attachments.figures import of_reading, of_table
from flightloop.content import Table, TablePart
from flightloop.events import RunCreated
from flightloop.predictions import ChartAdvice, EvidencePoint, PredictedPoint, Prediction
from flightloop.readings import ImageReading, ReadPoint, ReadSeries
from flightloop.runs import Run, RunStatus
from tools.vision.advice import advise
from tools.vision.key_points import KeyPoint, PointKind, key_points
from tools.vision.measures import Measures, distinct, name_of

MOST_POINTS = 24
STATED = 6
"""Key points in a description by code."""
QUOTED = 400
"""Characters of a text in a description by code."""


@dataclass(frozen=True)
class _Source:
    """The numbers of one chart or table, with their evidence."""

    measures: Measures
    evidence: dict[tuple[str, str, float], EvidencePoint]
    """By series, category and value."""
    ends: dict[str, tuple[EvidencePoint, EvidencePoint]]
    """First and last value of each series."""

    @classmethod
    def of(cls, measures: Measures, points: Iterable[EvidencePoint]) -> _Source:
        evidence: dict[tuple[str, str, float], EvidencePoint] = {}
        ends: dict[str, tuple[EvidencePoint, EvidencePoint]] = {}
        for point in points:
            evidence.setdefault((point.series, point.category, point.value), point)
            ends[point.series] = (ends.get(point.series, (point,))[0], point)
        return cls(measures, evidence, ends)

    def supporting(self, point: KeyPoint) -> tuple[EvidencePoint, ...]:
        """Values that bear out a key point: of a change or a trend, the first and the last."""
        if point.kind in (PointKind.CHANGE, PointKind.TREND):
            return self.ends[point.series]
        return (self.evidence[point.series, point.category, point.value],)


@dataclass
class _Collected:
    """Evidence in the order in which key points need it, without repetitions."""

    points: list[EvidencePoint] = field(default_factory=list)
    _places: dict[tuple[int | None, str, str, float], int] = field(default_factory=dict)

    def index(self, point: EvidencePoint) -> int:
        key = (point.image, point.series, point.category, point.value)
        if key not in self._places:
            self._places[key] = len(self.points)
            self.points.append(point)
        return self._places[key]


def prediction_of(run: Run, data: RunCreated | None, let_through: Sequence[ImageReading | None]) -> Prediction:
    """The prediction of an ended run.

    Args:
        data: beginning of the run whose images and tables it is about: itself or an earlier one; None: there are none.
        let_through: its readings; None for one that the guard withheld.
    """
    readings = [one for one in let_through if one is not None]
    tables = [part.table for part in data.input if isinstance(part, TablePart)] if data else []
    said = run.output_text.strip()
    head = {"run_id": run.id, "session_id": run.session_id, "status": run.status}
    if run.status not in (RunStatus.SUCCEEDED, RunStatus.FAILED):
        told = said or (run.error.message if run.error else "")
        return Prediction(**head, description=told, described_by="code")
    sources = [*_read(let_through), *_given(tables)]
    collected = _Collected()
    found = [(point, source) for source in sources for point in key_points(source.measures)]
    points = [_point(point, source, collected) for point, source in found[:MOST_POINTS]]
    model = run.status is RunStatus.SUCCEEDED and bool(said)
    return Prediction(
        **head,
        description=said if model else _described(sources, [point for point, _ in found], let_through),
        described_by="model" if model else "code",
        key_points=points,
        chart=_advice(sources),
        table=_table(readings, tables, sources),
        confidence=_confidence(readings, tables),
        evidence=collected.points,
        readings=readings,
    )


def _read(readings: Sequence[ImageReading | None]) -> Iterator[_Source]:
    for number, reading in enumerate(readings, 1):
        if reading is not None and (measures := of_reading(reading)) is not None:
            yield _Source.of(measures, _measured(measures, reading, number))


def _measured(measures: Measures, reading: ImageReading, number: int) -> Iterator[EvidencePoint]:
    drawn = [_marks(one) for one in reading.series if one.points]
    for index, (series, category, value) in _values(measures):
        point = EvidencePoint(
            image=number, series=series, category=category, value=value, confidence=reading.confidence
        )
        mark = drawn[index].get((category, value)) if index < len(drawn) else None
        if mark is not None:
            told = {"pixel": mark.pixel, "confidence": mark.confidence, "printed": mark.printed}
            point = point.model_copy(update=told)
        yield point


def _marks(series: ReadSeries) -> dict[tuple[str, float], ReadPoint]:
    """Points of a series by the names of their categories and their values."""
    names = distinct([name_of(point.x) for point in series.points])
    return {(name, point.y): point for name, point in zip(names, series.points, strict=True)}


def _given(tables: Sequence[Table]) -> Iterator[_Source]:
    for table in tables:
        if (measures := of_table(table)) is not None:
            points = (
                EvidencePoint(series=name, category=place, value=at) for _, (name, place, at) in _values(measures)
            )
            yield _Source.of(measures, points)


def _values(measures: Measures) -> Iterator[tuple[int, tuple[str, str, float]]]:
    for index, (series, row) in enumerate(zip(measures.series, measures.values, strict=True)):
        for category, value in zip(measures.categories, row, strict=True):
            if value is not None:
                yield index, (series, category, value)


def _point(point: KeyPoint, source: _Source, collected: _Collected) -> PredictedPoint:
    return PredictedPoint(
        kind=point.kind.value,
        series=point.series,
        category=point.category,
        value=point.value,
        text=point.text,
        evidence=[collected.index(one) for one in source.supporting(point)],
    )


def _advice(sources: Sequence[_Source]) -> ChartAdvice | None:
    if not sources:
        return None
    advice = advise(sources[0].measures)
    return ChartAdvice(chart=advice.chart, reason=advice.reason, spec=advice.spec)


def _table(readings: Sequence[ImageReading], tables: Sequence[Table], sources: Sequence[_Source]) -> Table | None:
    """The values of the first chart or table."""
    if readings and readings[0].kind == "table":
        rows = [[*row] for row in readings[0].rows if len(row) == len(readings[0].columns)]
        return Table(columns=readings[0].columns, rows=rows)
    if tables and not any(reading.kind != "text" for reading in readings):
        return tables[0]
    if not sources:
        return None
    measures = sources[0].measures
    columns = [measures.axis or "category", *(name or "value" for name in measures.series)]
    rows = [[name, *values] for name, *values in zip(measures.categories, *measures.values, strict=True)]
    return Table(columns=columns, rows=rows)


def _confidence(readings: Sequence[ImageReading], tables: Sequence[Table]) -> float | None:
    """Mean over readings and tables. A chart counts as the product of its own confidence and its points' mean."""
    found = [1.0 for _ in tables]
    for reading in readings:
        points = [point.confidence for series in reading.series for point in series.points]
        found.append(reading.confidence * (statistics.fmean(points) if points else 1.0))
    return round(statistics.fmean(found), 3) if found else None


def _described(sources: Sequence[_Source], points: Sequence[KeyPoint], readings: Sequence[ImageReading | None]) -> str:
    """A description without a model."""
    sentences = [_size(source.measures) for source in sources]
    sentences += [f"{point.text[0].upper()}{point.text[1:]}." for point in points[:STATED]]
    for number, reading in enumerate(readings, 1):
        if reading is None:
            sentences.append(f"A guardrail withheld what was read in image {number}.")
        elif reading.kind == "text":
            sentences.append(f"The image has this text: {' / '.join(reading.lines)[:QUOTED]}")
    return " ".join(sentences) or "Nothing was read."


def _size(measures: Measures) -> str:
    title = f"“{measures.title}” has" if measures.title else "The data have"
    count, series = len(measures.categories), len(measures.series)
    several = f" in {series} series" if series > 1 else ""
    return f"{title} values of {count} {'categories' if count != 1 else 'category'}{several}."
