"""A revoked key ends with everything that it has open: streams of events, and answers under way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from agent.api import auth, create_app
from agent.api.auth import Keyring
from agent.api.deps import ApiDeps
from agent.serve.http_server import running
from agent.store import memory_journal
from agent.testing.api import KEY, Said, api_deps

CHAT = {"model": "scripted", "messages": [{"role": "user", "content": "Hello?"}]}
STREAMS = [
    ("/v1/chat/completions", {**CHAT, "stream": True}),
    ("/v1/responses", {"model": "scripted", "input": "Hello?", "stream": True}),
]


def deps_of(*answers: Said) -> ApiDeps:
    """An API whose keys are in a store that other processes share."""
    journal = memory_journal(poll_s=0.01)
    keyring = Keyring({KEY: "default"}, journal.keys)
    return api_deps(*answers, streaming="live", journal=journal, keys=journal.keys, keyring=keyring)


@pytest.fixture
def deps() -> ApiDeps:
    return deps_of(Said("a long answer", gate=asyncio.Event()))  # never set: nothing but the key ends it


@pytest.fixture
async def owner(deps: ApiDeps) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        running(create_app(deps)) as url,
        httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {KEY}"}, timeout=60) as client,
    ):
        yield client


async def key_of(owner: httpx.AsyncClient, role: str) -> tuple[str, dict[str, str]]:
    made = (await owner.post("/v1/keys", json={"name": "ann", "role": role})).json()
    return made["id"], {"authorization": f"Bearer {made['key']}"}


async def revoked(owner: httpx.AsyncClient, deps: ApiDeps, key: str, where: str) -> None:
    """By this process's API, or in the database alone, as another process does."""
    if where == "here":
        assert (await owner.delete(f"/v1/keys/{key}")).status_code == 200
    else:
        await deps.keys.revoke("default", key)


async def rest_of(lines: AsyncIterator[str]) -> float:
    """Seconds until the stream ends."""
    began = time.monotonic()
    async with asyncio.timeout(60):
        async for _ in lines:
            pass
    return time.monotonic() - began


def test_a_key_is_looked_up_often_enough() -> None:
    assert auth.FRESH_S + auth.WATCH_S < auth.REVOKED_WITHIN_S == 2.0


@pytest.mark.parametrize("where", ["here", "elsewhere"])
@pytest.mark.any_user
async def test_a_run_stream_ends_and_none_begins(owner: httpx.AsyncClient, deps: ApiDeps, where: str) -> None:
    key, headers = await key_of(owner, "viewer")
    run = (await owner.post("/v1/runs", json={"agent": "support", "input": "Hello?"})).json()
    path = f"/v1/runs/{run['id']}/events"
    async with owner.stream("GET", path, headers=headers) as answer, owner.stream("GET", path) as others:
        lines, other_lines = answer.aiter_lines(), others.aiter_lines()
        assert await anext(lines) == "id: 1"
        assert await anext(other_lines) == "id: 1"
        await revoked(owner, deps, key, where)
        assert await rest_of(lines) < 3 * auth.REVOKED_WITHIN_S
        again = await owner.get(path, headers={**headers, "last-event-id": "1"})
        assert (again.status_code, again.json()["error"]["code"]) == (401, "unauthorized")
        await owner.post(f"/v1/runs/{run['id']}/cancel")  # another key's stream goes on to the run's end
        assert any("run.ended" in line for line in [line async for line in other_lines])


@pytest.mark.parametrize("where", ["here", "elsewhere"])
@pytest.mark.parametrize(("path", "body"), STREAMS)
@pytest.mark.any_user
async def test_an_answer_under_way_ends(
    owner: httpx.AsyncClient, deps: ApiDeps, path: str, body: dict[str, Any], where: str
) -> None:
    key, headers = await key_of(owner, "operator")
    async with owner.stream("POST", path, json=body, headers=headers) as answer:
        lines = answer.aiter_lines()
        assert await anext(lines)
        await revoked(owner, deps, key, where)
        assert await rest_of(lines) < 3 * auth.REVOKED_WITHIN_S
    async with asyncio.timeout(20):
        await deps.model.cut.wait()  # type: ignore[attr-defined]  # the model's work ends too


async def test_a_whole_answer_under_way_is_refused(owner: httpx.AsyncClient, deps: ApiDeps) -> None:
    key, headers = await key_of(owner, "operator")
    asking = asyncio.create_task(owner.post("/v1/chat/completions", json=CHAT, headers=headers))
    await deps.model.asked.wait()  # type: ignore[attr-defined]
    await revoked(owner, deps, key, "here")
    async with asyncio.timeout(60):
        answer = await asking
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")


@pytest.mark.any_user
async def test_a_key_that_cannot_be_looked_up_ends_its_stream_in_the_end() -> None:
    class Broken:
        async def by_digest(self, sha256: str) -> None:
            raise OSError("the database is gone")

    keyring = Keyring({KEY: "default"}, Broken(), watch_s=0.01)  # type: ignore[arg-type]
    async with asyncio.timeout(60):
        await keyring.revoked("Bearer another-key-0123456789")
    deployment = asyncio.create_task(keyring.revoked(f"Bearer {KEY}"))
    assert not (await asyncio.wait({deployment}, timeout=0.1))[0]  # the deployment's own key is in no database
    deployment.cancel()
