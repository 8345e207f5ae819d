"""Checks whether a task, and each of its turns, was solved: by databases, answers, calls and the last run's status."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import regex

from agent.evals.databases import rows_of
from agent.evals.task import Cell, Criteria, Expectation, Task, TaskError
from agent.evals.transcript import Transcript
from flightloop.runs import Run, RunStatus

MOST_SECONDS = 10.0
"""Time limit for all regular expressions of a task together, and of each of its turns."""


@dataclass(frozen=True)
class Judgement:
    """Result of checking an attempt at a task."""

    solved: bool
    state_right: bool
    """Whether the databases have the expected rows."""
    answer_right: bool
    """Whether all other expectations are met."""
    problems: tuple[str, ...] = field(default=())
    """Unmet expectations, one sentence each."""


def judge(data: Path, task: Task, transcript: Transcript) -> Judgement:
    """Compares the result of a conversation with its task's expectations.

    Args:
        data: folder of the tools' data.

    Raises:
        TaskError: a query is invalid, its database is ambiguous, or the regular expressions take too long.
    """
    search = _Search(task)
    everything = "\n".join(transcript.answers)
    state = _state(data, task, task.expect)
    said = [
        *(f"no answer matches {pattern!r}" for pattern in task.answer if not search.finds(pattern, everything)),
        *_said(transcript, task, search, "the last answer", "an answer"),
        *_called(transcript, task),
        *_asked(transcript, task),
        *_ended(transcript.last, task),
    ]
    return Judgement(not state and not said, not state, not said, (*state, *said))


def judge_turn(data: Path, task: Task, number: int, transcript: Transcript) -> tuple[str, ...]:
    """Unmet expectations of a turn, one sentence each.

    Args:
        data: folder of the tools' data, right after the turn.
        number: the turn's number, from 1.
        transcript: this turn only.

    Raises:
        TaskError: as `judge`.
    """
    turn = task.turns[number - 1]
    problems = [
        *_state(data, task, turn.expect),
        *_said(transcript, turn, _Search(task), "the answer", "the answer"),
        *_called(transcript, turn),
    ]
    if problems and transcript.last is not None and transcript.last.status is not RunStatus.SUCCEEDED:
        problems.append(ending(transcript.last))
    return tuple(f"turn {number}: {problem}" for problem in problems)


def _state(data: Path, task: Task, expectations: Sequence[Expectation]) -> list[str]:
    problems: list[str] = []
    for expectation in expectations:
        rows = rows_of(data, task, expectation)
        if not _same(rows, expectation.rows):
            problems.append(f"{expectation.sql}: expected {_shown(expectation.rows)}, found {_shown(rows)}")
    return problems


def _said(transcript: Transcript, wanted: Criteria, search: _Search, last_name: str, any_name: str) -> list[str]:
    everything, last = "\n".join(transcript.answers), transcript.answers[-1] if transcript.answers else ""
    return [
        *(f"{last_name} does not match {pattern!r}" for pattern in wanted.says if not search.finds(pattern, last)),
        *(f"{any_name} matches {pattern!r}" for pattern in wanted.says_not if search.finds(pattern, everything)),
    ]


class _Search:
    """Searches with a task's regular expressions, within ``MOST_SECONDS`` in all."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._deadline = time.monotonic() + MOST_SECONDS

    def finds(self, pattern: str, text: str) -> bool:
        """Whether the pattern matches. Raises TaskError if it takes too long."""
        left = max(self._deadline - time.monotonic(), 0.001)
        try:
            return regex.search(pattern, text, regex.IGNORECASE, timeout=left) is not None
        except TimeoutError:
            raise TaskError(f"task {self._task.id}: {pattern!r}: takes longer than {MOST_SECONDS:g} s") from None


def _called(transcript: Transcript, wanted: Criteria) -> list[str]:
    made = transcript.calls
    return [
        *(f"not called: {call}" for call in wanted.called if not any(map(call.covers, made))),
        *(f"called: {call}" for call in wanted.not_called if any(map(call.covers, made))),
    ]


def _asked(transcript: Transcript, task: Task) -> list[str]:
    asked = transcript.asked
    return [f"no approval was requested for: {call}" for call in task.asked if not any(map(call.covers, asked))]


def _ended(last: Run | None, task: Task) -> list[str]:
    if last is None or task.ends is None or last.status is task.ends:
        return []
    return [f"the run should end {task.ends}; {ending(last)}"]


def ending(run: Run) -> str:
    """Describes how a run ended, as a clause."""
    told = f": {run.error.message}" if run.error else ""
    return f"it ended {run.status} ({run.stop_reason}){told}"


def _same(found: list[list[Any]], expected: list[list[Cell]]) -> bool:
    """Whether rows are equal, in order. Numbers are compared to nine digits."""
    return len(found) == len(expected) and all(
        len(left) == len(right) and all(map(_same_cell, left, right))
        for left, right in zip(found, expected, strict=True)
    )


def _same_cell(left: Any, right: Cell) -> bool:
    if isinstance(left, int | float) and isinstance(right, int | float):
        return abs(left - right) <= 1e-9 * max(1.0, abs(left), abs(right))
    return type(left) is type(right) and bool(left == right)


def _shown(rows: Sequence[Sequence[Any]]) -> str:
    text = json.dumps([list(row) for row in rows[:5]], default=str)
    return text if len(rows) <= 5 else f"{text} and {len(rows) - 5} more"
