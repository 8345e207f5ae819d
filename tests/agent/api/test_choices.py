"""``n``: the choices of a completion, side by side."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import openai
import pytest

from agent.api import ApiDeps, create_app
from agent.run.budgets import TenantBudgets
from agent.serve.http_server import running
from agent.testing.api import KEY, Said, api_deps
from flightloop.errors import ContextTooLong
from flightloop.limits import CHOICES
from flightloop.runs import Budget
from flightloop.usage import Amounts
from tests.agent.api.test_chat import ask, calling, code_of, model_of, streamed

USER = [{"role": "user", "content": "hello"}]
THREE = [Said("one two"), Said("three"), Said("four five six")]
USED = Amounts(steps=3, tokens=15)


def waiting(*texts: str) -> list[Said]:
    """Answers that never end by themselves."""
    return [Said(text, gate=asyncio.Event()) for text in texts]


async def used(deps: ApiDeps) -> Any:
    return await deps.journal.ledger.spending("default", deps.tenants.window)


async def until_running(deps: ApiDeps, count: int) -> None:
    async with asyncio.timeout(10):
        await model_of(deps).until_running(count)


async def test_each_choice_is_a_call_of_its_own() -> None:
    deps = api_deps(*THREE)
    document = (await ask(deps, n=3)).json()
    assert [choice["index"] for choice in document["choices"]] == [0, 1, 2]
    texts = [choice["message"]["content"] for choice in document["choices"]]
    assert sorted(texts) == ["four five six", "one two", "three"]
    assert (document["usage"]["prompt_tokens"], document["usage"]["completion_tokens"]) == (9, 6)
    assert [request.n for request in model_of(deps).requests] == [1, 1, 1]
    assert (await used(deps)).used == USED


async def test_the_official_client_streams_choices() -> None:
    deps = api_deps(*THREE, streaming="live")
    async with running(create_app(deps)) as url:
        client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0)
        asked: Any = {"model": "scripted", "messages": USER, "n": 3, "stream_options": {"include_usage": True}}
        async with client.chat.completions.stream(**asked) as events:
            chunks = [event.chunk async for event in events if event.type == "chunk"]
            whole = await events.get_final_completion()
        await client.close()
    assert len({chunk.id for chunk in chunks}) == 1
    assert sorted(choice.message.content or "" for choice in whole.choices) == ["four five six", "one two", "three"]
    assert [choice.finish_reason for choice in whole.choices] == ["stop"] * 3
    assert [chunk.usage.total_tokens for chunk in chunks if chunk.usage] == [15]


async def test_a_seed_gives_each_choice_one_of_its_own() -> None:
    for seed, seeds in ((7, {7, 8, 9}), (-1, {-1, -2, -3})):
        deps = api_deps(*THREE)
        await ask(deps, n=3, seed=seed)
        assert {request.seed for request in model_of(deps).requests} == seeds
    deps = api_deps(*THREE)
    await ask(deps, n=3)
    assert {request.seed for request in model_of(deps).requests} == {None}


@pytest.mark.parametrize("n", [0, CHOICES + 1])
async def test_more_than_the_limit_is_refused(n: int) -> None:
    assert code_of(await ask(api_deps(), n=n)) == (400, "invalid_request", "n")


async def test_each_choice_has_its_own_verdicts() -> None:
    deps = api_deps(Said("all is well"), Said("this is classified stuff"), streaming="live")
    document = (await ask(deps, n=2)).json()
    ends = {choice["finish_reason"]: choice["message"]["content"] for choice in document["choices"]}
    assert (ends["stop"], ends["content_filter"].strip()) == ("all is well", "this is")
    blocked = [record for record in await deps.journal.audit("default") if record.verdict.action == "block"]
    assert len(blocked) == 1


@pytest.mark.parametrize("stream", [True, False])
async def test_budgets_are_reserved_for_all(stream: bool) -> None:
    deps = api_deps(*waiting("a b", "c d"), tenants=TenantBudgets(Budget(tokens=1000)))
    asking = asyncio.create_task(ask(deps, n=2, max_tokens=40, stream=stream))
    await until_running(deps, 2)
    reserved = (await used(deps)).reserved
    assert (reserved.steps, reserved.tokens >= 80) == (2, True)
    await deps.journal.raise_interrupt("default", "all", None)
    await asking
    assert (await used(deps)).reserved == Amounts()


async def test_the_tenants_bounds_are_shared_among_the_choices() -> None:
    deps = api_deps(*THREE, tenants=TenantBudgets(Budget(tokens=100)))
    assert (await ask(deps, n=3, max_tokens=90)).status_code == 200
    most = [request.max_tokens for request in model_of(deps).requests]
    assert len(set(most)) == 1
    assert 0 < 3 * (most[0] or 0) <= 100


@pytest.mark.parametrize("bound", [Budget(steps=2), Budget(tokens=20)])
async def test_none_begins_where_there_is_no_room_for_all(bound: Budget) -> None:
    deps = api_deps(*THREE, tenants=TenantBudgets(bound))
    assert code_of(await ask(deps, n=3))[:2] == (429, "budget_exhausted")
    assert not model_of(deps).requests
    spending = await used(deps)
    assert (spending.used, spending.reserved) == (Amounts(), Amounts())


@pytest.mark.parametrize("stream", [True, False])
async def test_an_interrupt_ends_all(stream: bool) -> None:
    deps = api_deps(*waiting("one two", "three four"))
    asking = asyncio.create_task(ask(deps, n=2, stream=stream))
    await until_running(deps, 2)
    await deps.journal.raise_interrupt("default", "all", None)
    answer = await asking
    assert '"code":"interrupted"' in answer.text.replace(" ", "")
    assert model_of(deps).running == 0


async def test_an_error_of_one_ends_the_others() -> None:
    deps = api_deps(Said(error=ContextTooLong("too long")), *waiting("never ends"))
    assert code_of(await ask(deps, n=2))[:2] == (400, "context_length_exceeded")
    assert model_of(deps).running == 0


async def test_one_that_is_cancelled_from_below_ends_the_others() -> None:
    deps = api_deps(Said("a b", error=asyncio.CancelledError()), *waiting("never ends"))
    assert code_of(await ask(deps, n=2))[:2] == (503, "model_unavailable")
    assert model_of(deps).running == 0


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_goes_away_ends_all(stream: bool) -> None:
    deps = api_deps(*waiting("one two", "three four"))
    async with running(create_app(deps)) as url, calling(deps) as client:
        body = {"model": "scripted", "messages": USER, "n": 2, "stream": stream}
        async with httpx.AsyncClient(base_url=url, headers=client.headers) as caller:
            asking = asyncio.create_task(caller.post("/v1/chat/completions", json=body))
            await until_running(deps, 2)
            asking.cancel()
            await asyncio.wait({asking})
        await until_running(deps, 0)


async def test_choices_begin_in_order_whichever_is_first() -> None:
    deps = api_deps(Said("late", gate=asyncio.Event()), Said("early"), streaming="live")
    chunks: list[Any] = []
    async with running(create_app(deps)) as url:
        client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0)
        stream = await client.chat.completions.create(model="scripted", messages=USER, n=2, stream=True)  # type: ignore[call-overload]
        async for chunk in stream:
            chunks += [(choice.index, choice.delta.role, choice.delta.content) for choice in chunk.choices]
            if chunk.choices[0].finish_reason:
                break
        await client.close()
    assert chunks[:2] == [(0, "assistant", ""), (1, "assistant", "")]
    assert (1, None, "early") in chunks


async def test_text_of_different_choices_is_never_joined() -> None:
    chunks = await streamed(api_deps(Said("a a a a"), Said("b b b b"), streaming="live"), n=2)
    texts = {0: "", 1: ""}
    for chunk in chunks[:-1]:
        for choice in chunk["choices"]:
            texts[choice["index"]] += choice["delta"].get("content") or ""
    assert sorted(texts.values()) == ["a a a a", "b b b b"]
