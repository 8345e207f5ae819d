"""Work that takes a while is done for the tenants in rotation."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.api import ApiDeps, create_app, forking
from agent.models.chat_model import Capabilities
from agent.testing.api import KEY, OTHER_KEY, ScriptedChat, api_deps
from flightloop.events import RunCreated, RunEnded
from flightloop.runs import Budget, RunStatus, StopReason
from guardrails.turns import Turns


async def test_who_waits_for_one_thing_goes_before_who_waits_for_many() -> None:
    turns, order, gate = Turns(1), list[str](), asyncio.Event()

    async def work(tenant: str) -> None:
        async with turns.one(tenant):
            order.append(tenant)
            await gate.wait()

    many = [asyncio.create_task(work("many")) for _ in range(20)]
    few = [asyncio.create_task(work(tenant)) for tenant in ("one", "other")]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(*many, *few)
    assert order[:4] == ["many", "many", "one", "other"]
    assert order.count("many") == 20


@settings(deadline=None, database=None)
@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.integers(0, 6)), max_size=12),
)
async def test_no_turn_is_lost_or_taken_twice(most: int, each: int, works: list[tuple[str, int, int]]) -> None:
    """Whoever is cancelled while it waits, while it works, or at the moment when its turn comes."""
    turns, inside = Turns(most, each), Counter[str]()

    async def work(tenant: str, long: int) -> None:
        async with turns.one(tenant):
            inside[tenant] += 1
            assert inside.total() <= most
            assert inside[tenant] <= each
            try:
                for _ in range(long):
                    await asyncio.sleep(0)
            finally:
                inside[tenant] -= 1

    tasks = [asyncio.create_task(work(tenant, long)) for tenant, long, _ in works]
    for moment in range(7):
        for task, (_, _, cancelled) in zip(tasks, works, strict=True):
            if cancelled == moment and moment < 6:
                task.cancel()
        await asyncio.sleep(0)
    await asyncio.gather(*tasks, return_exceptions=True)
    for number in range(most):  # all of them are free again
        await asyncio.wait_for(turns.one(f"z{number}").__aenter__(), 1)


def calling(deps: ApiDeps, key: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_app(deps), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://api", headers={"authorization": f"Bearer {key}"})


async def test_long_texts_of_one_tenant_keep_no_other_waiting() -> None:
    deps = api_deps(model=ScriptedChat(capabilities=Capabilities()), long_checks=Turns(1))
    long: dict[str, Any] = {"model": "scripted", "messages": [{"role": "user", "content": "harmless " * 1000}]}
    done: list[str] = []

    async def ask(client: httpx.AsyncClient, name: str) -> None:
        assert (await client.post("/v1/chat/completions", json=long)).status_code == 200
        done.append(name)

    async with calling(deps, KEY) as many, calling(deps, OTHER_KEY) as one:
        async with deps.long_checks.one("x"):
            asked = [asyncio.create_task(ask(many, "many")) for _ in range(10)]
            await waited(deps.long_checks, 10)
            asked.append(asyncio.create_task(ask(one, "one")))
            await waited(deps.long_checks, 11)
        async with asyncio.timeout(20):
            await asyncio.gather(*asked)
    assert done.index("one") <= 3


WRONG: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "scripted", "messages": [{"role": 1}] * 10_000},
    "/v1/runs": {"agent": "support", "input": [{"type": "text"}] * 20_000},
    "/v1/responses": {"model": "scripted", "input": [{"type": "message", "role": 1, "content": "x" * 70_000}]},
}


@pytest.mark.parametrize("path", WRONG)
async def test_large_bodies_of_one_tenant_keep_no_other_waiting(path: str) -> None:
    """Those that are refused too: to find out takes as long as they are large."""
    deps = api_deps(model=ScriptedChat(capabilities=Capabilities()))
    done: list[str] = []

    async def ask(client: httpx.AsyncClient, name: str) -> None:
        answered = await client.post(path, json=WRONG[path])
        assert (answered.status_code, answered.json()["error"]["code"]) == (400, "invalid_request"), answered.text
        assert answered.json()["error"]["param"].startswith(("messages", "input"))
        done.append(name)

    async with calling(deps, KEY) as many, calling(deps, OTHER_KEY) as one:
        async with deps.large_bodies.one("x"):
            asked = [asyncio.create_task(ask(many, "many")) for _ in range(10)]
            await waited(deps.large_bodies, 10)
            asked.append(asyncio.create_task(ask(one, "one")))
            await waited(deps.large_bodies, 11)
            small = await many.post(path, json={"model": "scripted"})
            assert small.status_code == 400, "small bodies wait for no turn"
        async with asyncio.timeout(60):
            await asyncio.gather(*asked)
    assert done.index("one") <= 3


async def test_a_large_body_is_taken_as_a_small_one() -> None:
    deps = api_deps(model=ScriptedChat(capabilities=Capabilities()))
    text = "harmless " * 20_000
    async with calling(deps, KEY) as client:
        made = await client.post("/v1/runs", json={"agent": "support", "input": text, "budget": {"steps": 3}})
    assert made.status_code == 201, made.text
    assert (made.json()["input"][0]["text"], made.json()["budget"]["steps"]) == (text, 3)


async def test_large_bodies_that_are_refused_count_among_the_keys_requests() -> None:
    async with calling(api_deps(requests_per_minute=2), KEY) as client:
        codes = [(await client.post("/v1/runs", json=WRONG["/v1/runs"])).status_code for _ in range(3)]
    assert codes == [400, 400, 429]


async def waited(turns: Turns, many: int) -> None:
    async with asyncio.timeout(20):
        while turns.waiting < many:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.001)


async def test_runs_that_are_read_by_many_are_read_in_turns() -> None:
    """Each stream gets every event once, and few are read at a time."""
    deps = api_deps(replays=Turns(1))
    created = RunCreated(agent="support", session_id="s", input="x" * 2000, budget=Budget(steps=5))
    run = (await deps.journal.create(created)).run
    claim = await deps.journal.claim("w", 30)
    assert claim is not None
    ended = RunEnded(status=RunStatus.SUCCEEDED, stop_reason=StopReason.ANSWERED)
    await deps.journal.append(run.id, [ended], claim.lease)
    async with calling(deps, KEY) as client:
        answers = await asyncio.gather(*(client.get(f"/v1/runs/{run.id}/events") for _ in range(10)))
    wanted = [event.seq for event in await deps.journal.events("default", run.id)]
    for answer in answers:
        assert [int(line[4:]) for line in answer.text.splitlines() if line.startswith("id: ")] == wanted


async def test_forks_of_a_tenant_take_turns_and_few_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forking, "WAITING", 3)
    deps, gate, making = api_deps(), asyncio.Event(), Counter[str]()
    create = deps.journal.create

    async def slow(created: RunCreated, *given: Any) -> Any:
        making[created.tenant_id] += 1
        if created.tenant_id == "default":
            await gate.wait()
        return await create(created, *given)

    async with calling(deps, KEY) as client, calling(deps, OTHER_KEY) as beside:
        body, step = {"agent": "support", "input": "x"}, {"step": 0}
        path, another = [
            f"/v1/runs/{(await one.post('/v1/runs', json=body)).json()['id']}/fork" for one in (client, beside)
        ]
        monkeypatch.setattr(deps.journal, "create", slow)
        asked = [asyncio.create_task(client.post(path, json=step)) for _ in range(4)]
        await waited(deps.forks, 3)
        refused = await client.post(path, json=step)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "overloaded")
        assert int(refused.headers["retry-after"]) >= 1
        assert making == {"default": 1}  # the others hold nothing
        answer = await beside.post(another, json=step)
        assert answer.status_code == 201, answer.text
        gate.set()
        assert [answer.status_code for answer in await asyncio.gather(*asked)] == [201] * 4
        assert (await client.post(path, json=step)).status_code == 201


class Counted(Turns):
    """Whose turns are counted."""

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self.taken: list[str] = []

    async def take(self, tenant_id: str) -> None:
        await super().take(tenant_id)
        self.taken.append(tenant_id)


SHORT = {"role": "user", "content": "harmless " * 400}
"""Too short to be searched in a thread."""


@pytest.mark.parametrize("messages", [[SHORT] * 20, [{"role": "user", "content": "harmless"}] * 320])
async def test_a_conversation_of_many_short_texts_takes_turns_too(messages: list[dict[str, Any]]) -> None:
    """As long as all of it is, it would have the loop for itself."""
    turns = Counted(1)
    deps = api_deps(model=ScriptedChat(capabilities=Capabilities()), long_checks=turns)
    async with calling(deps, KEY) as many:
        asked = {"model": "scripted", "messages": messages}
        assert (await many.post("/v1/chat/completions", json=asked)).status_code == 200
        assert turns.taken == ["default"] * 20
        asked["messages"] = messages[:1]
        assert (await many.post("/v1/chat/completions", json=asked)).status_code == 200
        assert len(turns.taken) == 20, "what is one short batch waits for none"


async def test_signs_that_become_many_count_as_many() -> None:
    turns = Counted(1)
    deps = api_deps(model=ScriptedChat(capabilities=Capabilities()), long_checks=turns)
    asked = {"model": "scripted", "messages": [{"role": "user", "content": "\u3316" * 1000}]}
    async with calling(deps, KEY) as client:
        assert (await client.post("/v1/chat/completions", json=asked)).status_code == 200
    assert turns.taken == ["default"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
async def test_what_nobody_waits_for_any_more_is_not_checked(path: str) -> None:
    turns, gone = Counted(1), asyncio.Event()
    model = ScriptedChat(capabilities=Capabilities())
    deps = api_deps(model=model, long_checks=turns)
    said = {"messages" if "chat" in path else "input": [SHORT] * 20}
    parts = iter([{"type": "http.request", "body": json.dumps({"model": "scripted", **said}).encode()}])

    async def receive() -> dict[str, Any]:
        if (part := next(parts, None)) is not None:
            return part
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None: ...

    headers = [(b"authorization", f"Bearer {KEY}".encode()), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
    async with deps.long_checks.one("x"):
        asking = asyncio.create_task(create_app(deps)(scope, receive, send))
        await waited(turns, 1)
        gone.set()
        await asyncio.wait_for(asking, 20)
    assert (turns.taken, model.requests) == (["x"], [])
