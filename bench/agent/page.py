"""Formats the figures for the documentation."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from bench.agent.field import Sample
from bench.agent.rows import Outcomes
from bench.agent.subjects import SUBJECTS, TARGETS
from bench.engine.page import fragment
from bench.rows import Row, markdown

BESIDE = ("machine", "step_cpu_growth", "resume_work_seconds")
"""Rows to show in addition to those with targets."""


def figures(rows: Sequence[Row], outcomes: Outcomes) -> str:
    """The rows with targets, and for each number of calls a table of step costs by subject."""
    main = fragment([row for row in rows if row.name in TARGETS or row.name in BESIDE], TARGETS)
    return "\n\n".join([main, *(_table(outcomes, calls) for calls in sorted({case.calls for case in outcomes}))])


def _table(outcomes: Outcomes, calls: int) -> str:
    cases = sorted((case for case in outcomes if case.calls == calls), key=lambda case: case.steps)
    heads = [f"{calls} call{'s' * (calls > 1)} a step", *(f"{case.steps:,} steps" for case in cases)]
    lines = [
        [subject.shown, *(_cell(outcomes[case].samples.get(name, ())) for case in cases)]
        for name, subject in SUBJECTS.items()
        if any(name in outcomes[case].samples for case in cases)
    ]
    return f"CPU a step, ms (wall clock, ms; KB of the database):\n\n{markdown(heads, lines)}"


def _cell(samples: Sequence[Sample]) -> str:
    if not samples:
        return ""
    cpu, wall, size = (
        statistics.median(values)
        for values in zip(*((each.cpu / 1e3, each.wall / 1e3, each.bytes / 1e3) for each in samples), strict=True)
    )
    return f"{cpu:.2f} ({wall:.1f}; {size:.1f})" if size else f"{cpu:.2f} ({wall:.1f})"
