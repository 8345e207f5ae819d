"""LangGraph's prebuilt agent (`bench.peers.stepping`), with its own savers for the state.

=========  =========================================================================================================
mode       what it runs with
=========  =========================================================================================================
``sync``   AsyncSqliteSaver (WAL, and SQLite's default of synchronous=FULL), each step waits for its state to be written
``async``  the same, written while the next step begins
``memory`` no saver
=========  =========================================================================================================
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from bench.peers.protocol import Answer, Task, serve
from bench.peers.stepping import ANSWER, ARGUMENT, INSTRUCTIONS, MODEL, QUESTION, TOOL, Load, Orders, timed

FIRST = 2
"""Messages of the first prompt."""


class Instant(BaseChatModel):
    """A model that answers at once."""

    load: Any

    @property
    def _llm_type(self) -> str:
        return MODEL

    def bind_tools(self, tools: Any, **options: Any) -> Any:
        return self

    def _generate(self, *given: Any, **options: Any) -> ChatResult:
        raise NotImplementedError("the agent asks asynchronously")

    async def _agenerate(self, messages: Any, *given: Any, **options: Any) -> ChatResult:
        step = (len(messages) - FIRST) // (1 + self.load.calls)
        calls = [
            {"name": TOOL, "args": {ARGUMENT: number}, "id": f"call_{number}"} for number in self.load.numbers(step)
        ]
        message = AIMessage(content="" if calls else ANSWER, tool_calls=calls)
        return ChatResult(generations=[ChatGeneration(message=message)])


class LangGraph:
    """LangGraph. Modes are those of the table."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._folder = Path(options["folder"])

    def settings(self, task: Task) -> list[dict[str, Any]]:
        return [{}]

    def about(self) -> Answer:
        return {"version": f"langgraph {version('langgraph')}"}

    def steps(self, mode: str, runs: int, steps: int, calls: int) -> Answer:
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            return asyncio.run(_steps(Path(folder), mode, Load(runs, steps, calls)))


async def _steps(folder: Path, mode: str, load: Load) -> Answer:
    orders, database = Orders(), None if mode == "memory" else folder / "state.db"

    @tool(TOOL)
    async def look_up(number: int) -> str:
        """Looks up an order."""
        return await orders.look_up(number)

    async with AsyncExitStack() as stack:
        saver = await stack.enter_async_context(AsyncSqliteSaver.from_conn_string(str(database))) if database else None
        if saver is not None:
            await saver.setup()
        agent = create_agent(Instant(load=load), [look_up], system_prompt=INSTRUCTIONS, checkpointer=saver)
        durability = {} if saver is None else {"durability": mode}

        async def run() -> str:
            config = {"configurable": {"thread_id": uuid4().hex}, "recursion_limit": 4 * load.steps}
            asked = {"messages": [{"role": "user", "content": QUESTION}]}
            state = await agent.ainvoke(asked, config, **durability)
            return str(state["messages"][-1].content)

        return await timed(load, run, orders, database)


if __name__ == "__main__":
    serve(LangGraph)
