"""Who stops and lifts what: actor, reason, and stops of the deployment."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from agent.api import ApiDeps, create_app
from agent.testing.api import KEY, OTHER_KEY, api_deps

RUN = {"agent": "support", "input": "Where is my order?"}
Clients = tuple[httpx.AsyncClient, httpx.AsyncClient]


@asynccontextmanager
async def client_of(deps: ApiDeps, key: str) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(deps), raise_app_exceptions=False)
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as found:
        yield found


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    """Of the deployment, and of the tenant ``other``."""
    deps = api_deps()
    async with client_of(deps, KEY) as own, client_of(deps, OTHER_KEY) as other:
        yield own, other


async def starts(client: httpx.AsyncClient) -> int:
    return (await client.post("/v1/runs", json=RUN)).status_code


async def test_a_stop_and_its_lifting_name_actor_and_reason(clients: Clients) -> None:
    own, _ = clients
    raised = (await own.post("/v1/interrupts", json={"reason": "fire"})).json()
    assert (raised["created_by"], raised["reason"]) == ("key:default", "fire")
    path = f"/v1/interrupts/{raised['id']}"
    lifted = (await own.delete(path, params={"reason": "it was a drill"})).json()
    assert (lifted["cleared_by"], lifted["clear_reason"]) == ("key:default", "it was a drill")
    assert (await own.delete(path, params={"reason": "again"})).json() == lifted
    [listed] = (await own.get("/v1/interrupts", params={"active": False})).json()["data"]
    assert listed == lifted
    assert (await own.delete(path, params={"reason": "x" * 2001})).status_code == 400


async def test_the_deployment_stops_one_tenant(clients: Clients) -> None:
    own, other = clients
    body = {"scope": "tenant", "target": "other", "reason": "unpaid"}
    stop = (await own.post("/v1/interrupts", json=body)).json()
    assert (await starts(own), await starts(other)) == (201, 423)
    [seen] = (await other.get("/v1/interrupts")).json()["data"]
    assert seen["id"] == stop["id"]
    refused = await other.delete(f"/v1/interrupts/{stop['id']}")
    assert refused.status_code == 403
    assert "only the deployment's own key clears it" in refused.json()["error"]["message"]
    assert (await own.get("/v1/interrupts")).json()["data"] == []
    assert (await own.delete(f"/v1/interrupts/{stop['id']}")).status_code == 200
    assert await starts(other) == 201


async def test_the_deployment_stops_all_tenants(clients: Clients) -> None:
    own, other = clients
    stop = (await own.post("/v1/interrupts", json={"scope": "tenant", "target": "*"})).json()
    assert (stop["scope"], stop["tenant_id"], stop["target"]) == ("all", "*", None)
    assert (await starts(own), await starts(other)) == (423, 423)
    assert (await other.delete(f"/v1/interrupts/{stop['id']}")).status_code == 403
    assert (await own.delete(f"/v1/interrupts/{stop['id']}")).status_code == 200
    assert (await starts(own), await starts(other)) == (201, 201)


async def test_a_tenant_stops_only_itself(clients: Clients) -> None:
    own, other = clients
    for target in ("default", "other", "*"):
        refused = await other.post("/v1/interrupts", json={"scope": "tenant", "target": target})
        assert refused.status_code == 403, target
    stop = (await other.post("/v1/interrupts", json={})).json()
    assert (await starts(own), await starts(other)) == (201, 423)
    assert (await own.delete(f"/v1/interrupts/{stop['id']}")).status_code == 404
