"""``python -m bench tuner`` compares our tuner with transformers and peft, each in a process of its own."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bench.engine import machine
from bench.engine.contest import OURS, Told
from bench.engine.page import fill
from bench.engine.run import described, heard
from bench.errors import BenchError
from bench.peers.checkpoint import dense_checkpoint
from bench.peers.environment import PeerError
from bench.peers.training import write
from bench.rows import Row
from bench.tuner.duel import DUELS, WARM_STEPS, Outcome
from bench.tuner.ring import Ring
from bench.tuner.rows import rows
from bench.tuner.workload import lessons
from model.chat.compact import CompactChat
from model.weights.tiny import embedded_tokenizer

PAGE = "tuning.md"


@dataclass(frozen=True)
class Wish:
    """Options of the measurement.

    Attributes:
        against: names of duels; empty: only ours.
        steps: steps per round.
        rounds: rounds per trainer and duel.
        step_tokens: maximum number of tokens per step.
        threads: threads of every trainer; None: one per processor.
        docs: folder of the page to insert the figures into.
        ours, other: programs of `bench.peers`.
        seed: seed of the rows.
    """

    against: Collection[str] = tuple(DUELS)
    steps: int = 2
    rounds: int = 5
    step_tokens: int = 4096
    threads: int | None = None
    docs: Path | None = None
    ours: str = "tuner"
    other: str = "peft"
    seed: int = 0


def measure(console: Console, wish: Wish, done: Callable[[list[Row]], None] = lambda rows: None) -> list[Row]:
    """Runs the duels. The first row describes the machine.

    Args:
        console: shows progress and warnings; a measurement that fails is reported and skipped.
        wish: what to measure.
        done: called with all rows so far after each duel, since a run takes long and may be interrupted.

    Raises:
        BenchError: a duel is unknown, or the page lacks the marks for the figures.
        ConfigError: the embedded model isn't installed.
    """
    if unknown := sorted(set(wish.against) - set(DUELS)):
        raise BenchError(f"unknown duel {unknown[0]!r}; choose from {', '.join(DUELS)}, or none")
    facts, threads = machine.describe(), wish.threads or machine.cores()
    console.print(facts, style="dim", highlight=False)
    loud, began = heard(console), time.perf_counter()
    found: list[Row] = []
    outcomes: dict[str, Outcome] = {}

    def report(loud: str | None) -> None:
        sides = [pair for outcome in outcomes.values() for pair in outcome.sides.items()]
        others = {f"beside {side.about['version']}" for name, side in sides if name != OURS}
        found[:] = [described(threads, [facts, *sorted(others)], loud), *rows(outcomes)]
        done(found)

    with tempfile.TemporaryDirectory(prefix="flightloop-bench-") as folder, console.status("composing rows") as status:

        def told(what: str) -> None:
            minutes, seconds = divmod(round(time.perf_counter() - began), 60)
            status.update(f"{what} ({minutes}:{seconds:02d})")

        ring = _ring(wish, Path(folder), threads, told)
        for recompute in (False, True):
            names = [name for name in wish.against if DUELS[name].recompute == recompute]
            if not names and (recompute or wish.against):
                continue
            try:
                for name, outcome in ring.duels(names, recompute=recompute):
                    outcomes[name] = outcome
                    report(loud)
            except PeerError as error:
                console.print(f"our tuner was not measured: {error}", style="yellow", markup=False)
    report(loud or heard(console))
    if wish.docs:
        fill(wish.docs / PAGE, found)
    return found


def _ring(wish: Wish, folder: Path, threads: int, told: Told) -> Ring:
    """A ring with its own folder for rows and compiler caches."""
    steps = WARM_STEPS + wish.steps * (wish.rounds + 1)
    write(folder / "rows.jsonl", lessons(steps * wish.step_tokens, wish.seed, CompactChat(embedded_tokenizer())))
    return Ring(
        wish.ours,
        wish.other,
        options={"rows": folder / "rows.jsonl", "step_tokens": wish.step_tokens, "threads": threads},
        others={"model": dense_checkpoint("bfloat16")} if wish.other == Wish.other else {},
        environment={"TORCHINDUCTOR_CACHE_DIR": str(folder / "compiled")},
        steps=wish.steps,
        rounds=wish.rounds,
        told=told,
    )
