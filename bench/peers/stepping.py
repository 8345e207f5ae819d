"""Tasks of agent runtimes, and the run that all of them perform. Needs only the standard library.

A runtime is a script like every peer (`bench.peers.protocol`). Ours is one too, so that time is measured the same way.
All support the option ``folder`` for databases, and the tasks

========================  ==========================================================================================
``about``                 ``version``
``steps``, mode, runs,    ``cpu_seconds``, of all the process's threads; ``seconds``; ``steps`` taken; ``bytes`` that
steps, calls              the database has grown by, 0 without one. Runs are sequential, all in one new database
========================  ==========================================================================================

A run has ``steps`` steps: in each but the last, the model makes ``calls`` parallel calls of a tool; in the last it
answers. The model answers at once, and its answers depend only on the number of the step. The tool is a coroutine in
the runtime's own process. Everything shared by many runs (schemas, agents, connections) is created before the timing.
"""

from __future__ import annotations

import gc
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bench.peers.protocol import Answer

INSTRUCTIONS = "Look up every order, then answer."
QUESTION = "Where are my orders?"
ANSWER = "All orders are on their way."
TOOL, ARGUMENT = "look_up", "number"
DESCRIPTION = "Looks up an order."
MODEL = "instant"


@dataclass(frozen=True)
class Load:
    """Number of runs, of steps per run, and of calls per step except the last."""

    runs: int
    steps: int
    calls: int

    def numbers(self, step: int) -> range:
        """Arguments of the calls of a step, counted from 0; empty if the model answers."""
        return range(step * self.calls, (step + 1) * self.calls) if step < self.steps - 1 else range(0)


class Orders:
    """The tool, with the number of its calls."""

    def __init__(self) -> None:
        self.calls = 0

    async def look_up(self, number: int) -> str:
        """Looks up an order."""
        self.calls += 1
        return f"order {number}: shipped"


async def timed(load: Load, run: Callable[[], Awaitable[str]], orders: Orders, database: Path | None = None) -> Answer:
    """Performs and times the runs.

    Args:
        load: the number of runs and their size.
        run: performs one run and returns its answer.
        orders: the tool that the runs call.
        database: SQLite file that they write.

    Raises:
        RuntimeError: a run did less than requested.
    """
    before, called = _bytes(database), orders.calls
    gc.collect()  # garbage of earlier work doesn't count
    wall, cpu = time.perf_counter(), time.process_time()
    answers = [await run() for _ in range(load.runs)]
    seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    called = orders.calls - called
    if set(answers) != {ANSWER} or called != load.runs * (load.steps - 1) * load.calls:
        raise RuntimeError(f"{called} calls and then {answers[-1]!r} are not what was requested")
    steps, grown = load.runs * load.steps, _bytes(database) - before
    return {"cpu_seconds": cpu_seconds, "seconds": seconds, "steps": steps, "bytes": grown}


def _bytes(database: Path | None) -> int:
    """Bytes of the pages in use, after a checkpoint of the write-ahead log."""
    if database is None:
        return 0
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        used, free, size = (
            int(connection.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
    return (used - free) * size
