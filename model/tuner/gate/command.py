"""``python -m model.tuner promote``: puts new experts in use, unless they measure worse than the current ones."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from flightloop.errors import ConfigError
from model.config import EDGE, SHIPPED, ModelConfig, promoted_experts
from model.tuner.evaluation import HeldOut, Scored, read_held_out, score
from model.tuner.gate.answers import NAMES, compare_answers
from model.tuner.gate.benches import compare_benches, read_benches
from model.tuner.gate.figure import Allowance, Figure, Verdict
from model.tuner.gate.promotions import DIGITS, PromotedExperts, digest_of
from model.weights.load import LoadedModel, load_model

HOME = Path(".flightloop")
"""The platform's home, if FLIGHTLOOP_HOME is not set."""
SHOWN = 5
WIDTH = 120
"""Columns of the table without a terminal."""
_STYLES = {Verdict.BETTER: "green", Verdict.WORSE: "bold red", Verdict.OPEN: "dim"}

Load = Callable[[Path | None], LoadedModel]
"""Loads the model with the experts of a file; None: untrained experts."""


def promote(
    experts: Annotated[Path | None, typer.Argument(help="Safetensors file of trained experts.")] = None,
    evaluation: Annotated[
        Path | None, typer.Option(help="Held-out conversations, JSONL, in the format of fit.")
    ] = None,
    bench: Annotated[list[Path] | None, typer.Option(help="Bench rows of the new experts, JSON; repeatable.")] = None,
    bench_in_use: Annotated[
        list[Path] | None, typer.Option(help="The same bench with the experts in use; repeatable.")
    ] = None,
    in_use: Annotated[
        Path | None, typer.Option(help="Experts to compare with; default: those at --to, or the shipped ones.")
    ] = None,
    model: Annotated[str, typer.Option(help="The embedded model of these experts.")] = EDGE,
    to: Annotated[
        Path | None, typer.Option(help="The file in use; default: experts-MODEL.safetensors in .flightloop.")
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option(min=0.0, help="How much worse a figure may be: nats for a loss; 0.01 is one percentage point."),
    ] = 0.01,
    allow: Annotated[
        list[str] | None, typer.Option(help="NAME=WORSE: tolerance of one figure, which then needs no interval.")
    ] = None,
    longest: Annotated[int, typer.Option(min=2, help="Maximum tokens per conversation.")] = 2048,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the intervals' samples.")] = 0,
    force: Annotated[str | None, typer.Option(help="REASON: promote them even if they are worse.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Restore what the last promotion replaced.")] = False,
) -> None:
    """Puts new experts in use, unless they are worse than the current ones."""
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    to = to or HOME / promoted_experts(model)
    promoted = PromotedExperts(to)
    try:
        if undo:
            entry = promoted.undo("--undo")
        elif experts is None or evaluation is None:
            raise ConfigError("give the new experts and --evaluation, or --undo")
        else:
            digest = digest_of(experts)
            if digest is None:
                raise ConfigError(f"file not found: {experts}", param="experts")
            allowance = Allowance(tolerance, dict(map(_allowed, allow or ())))
            benches = compare_benches(read_benches(bench_in_use or ()), read_benches(bench or ()), allowance)
            allowance.check([*NAMES, *(figure.name for figure in benches)])
            against = in_use or (to if to.exists() else _shipped(model))
            load = partial(loaded, model)
            figures = [*compare(console, load, experts, against, evaluation, longest, allowance, seed), *benches]
            console.print(table(figures, str(against or "untrained experts"), str(experts)))
            entry = promoted.promote(experts, digest, reason_for(figures, force), list(map(fact_of, figures)))
    except ConfigError as error:
        sys.exit(f"error: {error}")
    now = f"{to.resolve()} ({entry.digest[:DIGITS]})" if entry.digest else "the shipped experts"
    console.print(f"{entry.what}: {now}; the platform uses them from its next start", soft_wrap=True, highlight=False)


def reason_for(figures: Sequence[Figure], force: str | None) -> str:
    """Reason for a promotion, for the log.

    Raises:
        ConfigError: a figure is worse, and ``force`` is not given.
    """
    worse = [figure.name for figure in figures if figure.verdict is Verdict.WORSE]
    if worse and not force:
        raise ConfigError(
            f"not promoted: the new experts are worse in {', '.join(worse)}; use --force REASON to promote them anyway"
        )
    return f"forced: {force}" if force else "no figure is worse"


def compare(
    console: Console,
    load: Load,
    experts: Path,
    against: Path | None,
    evaluation: Path,
    longest: int,
    allowance: Allowance,
    seed: int,
) -> list[Figure]:
    """Scores new experts and those to compare with (``against``) on held-out conversations.

    Raises:
        ConfigError: experts or conversations can't be read.
    """
    with console.status("loading the model"):
        model = load(against)
    rows, bad = read_held_out(evaluation, model.chat, longest)
    for each in bad[:SHOWN]:
        console.print(f"skipped: {each}", style="yellow", markup=False)
    console.print(f"{evaluation}: {len(rows):,} conversations" + (f", {len(bad):,} skipped" if bad else ""))
    old = _scored(console, "in use", model, rows)
    del model  # both at once may not fit into memory
    with console.status("loading the model"):
        model = load(experts)
    return compare_answers(old, _scored(console, "new", model, rows), allowance, seed)


def table(figures: Sequence[Figure], old: str, new: str) -> Table:
    """Table of the figures with their verdicts."""
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


def _shipped(model: str) -> Path | None:
    return SHIPPED[model].path if model in SHIPPED else None


def loaded(model: str, experts: Path | None) -> LoadedModel:
    """An embedded model with these experts, in bfloat16; None: untrained ones."""
    return load_model(ModelConfig(model, dtype="bfloat16", experts=str(experts) if experts else None))


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
        raise ConfigError(
            f"--allow must be NAME=WORSE, such as loss_text=0.05; it is {text!r}", param="allow"
        ) from None


def fact_of(figure: Figure) -> dict[str, Any]:
    """A figure for the log."""
    return {**asdict(figure), "verdict": figure.verdict}
