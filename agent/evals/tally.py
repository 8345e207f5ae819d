"""Summarises the results of tasks, as a table for people and as a JSON document."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from agent.evals.confidence_interval import wilson
from agent.evals.play import Played
from agent.evals.transcript import Transcript
from flightloop.content import text_of


@dataclass(frozen=True)
class Tally:
    """Results of one or more attempts. ``model`` and ``where``: the evaluated model and its server."""

    plays: Sequence[Played]
    model: str = ""
    where: str = ""

    @property
    def solved(self) -> int:
        return sum(one.solved for one in self.plays)

    @property
    def share(self) -> float:
        return self.solved / len(self.plays)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of the share. Repeated attempts count as separate cases only if there is a single
        task."""
        tasks = len(self._by_task())
        return wilson(self.share, tasks if tasks > 1 else len(self.plays))

    def sentence(self) -> str:
        low, high = self.interval
        share = (
            f"{self.solved} of {len(self.plays)} solved: {self.share:.0%} ({low:.0%} to {high:.0%}, 95 % confidence)"
        )
        return f"{share} by {self.model} at {self.where}" if self.model else share

    def table(self) -> Table:
        """Table with a row per task; figures are means over the task's attempts. Calls off the record have a column
        only if there were any, as in tasks of recorded runs."""
        table = Table("task", "solved", "why not", box=None, header_style="dim")
        strayed = any(one.off_the_record for one in self.plays)
        for column in (*(["off record"] if strayed else []), "tokens", "seconds", "EUR"):
            table.add_column(column, justify="right")
        for plays in self._by_task().values():
            solved = sum(one.solved for one in plays)
            mark = ("✓" if solved else "✗") if len(plays) == 1 else f"{solved} of {len(plays)}"
            colour = "green" if solved == len(plays) else "red"
            why = "\n".join(dict.fromkeys(problem for one in plays for problem in one.problems))
            off = statistics.mean(one.off_the_record for one in plays)
            tokens = statistics.mean(_total(one, "tokens") for one in plays)
            seconds = statistics.mean(_total(one, "seconds") for one in plays)
            cost = statistics.mean(_total(one, "cost") for one in plays)
            figures = (f"{tokens:,.0f}", f"{seconds:.1f}", f"{cost:.4f}" if cost else "")
            told = (f"{off:g}" if off else "", *figures) if strayed else figures
            table.add_row(Text(plays[0].task.id), Text(mark, colour), Text(why), *told)
        return table

    def document(self) -> dict[str, Any]:
        """JSON document: the model, the share with its interval, and each attempt with its turns, calls and usage."""
        return {
            "model": {"name": self.model, "server": self.where},
            "solved": self.solved,
            "plays": len(self.plays),
            "share": self.share,
            "interval": list(self.interval),
            "tasks": [_document(one) for one in self.plays],
        }

    def _by_task(self) -> dict[str, list[Played]]:
        found: dict[str, list[Played]] = {}
        for one in self.plays:
            found.setdefault(one.task.id, []).append(one)
        return found


def _document(played: Played) -> dict[str, Any]:
    transcript = Transcript.of(played.exchanges)
    return {
        "id": played.task.id,
        "where": played.where,
        "agent": played.task.agent,
        "solved": played.solved,
        "problems": list(played.problems),
        "turns": [
            {
                "input": text_of(run.input),
                "status": run.status.value,
                "stop_reason": run.stop_reason and run.stop_reason.value,
                "answer": text_of(run.output or []),
            }
            for run in played.runs
        ],
        "calls": [call.model_dump(mode="json") for call in transcript.calls],
        "asked": [call.model_dump(mode="json") for call in transcript.asked],
        "off_the_record": played.off_the_record,
        "tokens": _total(played, "tokens"),
        "seconds": _total(played, "seconds"),
        "cost": _total(played, "cost"),
    }


def _total(played: Played, figure: str) -> float:
    """Sum over the runs' usage: ``tokens``, ``seconds`` or ``cost`` in euros."""
    return float(sum(getattr(run.usage, figure) for run in played.runs))
