"""Shows on a console what is trained on, and how far long work is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from model.tuner import tuner
from model.tuner.curves import Picture
from model.tuner.examples import Example, Learned, Pair, Reading, total
from model.tuner.teaching import Teaching


def fit_with_bar(
    console: Console,
    learner: tuner.Tuner,
    learned: Sequence[Example] | Sequence[Pair],
    held_out: Sequence[Example],
    out: Path,
    recipe: tuner.Recipe,
    teaching: Teaching | None = None,
) -> list[Path]:
    """`Tuner.fit` with a bar of its steps, and the picture of its losses in ``out``."""
    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    ]
    with Progress(*columns, console=console) as bar:
        steps = bar.add_task("steps", total=None, figures="")
        picture = Picture(out, recipe.checkpoint_s)

        def told(progress: tuner.Progress) -> None:
            figures = f"loss {progress.loss:.3f} · {progress.tokens_per_second:.0f} tokens/s"
            if progress.busiest is not None:
                figures += f" · busiest {progress.busiest:.0%}"
            bar.update(steps, total=progress.steps, completed=progress.step, figures=figures)
            if progress.evaluation is not None:
                bar.console.print(f"after {progress.step} steps: held-out loss {progress.evaluation:.4f}")
            picture.told(progress)

        return learner.fit(learned, held_out, recipe, told, teaching)


@contextmanager
def counted(console: Console, title: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar; the function that it yields is told how many are done. ``total``: None if unknown."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(title, total=total)
        yield lambda done: progress.update(task, completed=done)


def reported(console: Console, path: Path, reading: Reading[Learned]) -> tuple[Learned, ...]:
    """Usable rows of a file, after telling how many there are and which ones are skipped."""
    for bad in reading.bad:
        console.print(f"skipped: {path.name}, {bad}", style="yellow", soft_wrap=True, highlight=False)
    console.print(f"{path}: {len(reading.items):,} rows, {total(reading.items):,} tokens", soft_wrap=True)
    return reading.items
