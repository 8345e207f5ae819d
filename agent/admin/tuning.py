"""``python -m agent tune``: trains the model on a project's own tools, and puts the experts in use if no worse.

The experts in use are trained further, on rows of the project's lessons and good runs, mixed with composed
conversations about other tools, so that the model doesn't forget the rest. Held-out rows of both kinds decide.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from agent.admin.export import Wanted, export_runs
from agent.admin.lessons import write_lessons
from agent.config import Settings
from agent.lessons.project_lessons import FOLDER
from agent.project.project import EMBEDDED as EXAMPLE
from agent.serve.home import open_home
from flightloop import private
from flightloop.errors import ConfigError
from model.config import EMBEDDED, STANDARD, ModelConfig, promoted_experts
from model.tuner.bar import fit_with_bar, reported
from model.tuner.compose.compose import compose
from model.tuner.compose.family import read_all
from model.tuner.examples import read
from model.tuner.gate.command import WIDTH, compare, reason_for, table
from model.tuner.gate.figure import Allowance, Figure, Verdict
from model.tuner.gate.shelf import Shelf, digest_of
from model.tuner.tuner import Recipe, Tuner
from model.weights.load import load_model

TRAIN, PROJECT, GENERAL = "train.jsonl", "project.jsonl", "general.jsonl"
"""Rows to train on, and held-out rows about the project's tools and about other ones."""
HELD_OUT = 8
"""Every so many-th row of the project isn't trained on."""
OTHERS = 0.5
"""Composed conversations about other tools, for each row of the project."""
LONGEST = 4096
RATE = 1e-4
"""Peak learning rate: lower than for untrained experts, whose training this continues."""


@dataclass(frozen=True)
class Wish:
    """What to train, and on how much.

    Attributes:
        out: folder for rows, checkpoint and new experts. The same command continues there after an interruption.
        lessons: rows of the project's lessons, if it has lessons.
        tenant: whose good runs are used.
        seed: seed of lessons, composed conversations and their order.
        force: reason to use the new experts even if they are worse.
        trusted: whether a project other than the example may run its lessons' code in this process.
    """

    out: Path
    lessons: int = 400
    tenant: str = "default"
    seed: int = 0
    force: str | None = None
    trusted: bool = False


async def tune_project(settings: Settings, wish: Wish, tell: Callable[[str], None]) -> None:
    """Makes the rows, trains, compares and promotes.

    Raises:
        ConfigError: the model has no experts to train, the project has neither lessons nor good runs, or the new
            experts are worse.
    """
    model = settings.model or STANDARD
    if model not in EMBEDDED:
        raise ConfigError(f"only an embedded model ({', '.join(EMBEDDED)}) has experts to train, not {model}")
    open_home(settings.home)
    private.folder(wish.out)
    if not (wish.out / GENERAL).exists():  # it is written last
        await _write_rows(settings, wish, tell)
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    experts = _train(console, model, settings.experts, wish)
    figures = _figures(console, model, settings.experts, experts, wish)
    console.print(table(figures, str(settings.experts or "untrained experts"), str(experts)))
    if not wish.force and all(figure.verdict is Verdict.OPEN for figure in figures):
        raise ConfigError(
            f"not promoted: {len([*_read(wish.out / PROJECT)])} held-out rows are too few to compare on; train with"
            " more lessons or runs in a new folder, or use --force REASON"
        )
    used = settings.home / promoted_experts(model)
    facts = [{**asdict(figure), "verdict": figure.verdict} for figure in figures]
    Shelf(used).promote(experts, digest_of(experts) or "", reason_for(figures, wish.force), facts)
    tell(f"promoted to {used}; the platform uses them from its next start ('promote --undo' takes them back)")


async def _write_rows(settings: Settings, wish: Wish, tell: Callable[[str], None]) -> None:
    runs, lessons = wish.out / "runs.jsonl", wish.out / "lessons.jsonl"
    await export_runs(settings, Wanted(wish.tenant), runs, None, tell)
    rows = [*_read(runs)]
    if ((settings.project or EXAMPLE) / FOLDER).is_dir():
        await write_lessons(settings, wish.lessons, wish.seed, lessons, True, tell, trusted=wish.trusted)
        rows += _read(lessons)
    distinct = list({json.dumps(row): row for row in rows}.values())
    if len(distinct) < HELD_OUT:
        raise ConfigError(
            f"{len(distinct)} rows to train on are too few: write lessons/cases.py for the project (docs/tuning.md),"
            " or run its agents and rate the runs"
        )
    held_out = distinct[::HELD_OUT]
    project = [row for place, row in enumerate(distinct) if place % HELD_OUT]
    others = compose(read_all(), round(OTHERS * len(project)) + len(held_out), wish.seed)
    general = [next(others) for _ in held_out]
    _write(wish.out / TRAIN, [*project, *others])
    _write(wish.out / PROJECT, held_out)
    _write(wish.out / GENERAL, general)
    tell(f"{len(project)} rows about the project's tools; {len(held_out)} more are held out")


def _train(console: Console, model: str, experts: Path | None, wish: Wish) -> Path:
    recipe = replace(Recipe(), learning_rate=RATE, seed=wish.seed)
    with console.status("loading the model"):
        base = load_model(_config(model, experts))
    learned = reported(console, wish.out / TRAIN, read(wish.out / TRAIN, base.chat, LONGEST, "skip"))
    held_out = reported(console, wish.out / PROJECT, read(wish.out / PROJECT, base.chat, LONGEST, "skip"))
    learner = Tuner(base.decoder, "supervised", wish.out, fused=True)
    [made] = fit_with_bar(console, learner, learned, held_out, wish.out, recipe)
    return made


def _figures(console: Console, model: str, old: Path | None, new: Path, wish: Wish) -> list[Figure]:
    def load(experts: Path | None) -> Any:
        return load_model(_config(model, experts))

    measured = partial(compare, console, load, new, old)
    found: list[Figure] = []
    for name in (PROJECT, GENERAL):
        figures = measured(wish.out / name, LONGEST, Allowance(0.01, {}), wish.seed)
        found += [replace(figure, name=f"{Path(name).stem}_{figure.name}") for figure in figures]
    return found


def _config(model: str, experts: Path | None) -> ModelConfig:
    return ModelConfig(model, dtype="bfloat16", experts=str(experts) if experts else None)


def _read(path: Path) -> Iterator[dict[str, Any]]:
    return map(json.loads, path.read_text(encoding="utf-8").splitlines())


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with open(path, "w", encoding="utf-8", opener=private.opener) as file:  # contains what users wrote
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
