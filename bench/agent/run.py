"""``python -m bench agent`` compares our agent runtime with others, each in a process of its own."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bench.agent.field import Case, Field, Outcome
from bench.agent.page import figures
from bench.agent.resume import resume
from bench.agent.rows import rows
from bench.agent.subjects import PEERS
from bench.engine import machine
from bench.engine.contest import Told
from bench.engine.page import put
from bench.engine.run import described, heard
from bench.errors import BenchError
from bench.peers.environment import PeerError
from bench.rows import Row, median_row

PAGE = "runtime.md"
LENGTHS = (10, 50, 200, 1000)
CALLS = (1, 8)


@dataclass(frozen=True)
class Wish:
    """Options of the measurement.

    Attributes:
        against: programs to compare with; empty: only ours.
        lengths: lengths of runs, in steps.
        calls: numbers of parallel calls per step.
        rounds: rounds per subject and case.
        total: steps per round, in as many runs as needed.
        resumes: how often a worker is killed.
        docs: folder of the page to insert the figures into.
        folder: folder for databases; None: the system's temporary folder.
        stand_in: a program of `bench.peers` that replaces all others, for tests.
    """

    against: Collection[str] = PEERS
    lengths: Sequence[int] = LENGTHS
    calls: Sequence[int] = CALLS
    rounds: int = 5
    total: int = 400
    resumes: int = 5
    docs: Path | None = None
    folder: Path | None = None
    stand_in: str | None = None


QUICK = Wish(lengths=(10, 50), rounds=2, total=100, resumes=2)


def measure(console: Console, wish: Wish, done: Callable[[list[Row]], None] = lambda rows: None) -> list[Row]:
    """Runs the measurements. The first row describes the machine.

    Args:
        console: shows progress and warnings; a measurement that fails is reported and skipped.
        wish: what to measure.
        done: called with all rows so far after each case, since a run takes long and may be interrupted.

    Raises:
        BenchError: a peer is unknown, a run length is out of range, or the page lacks the marks for the figures.
    """
    _check(wish)
    facts, began = machine.describe(packages=("sqlalchemy", "pydantic")), time.perf_counter()
    console.print(facts, style="dim", highlight=False)
    loud = heard(console)
    outcomes: dict[Case, Outcome] = {}
    resumed: list[Row] = []
    found: list[Row] = []
    versions: dict[str, str] = {}

    def report() -> None:
        beside = [f"beside {version}" for program, version in versions.items() if program in wish.against]
        found[:] = [described(machine.cores(), [facts, *beside], loud), *resumed, *rows(outcomes)]
        done(found)

    with tempfile.TemporaryDirectory(prefix="flightloop-bench-", dir=wish.folder) as name, console.status("") as status:
        folder = Path(name)
        told = _teller(status.update, began)
        if wish.resumes:
            resumed += _resumed(folder, wish.resumes, told, console)
            report()
        with Field(folder, wish.against, wish.stand_in, told) as field:
            versions = field.versions
            try:
                for case in [Case(steps, calls) for calls in wish.calls for steps in wish.lengths]:
                    outcomes[case] = field.take(case, wish.total, wish.rounds)
                    report()
            except PeerError as error:
                console.print(f"our runtime was not measured: {error}", style="yellow", markup=False)
    loud = loud or heard(console)
    report()
    if wish.docs:
        put(wish.docs / PAGE, figures(found, outcomes))
    return found


def _check(wish: Wish) -> None:
    if unknown := sorted(set(wish.against) - set(PEERS)):
        raise BenchError(f"unknown peer {unknown[0]!r}; choose from {', '.join(PEERS)}, or none")
    if bad := [steps for steps in wish.lengths if not 2 <= steps <= max(LENGTHS)]:
        raise BenchError(f"a run must have 2 to {max(LENGTHS)} steps, not {bad[0]}")


def _resumed(folder: Path, repetitions: int, told: Told, console: Console) -> list[Row]:
    try:
        times = asyncio.run(resume(folder, repetitions, told))
    except BenchError as error:
        console.print(f"resume_seconds was not measured: {error}", style="yellow", markup=False)
        return []
    return [
        median_row("resume_seconds", [each.event for each in times], "s", higher_is_better=False),
        median_row("resume_work_seconds", [each.work for each in times], "s", higher_is_better=False),
    ]


def _teller(show: Callable[[str], None], began: float) -> Told:
    def told(what: str) -> None:
        minutes, seconds = divmod(round(time.perf_counter() - began), 60)
        show(f"{what} ({minutes}:{seconds:02d})")

    return told
