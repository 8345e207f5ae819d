"""A run that somebody stops leaves no tool at work: cancelled, interrupted, or stopped with everything else."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from agent.testing.model_server import ScriptedAnswer, ScriptedServer
from flightloop import AsyncFlightloop
from flightloop.events import RunEnded, ToolIntent, ToolResult
from flightloop.runs import Run, RunStatus
from tests.postgres import Postgres
from tests.security.platforms import alive, environment, standalone

PROMPTLY_S = 5.0
"""It takes half a second. The tools of these tests would go on for a minute, ``run_python`` for ten seconds."""

TOOLS = '''
import time
from flightloop import tool

@tool(effect="unsafe", timeout_s=60)
def hang() -> str:
    """Sleeps."""
    time.sleep(60)
    return "slept"

@tool(effect="unsafe", timeout_s=60)
def spin() -> str:
    """Works and works, whatever it is asked."""
    import signal
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        pass
    return "spun"
'''
AGENT = "name: {name}\ninstructions: Help.\nplanning: false\ntools: [{tools}]\nagents: [{agents}]\npolicy: open\n"
POLICY = "name: open\nversion: 1\ntools: {allow: {'*': [hang, spin, run_python, ask_below]}}\n"
LOOP = "import time\nwhile True: time.sleep(0.1)"


def project(folder: Path) -> Path:
    for name in ("agents", "policies"):
        (folder / name).mkdir(parents=True)
    (folder / "tools.py").write_text(TOOLS)
    (folder / "policies" / "open.yaml").write_text(POLICY)
    tools = "hang, spin, run_python"
    (folder / "agents" / "above.yaml").write_text(AGENT.format(name="above", tools=tools, agents="below"))
    (folder / "agents" / "below.yaml").write_text(AGENT.format(name="below", tools=tools, agents=""))
    return folder


def call(tool: str, **arguments: str) -> ScriptedAnswer:
    return ScriptedAnswer(calls=[{"name": tool, "arguments": json.dumps(arguments)}])


@dataclass
class Stopping:
    """``worker`` is the id of the run that calls the tool, ``processes`` are those of the platform's hosts."""

    client: AsyncFlightloop
    run: Run
    worker: str
    processes: Sequence[psutil.Process]

    async def ended(self) -> Run:
        """The run that called the tool, once it has ended: which it does only when its tool's host is gone."""
        run = await self.client.runs.wait(self.worker, timeout_s=PROMPTLY_S)
        assert len(alive(list(self.processes))) < len(self.processes)
        return run


@asynccontextmanager
async def at_work(folder: Path, *answers: ScriptedAnswer, **settings: str) -> AsyncIterator[Stopping]:
    """A platform whose model gives the answers, the last of which calls a tool: until that is at work."""
    async with ScriptedServer(*answers, ScriptedAnswer(text="done")).serving() as url:
        own = {"FLIGHTLOOP_MODEL_URL": url, "FLIGHTLOOP_PROJECT": str(project(folder / "project"))}
        async with (
            standalone(environment(folder, **own, **settings)) as platform,
            AsyncFlightloop(platform.url, platform.key) as client,
        ):
            run = await client.runs.create(agent="above", input="go")
            worker = await performing(client, run.id, answers[-1].calls[0]["name"])
            yield Stopping(client, run, worker, platform.children())


async def performing(client: AsyncFlightloop, run_id: str, tool: str) -> str:
    """The run that the tool works for: this one, or one that works for it."""
    async for event in client.runs.stream(run_id):
        if isinstance(event, ToolIntent) and event.performed_by:
            return await performing(client, event.performed_by, tool)
        if isinstance(event, ToolIntent) and event.tool == tool:
            return run_id
    raise AssertionError(f"{tool} was not called")


@pytest.mark.parametrize("tool", ["hang", "spin", "run_python"])
@pytest.mark.slow
async def test_cancelled(tmp_path: Path, tool: str) -> None:
    arguments = {"code": LOOP} if tool == "run_python" else {}
    async with at_work(tmp_path, call(tool, **arguments)) as stopping:
        await stopping.client.runs.cancel(stopping.run.id)
        assert (await stopping.ended()).status is RunStatus.CANCELLED
        events = [event async for event in stopping.client.runs.stream(stopping.run.id)]
        assert [event.error for event in events if isinstance(event, ToolResult)] == ["the call was stopped"]
        assert isinstance(events[-1], RunEnded)


@pytest.mark.slow
async def test_interrupted(tmp_path: Path) -> None:
    async with at_work(tmp_path, call("spin")) as stopping:
        await stopping.client.runs.interrupt(stopping.run.id)
        assert (await stopping.ended()).status is RunStatus.INTERRUPTED


@pytest.mark.slow
async def test_stopped_with_everything(tmp_path: Path) -> None:
    async with at_work(tmp_path, call("spin")) as stopping:
        await stopping.client.interrupts.create(reason="drill")
        assert (await stopping.ended()).status is RunStatus.INTERRUPTED


@pytest.mark.slow
@pytest.mark.any_user
async def test_a_tool_of_a_run_that_works_for_the_cancelled_one(tmp_path: Path) -> None:
    async with at_work(tmp_path, call("ask_below", task="go"), call("hang")) as stopping:
        assert stopping.worker != stopping.run.id
        await stopping.client.runs.cancel(stopping.run.id)
        assert (await stopping.ended()).status is RunStatus.CANCELLED


@pytest.mark.slow
@pytest.mark.any_user
async def test_cancelled_on_postgresql(tmp_path: Path, server: Postgres) -> None:
    async with at_work(tmp_path, call("hang"), FLIGHTLOOP_DATABASE_URL=server.database()) as stopping:
        await stopping.client.runs.cancel(stopping.run.id)
        assert (await stopping.ended()).status is RunStatus.CANCELLED
