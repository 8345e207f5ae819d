"""Formats results as rows, as a table, and as conversations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.table import Table

from agent.evals.confidence_interval import wilson
from bench.retail.play import Played
from bench.rows import Row, as_markdown, median_row
from bench.truths import markup_row

NOTE = "scripted customer: not tau2-bench's official setting, not to be compared with its leaderboard"


def rows(played: Sequence[Played]) -> list[Row]:
    """The rows of the measurement.

    Args:
        played: at least one conversation.
    """
    seconds = [turn.seconds for one in played for turn in one.turns]
    told = [one.verdict.told_right for one in played if one.task.told]
    idle = sum(not one.changes for one in played)
    found = [
        _share("retail_solved", [one.verdict.solved for one in played]),
        _share("retail_state", [one.verdict.state_right for one in played], f"{idle} require no change"),
    ]
    if told:
        found.append(_share("retail_told", told, "tasks that require something to be said"))
    return [
        *found,
        replace(markup_row([turn.answer for one in played for turn in one.turns]), note=NOTE),
        Row("retail_turns", len(seconds) / len(played), "turns", higher_is_better=False, note=NOTE),
        Row("retail_turn_seconds", sum(seconds) / len(seconds), "s", higher_is_better=False, note=NOTE),
        replace(median_row("retail_turn_seconds_median", seconds, "s", higher_is_better=False), note=NOTE),
    ]


def outcomes(played: Sequence[Played]) -> Table:
    """Table of the tasks: verdicts, and the first problem of each."""
    table = Table("task", "turns", "state", "told", "problem", box=None, header_style="dim")
    for one in played:
        verdict = one.verdict
        marks = ["yes" if right else "no" for right in (verdict.state_right, verdict.told_right)]
        problem = verdict.problems[0] if verdict.problems else ""
        table.add_row(one.task.id, str(len(one.turns)), *marks, problem[:80])
    return table


def fragment(found: Sequence[Row], about: str) -> str:
    """The rows in Markdown.

    Args:
        found: the rows.
        about: description of the measurement.
    """
    return f"{about}.\n\n{as_markdown(found)}"


def append(one: Played, file: Path) -> None:
    """Appends a conversation to a file of JSON lines, to inspect mistakes."""
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(_document(one), ensure_ascii=False) + "\n")


def _document(one: Played) -> dict[str, Any]:
    return {
        "id": one.task.id,
        "state_right": one.verdict.state_right,
        "told_right": one.verdict.told_right,
        "problems": one.verdict.problems,
        "turns": [
            {
                "said": turn.said,
                "answer": turn.answer,
                "status": turn.run.status,
                "stop_reason": turn.run.stop_reason,
                "seconds": round(turn.seconds, 3),
            }
            for turn in one.turns
        ],
    }


def _share(name: str, rights: Sequence[bool], more: str = "") -> Row:
    share = sum(rights) / len(rights)
    note = f"{more}; {NOTE}" if more else NOTE
    return Row(name, share, "share", interval=wilson(share, len(rights)), cases=len(rights), note=note)
