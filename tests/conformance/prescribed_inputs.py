"""Tools and a prompt that ask the client for something as the protocol's version 2026-07-28 does: by their result.

The suite's versions from 0.2 on prescribe them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mcp import MCPError
from mcp.server.mcpserver import Context, MCPServer
from mcp.types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    ClientCapabilities,
    CreateMessageRequest,
    CreateMessageRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    InputRequest,
    InputRequiredResult,
    ListRootsRequest,
    SamplingCapability,
    SamplingMessage,
    TextContent,
)

Round = Mapping[str, InputRequest]


def elicit(message: str, name: str, kind: str = "string") -> ElicitRequest:
    schema = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def sample(said: str, most: int) -> CreateMessageRequest:
    message = SamplingMessage(role="user", content=TextContent(type="text", text=said))
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=[message], max_tokens=most))


WHO = {"user_name": elicit("What is your name?", "name")}
GREETING = {"greeting": sample("Generate a greeting", 50)}
ROOTS = {"client_roots": ListRootsRequest()}
STATELESS: dict[str, Round] = {
    "elicitation": WHO,
    "sampling": {"capital_question": sample("What is the capital of France?", 100)},
    "list_roots": ROOTS,
}
STATEFUL: dict[str, Sequence[Round]] = {
    "request_state": [{"confirm": elicit("Please confirm", "ok", "boolean")}],
    "multiple_inputs": [{**WHO, **GREETING, **ROOTS}],
    "multi_round": [
        {"step1": elicit("Step 1: What is your name?", "name")},
        {"step2": elicit("Step 2: What is your favorite color?", "color")},
    ],
    "tampered_state": [{"confirm": elicit("Please confirm", "ok", "boolean")}],
}


def asked(context: Context, rounds: Sequence[Round], *, stateful: bool) -> str | InputRequiredResult:
    """The next round that has no answers yet, else what was answered. The state is the number of a round."""
    answers = context.input_responses or {}
    for number in range(int(context.request_state or 0), len(rounds)):
        if not set(rounds[number]) <= set(answers):
            return InputRequiredResult(
                input_requests=dict(rounds[number]), request_state=str(number) if stateful else None
            )
    given = {name: answer.model_dump(mode="json") for name, answer in answers.items()}
    return f"state-ok: {given}"


def add_inputs(server: MCPServer[Any]) -> None:
    for name, first in STATELESS.items():
        _add(server, name, [first], stateful=False)
    for name, rounds in STATEFUL.items():
        _add(server, name, rounds, stateful=True)

    @server.tool()
    async def test_input_required_result_capabilities(context: Context) -> str | InputRequiredResult:
        """Asks for what the client has declared."""
        declared = context.client_capabilities or ClientCapabilities()
        wanted = {**(WHO if declared.elicitation else {}), **(GREETING if declared.sampling else {})}
        return asked(context, [wanted], stateful=False)

    @server.tool()
    async def test_missing_capability(context: Context) -> str:
        """Needs a client that samples."""
        if context.client_capabilities is None or context.client_capabilities.sampling is None:
            required = ClientCapabilities(sampling=SamplingCapability()).model_dump(by_alias=True, exclude_none=True)
            data = {"requiredCapabilities": required}
            raise MCPError(code=MISSING_REQUIRED_CLIENT_CAPABILITY, message="needs sampling", data=data)
        return "it samples"

    @server.prompt()
    async def test_input_required_result_prompt(context: Context) -> str | InputRequiredResult:
        """Asks for its context."""
        return asked(context, [{"user_context": elicit("What context?", "context")}], stateful=False)


def _add(server: MCPServer[Any], name: str, rounds: Sequence[Round], *, stateful: bool) -> None:
    async def ask(context: Context) -> str | InputRequiredResult:
        return asked(context, rounds, stateful=stateful)

    server.add_tool(ask, name=f"test_input_required_result_{name}", description="Asks for input.")
