from __future__ import annotations

import pytest

from agent.testing.api import api_deps
from tests.agent.api.test_runs import calling, refused


@pytest.mark.parametrize(
    ("path", "name", "hint"),
    [
        ("/v1/runs?state=running", "state", "did you mean status?"),
        ("/v1/runs?status=queued&ststus=running", "ststus", "did you mean status?"),
        ("/v1/whoami?who=me", "who", "known: none"),
        ("/v1/runs/run_1/events?before=3", "before", "known: after"),
    ],
)
async def test_unknown_query_parameters_are_refused(path: str, name: str, hint: str) -> None:
    async with calling(api_deps()) as client:
        assert hint in refused(await client.get(path), 400, "invalid_request", name)


async def test_openais_paths_take_parameters_of_other_servers() -> None:
    async with calling(api_deps()) as client:
        assert (await client.get("/v1/models?api-version=2024-10-21")).status_code == 200
