from __future__ import annotations

import httpx

from agent.api import ApiDeps
from agent.run.journal import new_id
from flightloop.events import RunCreated
from flightloop.runs import Caller, Parent
from tests.agent.api.test_runs import answered, client, created, deps, refused

__all__ = ["client", "deps"]


async def test_a_fork_begins_with_the_first_steps(client: httpx.AsyncClient, deps: ApiDeps) -> None:
    run = await created(client, metadata={"a": "b"})
    await answered(deps, run["id"])
    answer = await client.post(f"/v1/runs/{run['id']}/fork", json={"step": 0, "input": "And now?"})
    fork = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/runs/{fork['id']}"
    assert (fork["origin"]["run_id"], fork["origin"]["step"]) == (run["id"], 0)
    assert fork["input"] == [{"type": "text", "text": "And now?"}]
    assert fork["session_id"] != run["session_id"]
    beyond = await client.post(f"/v1/runs/{run['id']}/fork", json={"step": 7})
    assert "has 1 steps" in refused(beyond, 400, "invalid_request", "step")


async def test_a_run_that_works_for_another_is_forked_with_it(client: httpx.AsyncClient, deps: ApiDeps) -> None:
    run = await created(client)
    caller = Caller(run_id=run["id"], agent="support")
    child = RunCreated(
        run_id=new_id("run"), agent="support", session_id="s", input="Look it up.", budget=run["budget"],
        parent=Parent(call_id="call_1_0", callers=[caller]),
    )  # fmt: skip
    await deps.journal.create(child)
    said = refused(await client.post(f"/v1/runs/{child.run_id}/fork", json={"step": 0}), 409, "conflict")
    assert f"is a sub-run of run {run['id']}" in said
    assert "fork that run instead" in said


async def test_what_a_fork_asks_for_has_to_be_there(client: httpx.AsyncClient) -> None:
    run = await created(client)
    for field in ("policy", "model"):
        answer = await client.post(f"/v1/runs/{run['id']}/fork", json={"step": 0, field: "nope"})
        assert answer.status_code == 404, answer.text
        assert answer.json()["error"]["param"] == field
    assert (await client.post("/v1/runs/run_nope/fork", json={"step": 0})).status_code == 404


async def test_a_stop_of_its_session_holds_for_a_fork(client: httpx.AsyncClient) -> None:
    run = await created(client, session_id="s")
    stop = await client.post("/v1/interrupts", json={"scope": "session", "target": "s", "reason": "test"})
    answer = await client.post(f"/v1/runs/{run['id']}/fork", json={"step": 0})
    assert (answer.status_code, answer.json()["error"]["code"]) == (423, "interrupted")
    await client.delete(f"/v1/interrupts/{stop.json()['id']}")
    assert (await client.post(f"/v1/runs/{run['id']}/fork", json={"step": 0})).status_code == 201
