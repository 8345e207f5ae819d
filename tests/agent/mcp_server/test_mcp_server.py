"""Flightloop as an MCP server: real HTTP, the protocol's own client, and an API behind it."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.types import (
    CallToolResult,
    ElicitRequestParams,
    ElicitResult,
    EmptyResult,
    LoggingMessageNotificationParams,
    ResourceTemplateReference,
    SetLevelRequest,
    SetLevelRequestParams,
    TextContent,
    TextResourceContents,
)

from agent.api import create_app
from agent.mcp_server.http import application, under_key
from agent.mcp_server.server import FlightloopServer
from agent.models.answer_chunks import calls, text
from agent.run.deltas import LocalDeltas
from agent.serve.http_server import running
from agent.testing.api import KEY, api_deps
from flightloop import AsyncFlightloop
from flightloop.events import DeltaEvent
from flightloop.tool import Tool, tool, tool_of
from flightloop.version import VERSION
from tests.mcp_serving import LEGACY, MODERN, connected, desk_of, serving, working
from tests.security.platforms import ROOT, environment

ASKS = """
name: default
version: "1"
tools: {provenance: allow, allow: {support: [pay]}, ask: [{tool: pay}]}
"""
BOTH = pytest.mark.parametrize("mode", [LEGACY, MODERN])


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with serving(api_deps()) as url:
        yield url


def paying(paid: list[int]) -> Tool:
    @tool(effect="keyed")
    def pay(amount: int) -> str:
        """Pays."""
        paid.append(amount)
        return "paid"

    return tool_of(pay)


def said(result: CallToolResult) -> str:
    (part,) = result.content
    assert isinstance(part, TextContent)
    return part.text


async def state_of(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result
    assert result.structured_content is not None
    return result.structured_content


@BOTH
async def test_an_agent_of_elsewhere_starts_a_run_and_reads_its_result(mode: str, url: str) -> None:
    async with connected(url, mode=mode) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        assert tools == ["list_agents", "start_run", "run_result", "cancel_run"]
        assert await state_of(client, "list_agents") == {"result": [{"name": "support", "description": ""}]}
        begun = await state_of(client, "start_run", agent="support", input="Hello", session_id="talk")
        assert (begun["status"], begun["session_id"], begun["agent"]) == ("queued", "talk", "support")
        still = await state_of(client, "run_result", run_id=begun["run_id"], wait_seconds=0)
        assert (still["status"], still["approvals"]) == ("queued", [])
        assert (await state_of(client, "cancel_run", run_id=begun["run_id"]))["status"] == "cancelled"
        assert (await state_of(client, "run_result", run_id=begun["run_id"]))["status"] == "cancelled"


async def test_the_version_is_the_projects(url: str) -> None:
    assert version("flightloop") == VERSION
    async with connected(url) as client:
        assert (client.server_info.name, client.server_info.version) == ("flightloop", VERSION)


@BOTH
async def test_an_error_of_the_api_is_the_tools_error(mode: str, url: str) -> None:
    async with connected(url, mode=mode) as client:
        wrong = await client.call_tool("start_run", {"agent": "nobody", "input": "Hello"})
        assert (wrong.is_error, said(wrong)) == (True, "there is no agent 'nobody'; known: support")
        lost = await client.call_tool("run_result", {"run_id": "run_0"})
        assert (lost.is_error, said(lost)) == (True, "no run run_0")
        odd = await client.call_tool("run_result", {"run_id": "run_0", "wait_seconds": "long"})
        assert odd.is_error
        assert said(odd).startswith("wait_seconds: Input should be a valid number")


async def test_an_api_that_is_not_there_is_the_tools_error_on_standard_input() -> None:
    async with Client(FlightloopServer(lambda _: AsyncFlightloop("http://127.0.0.1:9", KEY, retries=0))) as client:
        lost = await client.call_tool("list_agents", {})
    assert lost.is_error
    assert "no answer from http://127.0.0.1:9" in said(lost)


async def test_an_api_that_is_not_there_is_a_503_over_http() -> None:
    nowhere = "http://127.0.0.1:9"
    served = application(FlightloopServer(partial(under_key, nowhere)), nowhere, ["127.0.0.1"], 1024)
    async with served as app, running(app) as own, httpx.AsyncClient() as http:
        lost = await http.post(f"{own}/mcp", json={}, headers={"authorization": f"Bearer {KEY}"})
    assert (lost.status_code, lost.json()["error"]["data"]) == (503, {"code": "not_ready"})
    assert f"no answer from {nowhere}" in lost.json()["error"]["message"]


@BOTH
async def test_a_client_is_told_why_its_key_is_refused(mode: str, url: str) -> None:
    with pytest.raises((MCPError, ExceptionGroup)) as caught:
        async with connected(url, "wrong", mode=mode) as client:
            await client.list_tools()
    refused: BaseException = caught.value
    while isinstance(refused, BaseExceptionGroup):  # task groups of the client
        (refused,) = refused.exceptions
    assert isinstance(refused, MCPError)
    assert (refused.message, refused.error.data) == ("unknown API key", {"code": "unauthorized"})


async def test_a_refusal_is_an_error_of_the_api_and_of_json_rpc(url: str) -> None:
    async with httpx.AsyncClient() as http:
        refused = await http.post(url, json={})
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, 'Bearer realm="flightloop"')
    wanted = ("2.0", "send the API key as 'Authorization: Bearer KEY'")
    assert (refused.json()["jsonrpc"], refused.json()["error"]["message"]) == wanted


@BOTH
async def test_runs_and_agents_are_resources(mode: str, url: str) -> None:
    async with connected(url, mode=mode) as client:
        begun = await state_of(client, "start_run", agent="support", input="Hello")
        run = f"flightloop://runs/{begun['run_id']}"
        listed = {resource.uri for resource in (await client.list_resources()).resources}
        assert listed == {"flightloop://agents/support", run}
        assert json.loads(await read(client, "flightloop://agents/support"))["tools"] == ["add"]
        assert json.loads(await read(client, run))["status"] == "queued"
        (created,) = (json.loads(line) for line in (await read(client, f"{run}/events")).splitlines())
        assert (created["type"], created["seq"]) == ("run.created", 1)
        assert await read(client, f"{run}/events?after=1") == ""
        with pytest.raises(MCPError, match="no run run_0"):
            await read(client, "flightloop://runs/run_0")
        with pytest.raises(MCPError, match="there is no agent 'nobody'; known: support"):
            await read(client, "flightloop://agents/nobody")


async def read(client: Client, uri: str) -> str:
    (content,) = (await client.read_resource(uri)).contents
    assert isinstance(content, TextResourceContents)
    return content.text


async def test_a_run_of_many_events_is_read_in_parts(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.mcp_server.resources.MOST_CHARACTERS", 10)
    async with connected(url) as client:
        begun = await state_of(client, "start_run", agent="support", input="Hello")
        await state_of(client, "cancel_run", run_id=begun["run_id"])
        events = f"flightloop://runs/{begun['run_id']}/events"
        (first,) = (await read(client, events)).splitlines()
        (second,) = (await read(client, f"{events}?after={json.loads(first)['seq']}")).splitlines()
        assert [json.loads(line)["seq"] for line in (first, second)] == [1, 2]


@BOTH
async def test_each_agent_is_a_prompt(mode: str, url: str) -> None:
    async with connected(url, mode=mode) as client:
        (prompt,) = (await client.list_prompts()).prompts
        assert (prompt.name, [argument.name for argument in prompt.arguments or ()]) == (
            "support",
            ["input", "session_id"],
        )
        (message,) = (await client.get_prompt("support", {"input": "Where is it?", "session_id": "talk"})).messages
        assert isinstance(message.content, TextContent)
        assert "agent support, with the session_id talk" in message.content.text
        assert "\n\nWhere is it?\n\n" in message.content.text
        with pytest.raises(MCPError, match="there is no agent 'nobody'; known: support"):
            await client.get_prompt("nobody", {"input": "x"})
        with pytest.raises(MCPError, match="say what the agent should do"):
            await client.get_prompt("support", {})


@BOTH
async def test_ids_are_completed(mode: str, url: str) -> None:
    async with connected(url, mode=mode) as client:
        begun = await state_of(client, "start_run", agent="support", input="Hello")
        run = ResourceTemplateReference(type="ref/resource", uri="flightloop://runs/{run_id}")
        assert (await client.complete(run, {"name": "run_id", "value": "run_"})).completion.values == [begun["run_id"]]
        assert (await client.complete(run, {"name": "run_id", "value": "job_"})).completion.values == []
        agent = ResourceTemplateReference(type="ref/resource", uri="flightloop://agents/{name}")
        assert (await client.complete(agent, {"name": "name", "value": "s"})).completion.values == ["support"]


@BOTH
async def test_what_a_run_does_is_told_meanwhile(mode: str, tmp_path: Path) -> None:
    """As progress to a request that asks for it, and as log messages of the level that the client wants."""
    paid: list[int] = []
    policy = ASKS.replace(", ask: [{tool: pay}]", "")
    desk, deps = desk_of(
        tmp_path, calls(("pay", {"amount": 1})), text("All right."), tools=[paying(paid)], policy=policy
    )
    watched = Watched()
    logged: list[LoggingMessageNotificationParams] = []
    heard: list[tuple[float, str | None]] = []

    async def log(params: LoggingMessageNotificationParams) -> None:
        logged.append(params)

    async def progress(done: float, total: float | None, message: str | None) -> None:
        heard.append((done, message))

    async with (
        serving(replace(deps, deltas=watched)) as url,
        connected(url, mode=mode, logging_callback=log, log_level="info" if mode == MODERN else None) as client,
    ):
        begun = await state_of(client, "start_run", agent="support", input="Pay")
        asked = client.call_tool("run_result", {"run_id": begun["run_id"]}, progress_callback=progress)
        waiting = asyncio.create_task(asked)
        await watched.begun.wait()
        async with working(desk):
            ended = (await waiting).structured_content
        assert ended is not None
        assert (ended["status"], ended["output"]) == ("succeeded", "All right.")
    texts = ["step 1: calls pay", "pay has returned after 0.0 s", "the run has ended: succeeded (answered)"]
    assert [message for _, message in heard] == ["a worker has taken the run", *texts]
    assert [done for done, _ in heard] == [1, 2, 3, 4]
    assert [params.data["message"] for params in logged] == texts  # a worker that takes a run is of the level debug
    assert paid == [1]


async def test_a_client_of_a_session_hears_the_level_that_it_has_set(tmp_path: Path) -> None:
    desk, deps = desk_of(tmp_path, text("All right."), text("All right."), tools=[], policy=ASKS)
    logged: dict[str, list[str]] = {"debug": [], "error": []}
    watched = Watched()
    async with serving(replace(deps, deltas=watched)) as url:
        for level, heard in logged.items():

            async def log(params: LoggingMessageNotificationParams, heard: list[str] = heard) -> None:
                heard.append(params.data["message"])

            async with connected(url, mode=LEGACY, logging_callback=log) as client:
                await client.session.send_request(
                    SetLevelRequest(params=SetLevelRequestParams(level=level)), EmptyResult
                )
                begun = await state_of(client, "start_run", agent="support", input="Hello")
                watched.begun.clear()
                waiting = asyncio.create_task(state_of(client, "run_result", run_id=begun["run_id"]))
                await watched.begun.wait()
                async with working(desk):
                    assert (await waiting)["status"] == "succeeded"
    end = "the run has ended: succeeded (answered)"
    assert logged == {"debug": ["a worker has taken the run", end], "error": []}


class Watched(LocalDeltas):
    """``begun`` is set once somebody reads a run's events."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()

    def listen(self, run_id: str) -> AbstractContextManager[asyncio.Queue[DeltaEvent]]:
        self.begun.set()
        return super().listen(run_id)


class Person:
    """Answers what the client's user is asked."""

    def __init__(self, *answers: ElicitResult) -> None:
        self._answers = list(answers)
        self.asked: list[ElicitRequestParams] = []

    async def __call__(self, context: Any, params: ElicitRequestParams) -> ElicitResult:
        self.asked.append(params)
        return self._answers.pop(0)


def deciding(decision: str, **more: str) -> ElicitResult:
    return ElicitResult(action="accept", content={"decision": decision, **more})


@BOTH
@pytest.mark.parametrize(
    ("answer", "paid_then", "decided"),
    [
        pytest.param(deciding("approve", reason="as agreed"), [7], ("approved", "as agreed"), id="approve"),
        pytest.param(deciding("deny"), [], ("denied", None), id="deny"),
        pytest.param(ElicitResult(action="decline"), [], ("denied", None), id="decline"),
    ],
)
async def test_the_clients_user_decides(
    mode: str, answer: ElicitResult, paid_then: list[int], decided: tuple[str, str | None], tmp_path: Path
) -> None:
    paid: list[int] = []
    desk, deps = desk_of(tmp_path, calls(("pay", {"amount": 7})), text("All right."), tools=[paying(paid)], policy=ASKS)
    person = Person(answer)
    async with serving(deps) as url, connected(url, mode=mode, elicitation_callback=person) as client, working(desk):
        begun = await state_of(client, "start_run", agent="support", input="Pay")
        ended = await state_of(client, "run_result", run_id=begun["run_id"])
    assert (ended["status"], ended["output"], ended["approvals"]) == ("succeeded", "All right.", [])
    assert paid == paid_then
    (asked,) = person.asked
    assert '"amount": 7' in asked.message
    (approval,) = (await desk.journal.approvals("default", status=None)).data
    assert approval.id in asked.message
    assert (approval.status, approval.decision_reason, approval.decided_by) == (*decided, "key:default")


@BOTH
async def test_a_form_that_is_closed_decides_nothing(mode: str, tmp_path: Path) -> None:
    paid: list[int] = []
    desk, deps = desk_of(tmp_path, calls(("pay", {"amount": 7})), text("All right."), tools=[paying(paid)], policy=ASKS)
    person = Person(ElicitResult(action="cancel"), ElicitResult(action="accept", content={}), deciding("approve"))
    async with serving(deps) as url, connected(url, mode=mode, elicitation_callback=person) as client, working(desk):
        begun = await state_of(client, "start_run", agent="support", input="Pay")
        waits = await state_of(client, "run_result", run_id=begun["run_id"])
        assert (waits["status"], len(waits["approvals"])) == ("waiting_approval", 1)
        empty = await client.call_tool("run_result", {"run_id": begun["run_id"]})
        assert empty.is_error
        assert "does not match the requested schema" in said(empty)
        assert paid == []
        assert (await state_of(client, "run_result", run_id=begun["run_id"]))["status"] == "succeeded"
    assert paid == [7]


@BOTH
async def test_a_client_that_cannot_ask_is_told_how_to_decide(mode: str, tmp_path: Path) -> None:
    desk, deps = desk_of(tmp_path, calls(("pay", {"amount": 7})), text("All right."), tools=[paying([])], policy=ASKS)
    async with serving(deps) as url, connected(url, mode=mode) as client, working(desk):
        begun = await state_of(client, "start_run", agent="support", input="Pay")
        waits = await state_of(client, "run_result", run_id=begun["run_id"])
        (pending,) = waits["approvals"]
        (approval,) = (await desk.journal.approvals("default", status="pending")).data
        assert (pending["approval_id"], pending["tool"]) == (approval.id, "pay")
        assert f"flightloop approve {approval.id}" in pending["how"]
        assert "amount" not in str(waits)


@BOTH
async def test_the_command_serves_standard_input(mode: str, tmp_path: Path) -> None:
    async with running(create_app(api_deps())) as url:
        env = {**environment(tmp_path), "FLIGHTLOOP_URL": url, "FLIGHTLOOP_API_KEY": KEY}
        program = StdioServerParameters(command=sys.executable, args=["-m", "agent", "mcp", "serve"], env=env, cwd=ROOT)
        async with Client(program, mode=mode) as client:
            assert await state_of(client, "list_agents") == {"result": [{"name": "support", "description": ""}]}


async def test_the_command_serves_http_until_it_is_stopped(tmp_path: Path) -> None:
    """It needs no key of its own."""
    async with running(create_app(api_deps())) as url:
        command = [sys.executable, "-m", "agent", "mcp", "serve", "--http", "--port", "0"]
        env = {**environment(tmp_path), "FLIGHTLOOP_URL": url}
        process = await asyncio.create_subprocess_exec(*command, env=env, cwd=ROOT, stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            line = (await process.stdout.readline()).decode()
            (own,) = re.findall(r"^MCP at (http://127\.0\.0\.1:\d+/mcp), for the API at " + re.escape(url), line)
            async with connected(own) as client:
                assert await state_of(client, "list_agents") == {"result": [{"name": "support", "description": ""}]}
            process.terminate()
            assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    async with running(create_app(api_deps())) as url:
        port = url.rpartition(":")[2]
        command = [sys.executable, "-m", "agent", "mcp", "serve", "--http", "--port", port]
        env = environment(tmp_path)
        process = await asyncio.create_subprocess_exec(*command, env=env, cwd=ROOT, stderr=subprocess.PIPE)
        _, said = await process.communicate()
    assert process.returncode == 2
    assert f"FLIGHTLOOP_MCP_PORT: port {port} on 127.0.0.1 is taken" in said.decode()
