"""A worker that kills its own process at a named point; run as a program by test_recovery.

    crashing.py DATABASE LEDGER POINT EFFECT

Points: ``before`` and ``after`` the tool's effect, and ``model``: within the second answer.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from opentelemetry.sdk.trace import TracerProvider

from agent.deltas import LocalDeltas
from agent.fakes import LocalHosts, RuleGuard, ScriptedChatModel, calls, text
from agent.kits import Kit
from agent.spec import AgentSpec
from agent.store import sql_journal
from agent.store.interrupts import reader
from agent.worker import Worker, WorkerConfig
from flightloop.tool import Tool, ToolContext, tool, tool_of
from guardrails.interrupt import InterruptWatch
from observability.tracing import Tracing


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def charging(ledger: Path, effect: str, point: str) -> Tool:
    """A tool that notes each attempt and each effect; keyed and transactional ones act once a key."""

    @tool(effect=effect)
    def charge(context: ToolContext) -> str:
        """Charges a card."""
        note(f"attempt {context.key}")
        if point == "before":
            die()
        if effect not in ("keyed", "transactional") or f"applied {context.key}" not in ledger.read_text():
            note(f"applied {context.key}")
        if point == "after":
            die()
        return "charged"

    def note(line: str) -> None:
        with ledger.open("a") as file:
            file.write(line + "\n")

    declared = tool_of(charge)
    assert declared is not None
    return declared


class Kits:
    def __init__(self, tool: Tool) -> None:
        self.hosts = LocalHosts([tool])

    @asynccontextmanager
    async def using(self, agent: str) -> AsyncIterator[Kit]:
        spec = AgentSpec(name="helper", instructions="Help.", tools=("charge",), planning=False)
        yield Kit(spec, RuleGuard(), self.hosts)


async def work(database: str, ledger: Path, point: str, effect: str, *, left: int = 2) -> ScriptedChatModel:
    """Drives the only run of the database with the last ``left`` answers of the script until it has ended."""

    async def at_the_model() -> None:
        die()

    second = [*text("Charged.")]
    if point == "model":
        second.insert(0, at_the_model())
    model = ScriptedChatModel([calls(("charge", {})), second][-left:])
    journal = sql_journal(database, poll_s=0.01)
    (run,) = (await journal.runs("default")).data
    worker = Worker(
        journal,
        Kits(charging(ledger, effect, point)),  # type: ignore[arg-type]
        model,
        "fake",
        InterruptWatch(reader(database), 60.0),
        LocalDeltas(),
        Tracing(TracerProvider(shutdown_on_exit=False)),
        ledger.parent,
        config=WorkerConfig(lease_s=0.5, poll_s=0.01),
    )
    task = asyncio.create_task(worker.run())
    while not run.status.terminal:
        await journal.wait(run.id, run.last_seq, 60)
        run = await journal.get("default", run.id)
    worker.drain()
    await task
    await journal.close()
    return model


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4]))
