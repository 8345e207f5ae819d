"""A field that is not known is refused where a misspelt one would do harm."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.agent.api.test_runs import RUN, client, created, deps, refused

__all__ = ["client", "deps"]


@pytest.mark.parametrize(
    ("verb", "body", "param"),
    [
        ("", {**RUN, "budget": {"token": 100}}, "budget.token"),
        ("", {**RUN, "session_budget": {"token": 100}}, "session_budget.token"),
        ("", {**RUN, "bugdet": {"tokens": 100}}, "bugdet"),
        ("/resume", {"budget": {"token": 100}}, "budget.token"),
        ("/resume", {"bugdet": {"tokens": 100}}, "bugdet"),
        ("/fork", {"step": 0, "budget": {"token": 100}}, "budget.token"),
        ("/fork", {"step": 0, "polity": "default"}, "polity"),
        ("/interrupt", {"reasons": "drill"}, "reasons"),
        ("/feedback", {"score": 5, "resolved": True, "coment": "quick"}, "coment"),
        ("/outcome", {"solved": True, "buy": "test"}, "buy"),
    ],
)
async def test_a_name_that_is_none_is_refused(
    client: httpx.AsyncClient, verb: str, body: dict[str, Any], param: str
) -> None:
    path = f"/v1/runs/{(await created(client))['id']}{verb}" if verb else "/v1/runs"
    assert "no such field" in refused(await client.post(path, json=body), 400, "invalid_request", param)


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/keys", {"name": "console", "rol": "viewer"}, "rol"),
        ("/v1/interrupts", {"scope": "all", "target_": "a"}, "target_"),
        ("/v1/approvals/apr_1", {"decision": "deny", "raeson": "no"}, "raeson"),
    ],
)
async def test_nor_is_one_of_a_key_a_stop_or_a_decision(
    client: httpx.AsyncClient, path: str, body: dict[str, Any], param: str
) -> None:
    assert "no such field" in refused(await client.post(path, json=body), 400, "invalid_request", param)


async def test_a_body_that_does_not_say_that_it_is_json_is_told_to(client: httpx.AsyncClient) -> None:
    for path in ("/v1/runs", "/v1/chat/completions", "/v1/responses"):
        for kind, content in (("application/x-www-form-urlencoded", b'{"agent": "support"}'), ("text/plain", b"")):
            answer = await client.post(path, content=content, headers={"content-type": kind})
            assert "Content-Type: application/json" in refused(answer, 400, "invalid_request")
