"""What is asked for twice is done once, whatever is created; lists that no database cuts come in pages."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from agent.api import ApiDeps, create_app
from agent.testing.api import KEY, api_deps

RUN = {"agent": "support", "input": "Where is my order?"}


@pytest.fixture
def deps() -> ApiDeps:
    return api_deps()


@pytest.fixture
async def client(deps: ApiDeps) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(deps), raise_app_exceptions=False)
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as found:
        yield found


def refused(answer: httpx.Response, status: int, code: str, param: str | None = None) -> None:
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (status, code, param), answer.text


async def test_an_interrupt_is_raised_once_for_a_key(deps: ApiDeps, client: httpx.AsyncClient) -> None:
    key = {"idempotency-key": "k1"}
    first = await client.post("/v1/interrupts", json={"reason": "drill"}, headers=key)
    again = await client.post("/v1/interrupts", json={"reason": "drill"}, headers=key)
    assert (again.status_code, again.json(), again.headers["idempotent-replayed"]) == (201, first.json(), "true")
    assert "idempotent-replayed" not in first.headers
    assert [stop.id for stop in await deps.journal.interrupts("default")] == [first.json()["id"]]
    answer = await client.post("/v1/interrupts", json={"reason": "fire"}, headers=key)
    refused(answer, 422, "idempotency_mismatch")
    await client.delete(f"/v1/interrupts/{first.json()['id']}")
    refused(await client.post("/v1/runs", json=RUN, headers=key), 422, "idempotency_mismatch")


async def test_pages_of_interrupts(client: httpx.AsyncClient) -> None:
    ids = [
        (await client.post("/v1/interrupts", json={"scope": "session", "target": str(n)})).json()["id"]
        for n in range(3)
    ]
    first = (await client.get("/v1/interrupts", params={"limit": 1})).json()
    assert ([item["id"] for item in first["data"]], first["has_more"]) == ([ids[2]], True)
    await client.delete(f"/v1/interrupts/{ids[2]}")  # still a place in the list
    rest = (await client.get("/v1/interrupts", params={"after": first["next_after"]})).json()
    assert ([item["id"] for item in rest["data"]], rest["has_more"]) == ([ids[1], ids[0]], False)
    refused(await client.get("/v1/interrupts", params={"after": "int_0"}), 404, "not_found", "after")
    assert (await client.get("/v1/tools", params={"after": "add"})).json()["data"] == []
    refused(await client.get("/v1/agents", params={"limit": 0}), 400, "invalid_request", "limit")
