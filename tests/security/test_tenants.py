"""A tenant's key, however it came to be, reaches no other tenant."""

from __future__ import annotations

import httpx
import pytest

from agent.api import create_app
from agent.api.deps import ApiDeps
from agent.fakes_api import KEY, OTHER_KEY, api_deps

RUN = {"agent": "support", "input": "Where is my order?"}


def calling(deps: ApiDeps, key: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_app(deps), raise_app_exceptions=False)
    headers = {"authorization": f"Bearer {key}"}
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers)


@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
async def test_a_tenants_own_key_makes_none_for_another_tenant(role: str) -> None:
    """``FLIGHTLOOP_TENANT_KEYS`` goes to the tenants; only the deployment's own key makes keys for all."""
    deps = api_deps()
    async with calling(deps, OTHER_KEY) as other, calling(deps, KEY) as owner:
        for tenant in ("default", "third"):
            refused = await other.post("/v1/keys", json={"name": "x", "role": role, "tenant_id": tenant})
            assert (refused.status_code, refused.json()["error"]["param"]) == (403, "tenant_id")
        assert (await owner.get("/v1/keys")).json()["data"] == []
        assert (await other.post("/v1/keys", json={"name": "x", "role": role})).json()["tenant_id"] == "other"
        made = await owner.post("/v1/keys", json={"name": "x", "role": role, "tenant_id": "third"})
        assert made.json()["tenant_id"] == "third"


async def test_nothing_of_a_run_is_another_tenants() -> None:
    deps = api_deps()
    async with calling(deps, KEY) as owner, calling(deps, OTHER_KEY) as other:
        run = (await owner.post("/v1/runs", json=RUN)).json()["id"]
        interrupt = (await owner.post("/v1/interrupts", json={"scope": "agent", "target": "x"})).json()["id"]
        asked = [
            ("GET", f"/v1/runs/{run}", None),
            ("GET", f"/v1/runs/{run}/events", None),
            ("POST", f"/v1/runs/{run}/fork", {"step": 0}),
            ("POST", f"/v1/runs/{run}/cancel", None),
            ("POST", f"/v1/runs/{run}/interrupt", {}),
            ("POST", f"/v1/runs/{run}/resume", {}),
            ("POST", f"/v1/runs/{run}/feedback", {"score": 5, "resolved": True}),
            ("POST", f"/v1/runs/{run}/outcome", {"solved": True}),
            ("DELETE", f"/v1/interrupts/{interrupt}", None),
        ]
        for method, path, body in asked:
            assert (await other.request(method, path, json=body)).status_code == 404, path
        assert (await other.get("/v1/audit", params={"run_id": run})).json()["data"] == []
        assert (await owner.get("/v1/interrupts")).json()["data"][0]["cleared_at"] is None
