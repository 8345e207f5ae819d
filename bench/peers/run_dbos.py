"""A plain agent loop on DBOS (`bench.peers.stepping`), with one mode, ``durable``.

The loop is a workflow; each answer of the model and each tool call is a step. The database is SQLite in WAL mode with
SQLite's default synchronous=FULL; DBOS would use the rollback journal, which is slower. DBOS stores results of steps,
not messages, so the loop's history is in memory.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import Mapping
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dbos import DBOS

from bench.peers.protocol import Answer, Task, serve
from bench.peers.stepping import ANSWER, ARGUMENT, QUESTION, TOOL, Load, Orders, timed

_load = Load(0, 0, 0)
_orders = Orders()


@DBOS.step()
async def ask(step: int) -> dict[str, Any]:
    """A model that answers at once."""
    calls = [{"name": TOOL, "arguments": {ARGUMENT: number}} for number in _load.numbers(step)]
    return {"role": "assistant", "content": "" if calls else ANSWER, "calls": calls}


@DBOS.step()
async def perform(name: str, arguments: dict[str, Any]) -> str:
    return await _orders.look_up(**arguments)


@DBOS.workflow()
async def loop(question: str) -> str:
    messages: list[dict[str, Any]] = [{"role": "user", "content": question}]
    for step in range(_load.steps):
        answer = await ask(step)
        messages.append(answer)
        if not answer["calls"]:
            break
        results = await asyncio.gather(*(perform(**call) for call in answer["calls"]))
        messages += [{"role": "tool", "content": result} for result in results]
    return str(messages[-1]["content"])


class Dbos:
    def __init__(self, options: Mapping[str, Any]) -> None:
        self._folder = Path(options["folder"])

    def settings(self, task: Task) -> list[dict[str, Any]]:
        return [{}]

    def about(self) -> Answer:
        return {"version": f"dbos {version('dbos')}"}

    def steps(self, mode: str, runs: int, steps: int, calls: int) -> Answer:
        global _load
        _load = Load(runs, steps, calls)
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            return asyncio.run(_steps(Path(folder) / "system.db"))


async def _steps(database: Path) -> Answer:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    DBOS(config={"name": "bench", "system_database_url": f"sqlite:///{database}", "run_admin_server": False})
    DBOS.launch()
    try:
        return await timed(_load, lambda: loop(QUESTION), _orders, database)
    finally:
        DBOS.destroy()


if __name__ == "__main__":
    serve(Dbos)
