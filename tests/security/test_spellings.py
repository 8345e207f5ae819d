"""However its arguments are written, a call is the same one: what its tool's types take for equal is done once."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, StringConstraints

from agent.loop.call_resolver import TOO_LONG
from agent.loop.local_hosts import LocalHosts
from agent.models.answer_chunks import calls, text
from flightloop.events import ApprovalRequested, ToolIntent, ToolResult
from flightloop.tool import Effect, Permission, Tool, ToolContext, ToolSpec, tool, tool_of
from tests.security.benches import ALLOWED, bench
from tools import host
from tools.config import ToolsConfig
from tools.host import ToolHosts, Unsure

Name = Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True)]
ASKING = ALLOWED.replace("{helper: ['*']}", "{helper: ['*']}, ask: [{tool: pay}]")
SPELLINGS = [
    (Decimal, ["5", 5, 5.0, "5.0", "05", " 5", "5e0"]),
    (int | str, ["5", 5, "5.0", "5e0"]),
    (datetime, ["2026-01-01T10:00:00Z", "2026-01-01T10:00:00+00:00", "2026-01-01t10:00:00z", "2026-01-01T12:00+02:00"]),
    (set[str], [["a", "b"], ["b", "a"]]),
    (Name, ["Ada", " ada", "ADA "]),
    (Annotated[str, AfterValidator(lambda text: text.split("#")[0])], ["Ada", "Ada#1"]),
]


def paying(kind: Any, done: list[Any]) -> Tool:
    def pay(to: Any) -> str:
        """Pays."""
        done.append(to)
        return "paid"

    pay.__annotations__["to"] = kind
    found = tool_of(tool(effect="keyed")(pay))
    assert found is not None
    return found


@pytest.mark.parametrize(("kind", "spellings"), SPELLINGS)
async def test_a_write_is_not_made_again_in_a_spelling_of_its_types(
    tmp_path: Path, kind: Any, spellings: list[Any]
) -> None:
    first, *others = spellings
    for other in others:
        done: list[Any] = []
        script = [calls(("pay", {"to": one})) for one in (first, other, other)]  # the second is told to the model
        desk = bench(tmp_path, *script, tools=[paying(kind, done)])
        run = await desk.work(await desk.start("Pay it"))
        assert (run.status, done) == ("waiting_approval", [first]), other
        (approval,) = (await desk.journal.approvals(run.tenant_id)).data
        assert approval.arguments == {"to": other}  # a person sees, and the tool gets, what the model wrote


@pytest.mark.parametrize(("kind", "spellings"), SPELLINGS)
async def test_a_denial_holds_in_the_spellings_of_its_types(tmp_path: Path, kind: Any, spellings: list[Any]) -> None:
    done: list[Any] = []
    script = [calls(("pay", {"to": one})) for one in spellings]
    desk = bench(tmp_path, *script, text("It was not paid."), tools=[paying(kind, done)], policy=ASKING)
    run = await desk.work(await desk.start("Pay it"))
    (approval,) = (await desk.journal.approvals(run.tenant_id)).data
    await desk.journal.decide(run.tenant_id, approval.id, "deny", "ann")
    run = await desk.work(run)
    asked = [event for event in await desk.events(run) if isinstance(event, ApprovalRequested)]
    assert (run.status, done, len(asked)) == ("succeeded", [], 1)


@pytest.mark.parametrize(("kind", "spellings"), SPELLINGS)
async def test_spellings_side_by_side_are_made_once(tmp_path: Path, kind: Any, spellings: list[Any]) -> None:
    done: list[Any] = []
    together = calls(*[("pay", {"to": one}) for one in spellings])
    desk = bench(tmp_path, together, tools=[paying(kind, done)], parallel_calls=len(spellings))
    desk.hosts = Slower(desk.hosts.tools)
    run = await desk.work(await desk.start("Pay it"))
    assert (run.status, done) == ("waiting_approval", spellings[:1])


class Slower(LocalHosts):
    """The earlier of some calls is known the later."""

    async def known_by(self, name: str, arguments: dict[str, Any], context: ToolContext) -> dict[str, Any] | None:
        await asyncio.sleep(0.1 / (1 + int(context.key.rsplit(":", 1)[1])))
        return await super().known_by(name, arguments, context)


async def test_an_approval_covers_the_call_as_it_is_written(tmp_path: Path) -> None:
    done: list[Any] = []
    desk = bench(tmp_path, calls(("pay", {"to": "5.0"})), text("Paid."), tools=[paying(Decimal, done)], policy=ASKING)
    run = await desk.work(await desk.start("Pay it"))
    (approval,) = (await desk.journal.approvals(run.tenant_id)).data
    await desk.journal.decide(run.tenant_id, approval.id, "approve", "ann")
    run = await desk.work(run)
    events = await desk.events(run)
    (intent,) = [event for event in events if isinstance(event, ToolIntent)]
    (asked,) = [event for event in events if isinstance(event, ApprovalRequested)]
    assert (run.status, done) == ("succeeded", ["5.0"])
    assert (intent.arguments, intent.args_sha256) == ({"to": "5.0"}, asked.args_sha256)


class Endless(LocalHosts):
    async def known_by(self, name: str, arguments: dict[str, Any], context: ToolContext) -> dict[str, Any] | None:
        raise TimeoutError


async def test_a_write_that_could_not_be_looked_at_in_time_is_not_made(tmp_path: Path) -> None:
    done: list[Any] = []
    desk = bench(tmp_path, calls(("pay", {"to": "Ada"})), text("Not paid."), tools=[paying(Name, done)])
    desk.hosts = Endless(desk.hosts.tools)
    run = await desk.work(await desk.start("Pay it"))
    (result,) = [event for event in await desk.events(run) if isinstance(event, ToolResult)]
    assert (run.status, result.error, done) == ("succeeded", TOO_LONG, [])


async def test_a_write_that_only_its_schema_tells_of(tmp_path: Path) -> None:
    money = {"anyOf": [{"type": "number"}, {"type": "string"}]}
    schema = {"type": "object", "properties": {"to": money}}
    done: list[Any] = []
    pay = Tool(ToolSpec("pay", "Pays.", schema, Effect.KEYED), lambda to: done.append(to))
    desk = bench(tmp_path, *[calls(("pay", {"to": one})) for one in ("5", " 5.0", " 5.0")], tools=[pay])
    desk.hosts = SchemaOnly([pay])
    run = await desk.work(await desk.start("Pay it"))
    assert (run.status, done) == ("waiting_approval", ["5"])


class SchemaOnly(LocalHosts):
    async def known_by(self, name: str, arguments: dict[str, Any], context: ToolContext) -> dict[str, Any] | None:
        return None


TYPES = '''
import socket, time
from decimal import Decimal
from pathlib import Path
from typing import Annotated
from pydantic import AfterValidator
from flightloop.tool import ToolContext, tool

def far(text: str) -> str:
    if text == "hang":
        time.sleep(60)
    if text == "die":
        import os
        os._exit(1)
    try:
        socket.create_connection(("127.0.0.1", 9), 1)
    except PermissionError:
        return "alone"
    except OSError as error:
        return f"{type(error).__name__} {error.errno}"
    return "connected"

@tool(effect="keyed", permissions=("network",), hosts=("127.0.0.1:9",))
def send(to: Annotated[str, AfterValidator(far)]) -> str:
    """Sends."""
    return to

@tool(effect="keyed")
def pay(amount: Decimal, context: ToolContext) -> str:
    """Pays."""
    with (context.data / "paid").open("a") as file:
        file.write("paid ")
    return str(amount)
'''


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    (tmp_path / "data").mkdir()
    (file := tmp_path / "project" / "tools.py").write_text(TYPES)
    return file


async def test_the_types_tell_it_in_their_sandbox_and_no_tool_is_called(project: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    context = ToolContext("run:0:0", "default", "desk", "session", "run", data)
    async with ToolHosts([project], ToolsConfig(spare=0)) as hosts:
        told = [await hosts.known_by("pay", {"amount": one}, context) for one in ("5", " 5.0", 5)]
        assert told == [{"amount": 5}] * 3
        assert not (data / "paid").exists()
        assert await hosts.known_by("pay", {"amount": "five"}, context) is None
        assert (await hosts.call("pay", {"amount": "5.0"}, context)).content == "5.0"
        assert Permission.NETWORK in hosts.registry.get("send").permissions
        before = (await hosts.call("send", {"to": "Ada"}, context)).content
        found = await hosts.known_by("send", {"to": "Ada"}, context)
        assert found is not None
        assert found["to"] != before  # its host has a network, and what its types are asked in has none
        with pytest.raises(Unsure):
            await hosts.known_by("send", {"to": "die"}, context)


@pytest.mark.any_user
async def test_types_that_hang_are_ended(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "KNOWN_BY_S", 0.3)
    context = ToolContext("run:0:0", "default", "desk", "session", "run", tmp_path / "data")
    async with ToolHosts([project], ToolsConfig(spare=0)) as hosts:
        with pytest.raises(TimeoutError):
            await hosts.known_by("send", {"to": "hang"}, context)
        monkeypatch.setattr(host, "KNOWN_BY_S", 30)
        asked = asyncio.create_task(hosts.known_by("send", {"to": "hang"}, context))
        await asyncio.sleep(2)
        assert await hosts.kill("run") == 1
        with pytest.raises(Unsure):
            await asked
        assert json.dumps(await hosts.known_by("pay", {"amount": 5}, context)) == '{"amount": 5}'
