"""The client against the API itself, over HTTP: every endpoint that the client has."""

import pytest

from agent.api import create_app
from agent.serve.http_server import bind, running
from agent.testing.api import KEY, Said, ScriptedChat, api_deps
from flightloop import AsyncFlightloop, errors
from flightloop.response_events import ResponseCompleted
from flightloop.runs import Budget, RunStatus


@pytest.fixture
async def client():
    deps = api_deps(Said("one two three"))
    async with running(create_app(deps), bind("127.0.0.1", 0)) as url, AsyncFlightloop(url, KEY) as found:
        yield found


async def test_a_run_from_creation_to_its_rating(client: AsyncFlightloop) -> None:
    first = await client.runs.create(agent="support", input="Where is it?", idempotency_key="k", metadata={"a": "b"})
    again = await client.runs.create(agent="support", input="Where is it?", idempotency_key="k", metadata={"a": "b"})
    assert again.id == first.id
    with pytest.raises(errors.IdempotencyMismatch):
        await client.runs.create(agent="support", input="Something else", idempotency_key="k")

    assert (await client.runs.interrupt(first.id, reason="drill")).status is RunStatus.INTERRUPTED
    assert (await client.runs.wait(first.id, timeout_s=20)).status is RunStatus.INTERRUPTED
    assert [event.type async for event in client.runs.stream(first.id)] == ["run.created", "run.ended"]
    assert (await client.runs.resume(first.id, budget=Budget(steps=3))).status is RunStatus.QUEUED
    assert (await client.runs.cancel(first.id)).status is RunStatus.CANCELLED
    assert (await client.runs.feedback(first.id, score=4, resolved=True)).feedback is not None
    await client.runs.outcome(first.id, solved=False, by="test")
    kinds = [event.type for event in await client.runs.events(first.id)]
    assert kinds[-2:] == ["feedback", "outcome"]
    assert [run.id for run in (await client.runs.list(agent="support", status="cancelled", limit=5)).data] == [first.id]


async def test_the_project(client: AsyncFlightloop) -> None:
    assert (await client.project()).problem is None


async def test_keys(client: AsyncFlightloop) -> None:
    made = await client.keys.create(name="ann", role="viewer")
    assert made.key.startswith("fl_")
    async with AsyncFlightloop(client.base_url, made.key) as viewer:
        assert (await viewer.runs.list()).data == []
        with pytest.raises(errors.Forbidden):
            await viewer.runs.create(agent="support", input="Hello")
    assert (await client.keys.revoke(made.id)).revoked_at is not None
    assert [key.id for key in (await client.keys.list()).data] == [made.id]


async def test_whose_key_it_is(client: AsyncFlightloop) -> None:
    own = await client.whoami()
    assert (own.key_id, own.name, own.role, own.tenant_id) == ("own", "key:default", "admin", "default")
    made = await client.keys.create(name="ann", role="viewer", tenant_id="acme")
    async with AsyncFlightloop(client.base_url, made.key) as viewer:
        told = await viewer.whoami()
    assert (told.key_id, told.name, told.role, told.tenant_id) == (made.id, "key:ann", "viewer", "acme")
    async with AsyncFlightloop(client.base_url, "unknown") as nobody:
        with pytest.raises(errors.Unauthorized):
            await nobody.whoami()


async def test_a_fork(client: AsyncFlightloop) -> None:
    first = await client.runs.create(agent="support", input="Where is it?", metadata={"a": "b"})
    forked = await client.runs.fork(first.id, step=0, input="Where else?", model="scripted", metadata={"c": "d"})
    assert forked.origin is not None
    assert (forked.origin.run_id, forked.origin.step, forked.model) == (first.id, 0, "scripted")
    assert forked.metadata == {"a": "b", "c": "d"}
    with pytest.raises(errors.InvalidRequest):
        await client.runs.fork(first.id, step=1)


async def test_stopping_and_clearing(client: AsyncFlightloop) -> None:
    latched = await client.interrupts.create(scope="agent", target="support", reason="drill")
    assert [item.id for item in (await client.interrupts.list()).data] == [latched.id]
    with pytest.raises(errors.Interrupted):
        await client.runs.create(agent="support", input="Hello")
    assert (await client.interrupts.clear(latched.id)).cleared_at is not None
    assert (await client.interrupts.list()).data == []
    assert len((await client.interrupts.list(active=False)).data) == 1


async def test_lists(client: AsyncFlightloop) -> None:
    assert [agent.name for agent in (await client.agents.list()).data] == ["support"]
    assert [tool.name for tool in (await client.tools.list()).data] == ["add"]
    assert [policy.name for policy in (await client.policies.list()).data] == ["default"]
    assert [model.id for model in (await client.models.list()).data] == ["scripted"]
    assert (await client.approvals.list()).data == []
    assert (await client.approvals.list(status=None)).data == []
    assert (await client.audit.list()).data == []
    assert (await client.overview()).at is not None


async def test_usage(client: AsyncFlightloop) -> None:
    messages = [{"role": "user", "content": "count"}]
    await client.chat.completions.create(model="scripted", messages=messages)
    run = await client.runs.create(agent="support", input="Hello", session_budget=Budget(tokens=9))
    usage = await client.usage(session_id=run.session_id)
    assert (usage.tenant.used.tokens, usage.tenant.used.steps, usage.tenant.reserved.tokens) == (5, 1, 0)
    assert usage.tenant.since is not None
    assert usage.session is not None
    assert (usage.session.used.tokens, usage.session.budget.tokens) == (0, 9)
    assert (await client.usage()).session is None


async def test_chat(client: AsyncFlightloop) -> None:
    messages = [{"role": "user", "content": "count"}]
    whole = await client.chat.completions.create(model="scripted", messages=messages)
    assert whole.choices[0].message.content == "one two three"
    chunks = [each async for each in client.chat.completions.create(model="scripted", messages=messages, stream=True)]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "one two three"
    several = await client.chat.completions.create(model="scripted", messages=messages, n=2)
    assert [(choice.index, choice.message.content) for choice in several.choices] == [
        (0, "one two three"),
        (1, "one two three"),
    ]
    assert len((await client.audit.list()).data) > 0


async def test_responses(client: AsyncFlightloop) -> None:
    whole = await client.responses.create(model="scripted", input="count", instructions="Be kind.")
    assert whole.output_text == "one two three"
    told = [event async for event in client.responses.create(model="scripted", input="count", stream=True)]
    assert "".join(event.delta for event in told if event.type == "response.output_text.delta") == "one two three"
    assert isinstance(told[-1], ResponseCompleted)
    with pytest.raises(errors.NotFound, match="known: scripted"):
        await client.responses.create(model="nobody", input="count")


async def test_a_conversation_of_responses_sends_its_items_again() -> None:
    deps = api_deps(Said("so", calls=[("add", '{"a":1}')]), Said("done"))
    tools = [{"type": "function", "name": "add", "parameters": {"type": "object", "properties": {}}}]
    asked = {"role": "user", "content": "add"}
    async with running(create_app(deps)) as url, AsyncFlightloop(url, KEY) as client:
        first = await client.responses.create(model="scripted", input=[asked], tools=tools)
        results = [
            {"type": "function_call_output", "call_id": item.call_id, "output": "1"}
            for item in first.output
            if item.type == "function_call"
        ]
        second = await client.responses.create(model="scripted", input=[asked, *first.output, *results], tools=tools)
    assert (first.output_text, second.output_text) == ("so", "done")
    assert isinstance(deps.model, ScriptedChat)
    messages = deps.model.requests[1].messages
    assert [(message.role, message.text) for message in messages] == [
        ("user", "add"),
        ("assistant", "so"),
        ("tool", "1"),
    ]
    assert messages[1].tool_calls is not None
    assert messages[1].tool_calls[0].id == messages[2].tool_call_id


async def test_a_response_that_fails_in_the_middle_is_raised() -> None:
    deps = api_deps(Said("one two", error=errors.ModelUnavailable("gone")), streaming="live")
    async with running(create_app(deps)) as url, AsyncFlightloop(url, KEY) as client:
        stream = client.responses.create(model="scripted", input="count", stream=True)
        assert (await anext(stream)).type == "response.created"
        with pytest.raises(errors.ModelUnavailable, match="gone"):
            [event async for event in stream]
    assert isinstance(deps.model, ScriptedChat)
    assert len(deps.model.requests) == 1


async def test_errors_name_what_is_known(client: AsyncFlightloop) -> None:
    with pytest.raises(errors.NotFound, match="support"):
        await client.runs.create(agent="nobody", input="Hello")
    with pytest.raises(errors.NotFound):
        await client.approvals.decide("apr_0", decision="approve")
