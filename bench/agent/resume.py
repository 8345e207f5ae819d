"""Measures how soon a run resumes after the only worker was killed, with worker processes on a SQLite journal."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from agent.project.agent_spec import Limits
from agent.run.journal import Journal
from agent.serve.home import open_home
from agent.serve.http_server import running
from agent.store import sql_journal
from bench.agent.instant import instant
from bench.engine.contest import Told
from bench.errors import BenchError
from bench.peers.stepping import INSTRUCTIONS, MODEL, QUESTION, TOOL, Load
from flightloop.events import CallsDecided, RunCreated, RunEvent, ToolIntent, ToolResult
from flightloop.runs import Run

AGENT = "clerk"
STEPS = 1_000
"""Steps of the run: more than it completes during the measurement."""
BEFORE = 10
"""Steps before the worker is killed."""
POLL_S = 0.002
"""Polling interval of the journal, and thus the error of the measured times."""
TIMEOUT_S = 120.0
WORK = (CallsDecided, ToolIntent, ToolResult)
TOOLS = f'''
from flightloop import tool

@tool(effect="pure")
def {TOOL}(number: int) -> str:
    """Looks up an order."""
    return f"order {{number}}: shipped"
'''


@dataclass(frozen=True)
class Resumed:
    """Seconds from the second worker's exec to the next event in the journal, and to the next decision or tool call."""

    event: float
    work: float


async def resume(folder: Path, repetitions: int, told: Told) -> list[Resumed]:
    """Kills a worker in the middle of a run and starts another one, several times.

    Args:
        folder: folder for projects and databases, on the disk to measure.
        repetitions: number of kills, each with a run and a journal of its own.
        told: called with the current activity.

    Raises:
        BenchError: a worker wrote no event for two minutes; the message includes the end of its log.
    """
    found = []
    async with running(instant(Load(1, STEPS, 1))) as url:
        for number in range(1, repetitions + 1):
            told(f"killing worker {number} of {repetitions}")
            with tempfile.TemporaryDirectory(dir=folder) as home, tempfile.TemporaryDirectory() as project:
                found.append(await _once(Path(home), Path(project), url))
    return found


async def _once(home: Path, project: Path, model_url: str) -> Resumed:
    (project / "agents").mkdir()
    (project / "tools.py").write_text(TOOLS)
    limits = Limits(steps=STEPS, tokens=10**9, seconds=3600)
    spec = {"name": AGENT, "instructions": INSTRUCTIONS, "tools": [TOOL], "planning": False}
    (project / "agents" / f"{AGENT}.yaml").write_text(yaml.safe_dump({**spec, "budget": limits.model_dump()}))
    open_home(home)  # before the journal exists: a home that contains one may belong to somebody else
    settings = {"HOME": home, "PROJECT": project, "MODEL_URL": model_url, "MODEL_NAME": MODEL}
    journal = sql_journal(f"sqlite:///{home / 'flightloop.db'}", poll_s=POLL_S)
    try:
        wanted = {"agent": AGENT, "session_id": AGENT, "input": QUESTION, "budget": limits.budget()}
        run = (await journal.create(RunCreated.model_validate(wanted))).run
        async with _worker(settings, home / "first.log"):
            while run.usage.steps < BEFORE:
                await _next(journal, run, home / "first.log")
                run = await journal.get(run.tenant_id, run.id)
        run = await journal.get(run.tenant_id, run.id)
        began = time.perf_counter()
        async with _worker(settings, home / "second.log"):
            await _next(journal, run, home / "second.log")
            event = time.perf_counter() - began
            while not any(isinstance(each, WORK) for each in await _since(journal, run)):
                await _next(journal, await journal.get(run.tenant_id, run.id), home / "second.log")
            return Resumed(event, time.perf_counter() - began)
    finally:
        await journal.close()


async def _next(journal: Journal, run: Run, log: Path) -> None:
    """Waits for a new event of the run."""
    if not await journal.wait(run.id, run.last_seq, TIMEOUT_S):
        raise _idle(log)


def _idle(log: Path) -> BenchError:
    lines = log.read_text(errors="replace").splitlines()
    return BenchError("\n".join([f"the worker did nothing for {TIMEOUT_S:.0f} s; its log ends:", *lines[-15:]]))


async def _since(journal: Journal, run: Run) -> list[RunEvent]:
    return await journal.events(run.tenant_id, run.id, run.last_seq)


@asynccontextmanager
async def _worker(settings: dict[str, object], log: Path) -> AsyncIterator[None]:
    """Runs a worker process, and kills it with SIGKILL on exit."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FLIGHTLOOP_")}
    environment = {**kept, **{f"FLIGHTLOOP_{name}": str(value) for name, value in settings.items()}}
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "agent", "worker"), env=environment, stdout=output, stderr=output
        )
    try:
        yield
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
