from __future__ import annotations

import httpx
import pytest

from agent.api import ApiDeps
from tests.agent.api.test_runs import client, deps, refused

__all__ = ["client", "deps"]


@pytest.mark.parametrize(
    "url", ["/v1/runs/%00", "/v1/runs?session_id=a%00b", "/v1/runs?after=%00", "/v1/usage?session_id=%00"]
)
async def test_no_name_has_a_nul(client: httpx.AsyncClient, deps: ApiDeps, url: str) -> None:
    """PostgreSQL would not take it."""
    assert "NUL" in refused(await client.get(url), 400, "invalid_request")


async def test_nor_has_a_session(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/runs", json={"agent": "support", "input": "Hi.\0", "session_id": "a\0b"})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == "session_id"
    assert (await client.post("/v1/runs", json={"agent": "support", "input": "Hi.\0"})).status_code == 201
