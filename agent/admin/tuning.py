"""``python -m agent tune``: trains the model on a project's own tools, and puts the experts in use if no worse.

The experts in use are trained further, on rows of the project's talks, lessons and good runs, mixed with composed
conversations about other tools, so that the model doesn't forget the rest. Held-out rows of both kinds decide.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from agent.admin.export import Wanted, export_runs, write_private
from agent.admin.lessons import write_lessons
from agent.admin.talks import talk_rows
from agent.config import Settings
from agent.lessons.project_lessons import CASES
from agent.project.project import EMBEDDED as EXAMPLE
from agent.serve.factories import read_project
from agent.serve.home import open_home
from flightloop import private
from flightloop.errors import ConfigError
from model.config import EMBEDDED, STANDARD, promoted_experts
from model.tuner.bar import fit_with_bar, reported
from model.tuner.compose.compose import compose
from model.tuner.compose.family import read_all
from model.tuner.examples import read
from model.tuner.gate.command import WIDTH, compare, fact_of, loaded, reason_for, table
from model.tuner.gate.figure import Allowance, Figure, Verdict
from model.tuner.gate.promotions import PromotedExperts, digest_of
from model.tuner.tuner import Recipe, Tuner

NOTE, TRAIN, PROJECT, GENERAL = "tuning.json", "train.jsonl", "project.jsonl", "general.jsonl"
"""What is tuned, rows to train on, and held-out rows about the project's tools and about other ones."""
HELD_OUT = 8
"""Every so many-th conversation of the project isn't trained on."""
OTHERS = 0.5
"""Composed conversations about other tools, for each row of the project."""
LONGEST = 4096
"""Most tokens of a row. Prompts with an agent's examples are longer than composed conversations."""
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
        ConfigError: the model has no experts to train, or others than those in the home are set; the project has
            too few lessons and good runs; ``wish.out`` belongs to another tuning; or the new experts are worse than
            those in use, or can't be compared with them.
    """
    model = settings.model or STANDARD
    if model not in EMBEDDED:
        raise ConfigError(f"only an embedded model ({', '.join(EMBEDDED)}) has experts to train, not {model}")
    if settings.model_experts or settings.model_lora:
        raise ConfigError(
            "the platform would not use new experts: unset FLIGHTLOOP_MODEL_EXPERTS and FLIGHTLOOP_MODEL_LORA"
        )
    open_home(settings.home)
    begun, level = settings.experts, settings.call_confidence
    _begin(settings, model, begun, wish)
    if not (wish.out / GENERAL).exists():  # it is written last
        await _write_rows(settings, wish, tell)
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    experts = _train(console, model, begun, wish)
    figures = {name: _figures(console, model, begun, experts, wish, name) for name in (PROJECT, GENERAL)}
    both = [figure for of in figures.values() for figure in of]
    console.print(table(both, str(begun or "untrained experts"), str(experts)))
    for name, of in figures.items():
        if not wish.force and all(figure.verdict is Verdict.OPEN for figure in of):
            raise ConfigError(
                f"not promoted: {wish.out / name} has too few usable rows to compare on; train on more lessons or runs"
                " in a new folder (--out), or use --force REASON"
            )
    used = settings.home / promoted_experts(model)
    PromotedExperts(used).promote(
        experts, digest_of(experts) or "", reason_for(both, wish.force), list(map(fact_of, both))
    )
    tell(f"promoted to {used}; the platform uses them from its next start ('promote --undo' takes them back)")
    if level and settings.model_call_confidence is None:
        tell(
            f"all their calls are made; those of less than {level:g} confidence were not. 'data"
            " confidence' finds a new level for FLIGHTLOOP_MODEL_CALL_CONFIDENCE"
        )


def _begin(settings: Settings, model: str, experts: Path | None, wish: Wish) -> None:
    """Writes into ``wish.out`` which tuning it belongs to. Raises ConfigError if it belongs to another one.

    A finished tuning is another one too, since its experts are in use.
    """
    own = {
        "model": model,
        "experts": digest_of(experts) if experts else None,
        "project": str((settings.project or EXAMPLE).resolve()),
        "lessons": wish.lessons,
        "tenant": wish.tenant,
        "seed": wish.seed,
    }
    private.folder(wish.out)
    note = wish.out / NOTE
    if not note.exists():
        write_private(note, [own])
        return
    [there] = _read(note)
    other = [name for name, value in own.items() if there.get(name) != value]
    if other:
        raise ConfigError(
            f"{wish.out} has a tuning with other {', '.join(other)}; give a new folder (--out), or remove it"
        )


async def _write_rows(settings: Settings, wish: Wish, tell: Callable[[str], None]) -> None:
    runs, lessons = wish.out / "runs.jsonl", wish.out / "lessons.jsonl"
    await export_runs(settings, Wanted(wish.tenant), runs, None, tell)
    rows = [*_read(runs), *await talk_rows(read_project(settings), wish.seed)]
    if ((settings.project or EXAMPLE) / CASES).is_file():
        await write_lessons(settings, wish.lessons, wish.seed, lessons, True, tell, trusted=wish.trusted)
        rows += _read(lessons)
    groups = _groups(rows)
    if len(groups) < HELD_OUT:
        raise ConfigError(
            f"{len(groups)} conversations to train on are too few: write some in lessons/talks/AGENT.yaml"
            " (docs/tuning.md), or run the project's agents and rate the runs"
        )
    held_out = [row for group in groups[::HELD_OUT] for row in group]
    project = [row for place, group in enumerate(groups) if place % HELD_OUT for row in group]
    others = compose(read_all(), round(OTHERS * len(project)) + len(held_out), wish.seed)
    general = [next(others) for _ in held_out]
    write_private(wish.out / TRAIN, [*project, *others])
    write_private(wish.out / PROJECT, held_out)
    write_private(wish.out / GENERAL, general)
    tell(f"{len(project)} rows about the project's tools; {len(held_out)} more are held out")


def _groups(rows: Iterable[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Distinct rows, those of a conversation together: they begin with the same words of the user."""
    groups: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        said = next((json.dumps(each["content"]) for each in row["messages"] if each["role"] == "user"), "")
        groups.setdefault(said, {})[json.dumps(row)] = row
    return [list(group.values()) for group in groups.values()]


def _train(console: Console, model: str, experts: Path | None, wish: Wish) -> Path:
    recipe = replace(Recipe(), learning_rate=RATE, seed=wish.seed)
    with console.status("loading the model"):
        base = loaded(model, experts)
    learned = reported(console, wish.out / TRAIN, read(wish.out / TRAIN, base.chat, LONGEST, "skip"))
    held_out = reported(console, wish.out / PROJECT, read(wish.out / PROJECT, base.chat, LONGEST, "skip"))
    learner = Tuner(base.decoder, "supervised", wish.out, fused=True)
    [made] = fit_with_bar(console, learner, learned, held_out, wish.out, recipe)
    return made


def _figures(console: Console, model: str, old: Path | None, new: Path, wish: Wish, name: str) -> list[Figure]:
    load, allowance = partial(loaded, model), Allowance(0.01, {})
    figures = compare(console, load, new, old, wish.out / name, LONGEST, allowance, wish.seed)
    return [replace(figure, name=f"{Path(name).stem}_{figure.name}") for figure in figures]


def _read(path: Path) -> Iterator[dict[str, Any]]:
    # Not `splitlines`: what users wrote may contain other separators of lines.
    return map(json.loads, filter(None, path.read_text(encoding="utf-8").split("\n")))
