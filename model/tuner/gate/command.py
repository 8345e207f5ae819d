"""``python -m model.tuner promote``: new experts are compared with those in use, and take their place or don't."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from flightloop.errors import ConfigError
from model.config import SHIPPED, ModelConfig
from model.tuner.evaluation import HeldOut, Scored, read_held_out, score
from model.tuner.gate.answers import NAMES, compare_answers
from model.tuner.gate.benches import compare_benches, read_benches
from model.tuner.gate.figure import Allowance, Figure, Verdict
from model.tuner.gate.shelf import DIGITS, Shelf, digest_of
from model.weights.load import LoadedModel, load_model

USED = Path(".flightloop/experts.safetensors")
"""Where the platform looks, if its home is not elsewhere."""
SHOWN = 5
WIDTH = 120
"""Columns of the table where no terminal says how many there are."""
_STYLES = {Verdict.BETTER: "green", Verdict.WORSE: "bold red", Verdict.OPEN: "dim"}

Load = Callable[[Path], LoadedModel]
"""The model with the experts of a file."""


def promote(
    experts: Annotated[Path | None, typer.Argument(help="Safetensors file of trained experts.")] = None,
    evaluation: Annotated[Path | None, typer.Option(help="Held-out conversations, JSONL, as fit has them.")] = None,
    bench: Annotated[list[Path] | None, typer.Option(help="Rows of a bench with them, JSON; may be repeated.")] = None,
    bench_in_use: Annotated[
        list[Path] | None, typer.Option(help="The same bench with those in use; may be repeated.")
    ] = None,
    in_use: Annotated[
        Path | None, typer.Option(help="Experts to compare with; otherwise those at --to, or the shipped ones.")
    ] = None,
    to: Annotated[Path, typer.Option(help="The file in use: experts.safetensors in FLIGHTLOOP_HOME.")] = USED,
    tolerance: Annotated[
        float,
        typer.Option(min=0.0, help="How much worse a figure may be: nats of a loss, 0.01 for a point of a share."),
    ] = 0.01,
    allow: Annotated[
        list[str] | None, typer.Option(help="NAME=WORSE: a tolerance for one figure, also without an interval.")
    ] = None,
    longest: Annotated[int, typer.Option(min=2, help="Most tokens of a conversation.")] = 2048,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws that make the intervals.")] = 0,
    force: Annotated[str | None, typer.Option(help="REASON: promote them though they are worse.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Puts back what the last promotion replaced.")] = False,
) -> None:
    """Puts experts in use, unless they are worse than those that are."""
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    shelf = Shelf(to)
    try:
        if undo:
            entry = shelf.undo("--undo")
        elif experts is None or evaluation is None:
            raise ConfigError("name the new experts and --evaluation, or --undo")
        else:
            digest = digest_of(experts)
            if digest is None:
                raise ConfigError(f"there is no file {experts}", param="experts")
            allowance = Allowance(tolerance, dict(map(_allowed, allow or ())))
            benches = compare_benches(read_benches(bench_in_use or ()), read_benches(bench or ()), allowance)
            allowance.check([*NAMES, *(figure.name for figure in benches)])
            against = in_use or (to if to.exists() else SHIPPED)
            figures = [*compare(console, _load, experts, against, evaluation, longest, allowance, seed), *benches]
            console.print(table(figures, str(against), str(experts)))
            entry = shelf.promote(experts, digest, reason_for(figures, force), list(map(_fact, figures)))
    except ConfigError as error:
        sys.exit(f"error: {error}")
    now = f"{to.resolve()} ({entry.digest[:DIGITS]})" if entry.digest else "the shipped experts"
    console.print(f"{entry.what}: {now}; the platform uses them from its next start", soft_wrap=True, highlight=False)


def reason_for(figures: Sequence[Figure], force: str | None) -> str:
    """Why experts are promoted.

    Raises:
        ConfigError: a figure is worse, and nobody said why they are promoted all the same.
    """
    worse = [figure.name for figure in figures if figure.verdict is Verdict.WORSE]
    if worse and not force:
        raise ConfigError(f"not promoted, worse: {', '.join(worse)}; --force REASON promotes them all the same")
    return f"forced: {force}" if worse else "no figure is worse"


def compare(
    console: Console,
    load: Load,
    experts: Path,
    against: Path,
    evaluation: Path,
    longest: int,
    allowance: Allowance,
    seed: int,
) -> list[Figure]:
    """Both on held-out conversations.

    Raises:
        ConfigError: experts or conversations can't be read.
    """
    with console.status("loading the model"):
        model = load(against)
    rows, bad = read_held_out(evaluation, model.tokenizer, longest)
    for each in bad[:SHOWN]:
        console.print(f"skipped: {each}", style="yellow", markup=False)
    console.print(f"{evaluation}: {len(rows):,} conversations" + (f", {len(bad):,} skipped" if bad else ""))
    old = _scored(console, "in use", model, rows)
    del model  # one at a time fits where two don't
    with console.status("loading the model"):
        model = load(experts)
    return compare_answers(old, _scored(console, "new", model, rows), allowance, seed)


def table(figures: Sequence[Figure], old: str, new: str) -> Table:
    """The figures with their verdicts."""
    about = f"in use: {old}; new: {new}"
    made = Table("figure", caption=about, caption_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
    for name in ("of", "in use", "new", "difference", "95 % interval", "allowed", "verdict"):
        made.add_column(name, justify="left" if name == "verdict" else "right", no_wrap=True)
    for figure in figures:
        verdict = figure.verdict
        between = "" if figure.interval is None else "{:+.3f} to {:+.3f}".format(*figure.interval)
        made.add_row(
            figure.name,
            "" if figure.cases is None else f"{figure.cases:,}",
            f"{figure.old:.4g}",
            f"{figure.new:.4g}",
            f"{figure.difference:+.3f}",
            between,
            "" if verdict is Verdict.OPEN else f"{figure.allowed:g}",
            verdict.value,
            style=_STYLES.get(verdict),
        )
    return made


def _load(experts: Path) -> LoadedModel:
    return load_model(ModelConfig(dtype="bfloat16", experts=str(experts)))


def _scored(console: Console, title: str, model: LoadedModel, rows: Sequence[HeldOut]) -> list[Scored]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(title, total=len(rows))
        return score(model.decoder, rows, lambda done: progress.update(task, completed=done))


def _allowed(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise ConfigError(f"--allow takes NAME=WORSE, such as loss_text=0.05, not {text!r}", param="allow") from None


def _fact(figure: Figure) -> dict[str, Any]:
    return {**asdict(figure), "verdict": figure.verdict}
