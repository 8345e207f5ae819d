"""Progress bars of the categories, with numbers of right answers."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Bars:
    """A bar for each of ``totals``, shown while the context is open."""

    def __init__(self, console: Console, totals: Mapping[str, int]) -> None:
        told = TextColumn("{task.fields[told]}")
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), told, TimeRemainingColumn())
        self._progress = Progress(*columns, console=console)
        self._bars = {name: self._progress.add_task(name, total=total, told="") for name, total in totals.items()}

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    def update(self, name: str, done: int, right: int) -> None:
        self._progress.update(self._bars[name], completed=done, told=f"{right / done:.1%} right")
