"""Pydantic AI's agent (`bench.peers.stepping`). It stores nothing, so the only mode is ``memory``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from pydantic_ai import Agent, Tool
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models import Model
from pydantic_ai.usage import UsageLimits

from bench.peers.protocol import Answer, Task, serve
from bench.peers.stepping import ANSWER, ARGUMENT, DESCRIPTION, INSTRUCTIONS, MODEL, QUESTION, TOOL, Load, Orders, timed


class Instant(Model):
    """A model that answers at once. The library's own fake counts the words of the whole history at each step."""

    def __init__(self, load: Load) -> None:
        super().__init__()
        self._load = load

    @property
    def model_name(self) -> str:
        return MODEL

    @property
    def system(self) -> str:
        return MODEL

    async def request(self, messages: Any, *given: Any, **options: Any) -> ModelResponse:
        step = (len(messages) - 1) // 2
        calls = [ToolCallPart(TOOL, {ARGUMENT: number}, f"call_{number}") for number in self._load.numbers(step)]
        return ModelResponse(parts=calls or [TextPart(ANSWER)], model_name=MODEL)


class PydanticAi:
    def __init__(self, options: Mapping[str, Any]) -> None:
        pass

    def settings(self, task: Task) -> list[dict[str, Any]]:
        return [{}]

    def about(self) -> Answer:
        return {"version": f"pydantic-ai {version('pydantic-ai-slim')}"}

    def steps(self, mode: str, runs: int, steps: int, calls: int) -> Answer:
        return asyncio.run(_steps(Load(runs, steps, calls)))


async def _steps(load: Load) -> Answer:
    orders = Orders()
    look_up = Tool(orders.look_up, name=TOOL, description=DESCRIPTION)
    agent = Agent(Instant(load), instructions=INSTRUCTIONS, tools=[look_up])
    unlimited = UsageLimits(request_limit=None)

    async def run() -> str:
        return str((await agent.run(QUESTION, usage_limits=unlimited)).output)

    return await timed(load, run, orders)


if __name__ == "__main__":
    serve(PydanticAi)
