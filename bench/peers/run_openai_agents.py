"""The OpenAI Agents SDK (`bench.peers.stepping`) without tracing. It stores nothing, so the only mode is ``memory``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from agents import Agent, Model, ModelResponse, Runner, Usage, function_tool, set_tracing_disabled
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

from bench.peers.protocol import Answer, Task, serve
from bench.peers.stepping import ANSWER, ARGUMENT, INSTRUCTIONS, QUESTION, TOOL, Load, Orders, timed


class Instant(Model):
    """A model that answers at once. The library's own fake copies the whole history at each step."""

    def __init__(self, load: Load) -> None:
        self._load = load

    async def get_response(self, system_instructions: Any, input: Any, *given: Any, **options: Any) -> ModelResponse:
        step = 0 if isinstance(input, str) else (len(input) - 1) // (2 * self._load.calls)
        output: list[Any] = [_call(number) for number in self._load.numbers(step)]
        return ModelResponse(output=output or [_answer()], usage=Usage(), response_id=None)

    def stream_response(self, *given: Any, **options: Any) -> Any:
        raise NotImplementedError("the runner asks for whole answers")


def _call(number: int) -> ResponseFunctionToolCall:
    arguments = json.dumps({ARGUMENT: number})
    return ResponseFunctionToolCall(call_id=f"call_{number}", name=TOOL, arguments=arguments, type="function_call")


def _answer() -> ResponseOutputMessage:
    text = ResponseOutputText(text=ANSWER, type="output_text", annotations=[])
    return ResponseOutputMessage(id="message", content=[text], role="assistant", status="completed", type="message")


class OpenAiAgents:
    def __init__(self, options: Mapping[str, Any]) -> None:
        set_tracing_disabled(True)

    def settings(self, task: Task) -> list[dict[str, Any]]:
        return [{}]

    def about(self) -> Answer:
        return {"version": f"openai-agents {version('openai-agents')}"}

    def steps(self, mode: str, runs: int, steps: int, calls: int) -> Answer:
        return asyncio.run(_steps(Load(runs, steps, calls)))


async def _steps(load: Load) -> Answer:
    orders = Orders()

    @function_tool(name_override=TOOL)
    async def look_up(number: int) -> str:
        """Looks up an order."""
        return await orders.look_up(number)

    agent = Agent(name="clerk", instructions=INSTRUCTIONS, model=Instant(load), tools=[look_up])

    async def run() -> str:
        return str((await Runner.run(agent, QUESTION, max_turns=load.steps + 1)).final_output)

    return await timed(load, run, orders)


if __name__ == "__main__":
    serve(OpenAiAgents)
