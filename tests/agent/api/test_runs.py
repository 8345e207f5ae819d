from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from agent.api import ApiDeps, create_app
from agent.reporting.readiness import Readiness
from agent.testing.api import KEY, OTHER_KEY, api_deps
from flightloop.events import (
    ApprovalRequested,
    CallsDecided,
    Judged,
    ModelCall,
    Replied,
    RunEnded,
)
from flightloop.runs import RunStatus, StopReason
from flightloop.verdicts import Action, Stage, Verdict

RUN = {"agent": "support", "input": "Where is my order?"}


@asynccontextmanager
async def calling(deps: ApiDeps, key: str | None = KEY) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    transport = httpx.ASGITransport(create_app(deps), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
        yield client


@pytest.fixture
def deps() -> ApiDeps:
    return api_deps()


@pytest.fixture
async def client(deps: ApiDeps) -> AsyncIterator[httpx.AsyncClient]:
    async with calling(deps) as found:
        yield found


def refused(answer: httpx.Response, status: int, code: str, param: str | None = None) -> str:
    """Asserts an error document; returns its message."""
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (status, code, param), answer.text
    assert set(error) == {"message", "type", "param", "code"}
    assert answer.headers["x-request-id"]
    return str(error["message"])


async def created(client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    answer = await client.post("/v1/runs", json={**RUN, **fields})
    assert answer.status_code == 201, answer.text
    run: dict[str, Any] = answer.json()
    return run


async def answered(deps: ApiDeps, run_id: str) -> None:
    """What a worker would write of a run that ends well."""
    claim = await deps.journal.claim("w", 30)
    assert claim is not None
    assert claim.run.id == run_id
    model = ModelCall(model="m")
    ended = RunEnded(status=RunStatus.SUCCEEDED, stop_reason=StopReason.ANSWERED, output=[], step=1)
    await deps.journal.append(run_id, [Replied(text="done", model=model, step=1), ended], claim.lease)


async def asking(deps: ApiDeps, run_id: str) -> str:
    """What a worker would write of a run that asks a person; returns the approval's id."""
    claim = await deps.journal.claim("w", 30)
    assert claim is not None
    events = [
        CallsDecided(calls=[], model=ModelCall(model="m"), step=1),
        Judged(verdict=Verdict(action=Action.ASK, rail="tools", stage=Stage.TOOL_CALL), call_id="c1", step=1),
        ApprovalRequested(
            approval_id="apr_1", call_id="c1", tool="pay", arguments={"amount": 5}, reason="large", step=1,
            args_sha256="a", policy_sha256="p", expires_at=datetime.now(UTC) + timedelta(hours=1),
        ),
    ]  # fmt: skip
    await deps.journal.append(run_id, events, claim.lease)
    await deps.journal.release(claim.lease, RunStatus.WAITING_APPROVAL)
    return "apr_1"


async def test_creates_a_run_with_the_agents_bounds_lowered(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/runs", json={**RUN, "budget": {"steps": 2, "tokens": 9999}, "metadata": {"a": "b"}})
    run = answer.json()
    assert answer.status_code == 201
    assert run["status"] == "queued"
    assert run["budget"] == {"steps": 2, "tokens": 1000, "seconds": 60, "cost": None}
    assert run["session_id"].startswith("ses_")
    assert run["metadata"] == {"a": "b"}
    assert answer.headers["location"] == f"/v1/runs/{run['id']}"
    assert (await client.get(answer.headers["location"])).json() == run


async def test_unknown_names_are_404_with_the_known_ones(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/runs", json={**RUN, "agent": "nobody"})
    assert "known: support" in refused(answer, 404, "not_found", "agent")
    refused(await client.get("/v1/runs/run_0"), 404, "not_found")


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        ({"input": "x"}, "agent", "required"),
        ({**RUN, "input": ""}, "input", "empty"),
        ({**RUN, "input": []}, "input", "at least 1"),
        ({**RUN, "budget": {"steps": 0}}, "budget.steps", "greater than or equal to 1"),
        ({**RUN, "budget": {"steps": "many"}}, "budget.steps", "integer"),
        ({**RUN, "metadata": {str(i): "x" for i in range(17)}}, "metadata", "at most 16"),
        ({**RUN, "session_id": ""}, "session_id", "at least 1"),
        ([], None, "must be an object"),
    ],
)
async def test_bad_input_names_the_field_and_the_limit(
    client: httpx.AsyncClient, body: Any, param: str | None, says: str
) -> None:
    assert says in refused(await client.post("/v1/runs", json=body), 400, "invalid_request", param)


async def test_an_input_beyond_the_context_is_refused(client: httpx.AsyncClient) -> None:
    longest = {**RUN, "input": "x" * 300}
    assert (await client.post("/v1/runs", json=longest)).status_code == 201
    beyond = await client.post("/v1/runs", json={**RUN, "input": "x" * 301})
    assert "maximum context length is 100 tokens" in refused(beyond, 400, "context_length_exceeded", "input")


async def test_parts_the_model_does_not_take(client: httpx.AsyncClient) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    answer = await client.post("/v1/runs", json={**RUN, "input": [{"type": "text", "text": "see"}, image]})
    refused(answer, 400, "unsupported_content", "input[1]")


async def test_malformed_json_method_and_path(client: httpx.AsyncClient) -> None:
    json = {"content-type": "application/json"}
    assert "JSON" in refused(await client.post("/v1/runs", content=b"{", headers=json), 400, "invalid_request")
    assert "GET" in refused(await client.put("/v1/runs"), 405, "method_not_allowed")
    refused(await client.get("/v2"), 404, "not_found")


async def test_a_large_body_is_refused_however_it_is_sent() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 1000

    async with calling(api_deps(max_body_bytes=10_000)) as client:
        refused(await client.post("/v1/runs", content=b"x" * 10_001), 413, "payload_too_large")
        assert "10000" in refused(await client.post("/v1/runs", content=pieces()), 413, "payload_too_large")


async def test_a_key_is_needed(deps: ApiDeps) -> None:
    async with calling(deps, None) as client:
        answer = await client.get("/v1/runs")
        assert "Authorization" in refused(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"
        refused(await client.get("/v1/runs", headers={"authorization": "Bearer nonsense"}), 401, "unauthorized")
        refused(await client.get("/v1/runs", headers={"authorization": f"Basic {KEY}"}), 401, "unauthorized")
        for path in ("/healthz", "/readyz", "/metrics", "/openapi.json"):
            assert (await client.get(path)).status_code == 200
        # A proxy on this machine forwards strangers.
        refused(await client.get("/metrics", headers={"x-forwarded-for": "203.0.113.9"}), 401, "unauthorized")


async def test_tenants_do_not_see_each_other(deps: ApiDeps, client: httpx.AsyncClient) -> None:
    run = await created(client)
    async with calling(deps, OTHER_KEY) as other:
        refused(await other.get(f"/v1/runs/{run['id']}"), 404, "not_found")
        refused(await other.post(f"/v1/runs/{run['id']}/cancel"), 404, "not_found")
        assert (await other.get("/v1/runs")).json()["data"] == []
        assert (await created(other))["tenant_id"] == "other"
        await client.post("/v1/interrupts", json={})
        await created(other)  # another tenant's interrupt stops nobody else


async def test_request_ids(client: httpx.AsyncClient) -> None:
    mine = await client.get("/healthz", headers={"x-request-id": "my-1"})
    assert mine.headers["x-request-id"] == "my-1"
    made = await client.get("/healthz", headers={"x-request-id": "not plain"})
    assert made.headers["x-request-id"].startswith("req_")


async def test_idempotency(deps: ApiDeps, client: httpx.AsyncClient) -> None:
    key = {"idempotency-key": "k1"}
    first = await client.post("/v1/runs", json=RUN, headers=key)
    again = await client.post("/v1/runs", json=dict(reversed(RUN.items())), headers=key)
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    answer = await client.post("/v1/runs", json={**RUN, "input": "other"}, headers=key)
    assert answer.json()["error"]["code"] == "idempotency_mismatch"
    assert answer.status_code == 422
    async with calling(deps, OTHER_KEY) as other:
        answer = await other.post("/v1/runs", json={**RUN, "input": "other"}, headers=key)
        assert answer.status_code == 201
    assert len((await client.get("/v1/runs")).json()["data"]) == 1


async def test_idempotency_key_in_flight(deps: ApiDeps) -> None:
    app = create_app(deps)
    app.state.in_flight.add(("default", "k1"))
    transport = httpx.ASGITransport(app)
    headers = {"authorization": f"Bearer {KEY}", "idempotency-key": "k1"}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
        answer = await client.post("/v1/runs", json=RUN)
        refused(answer, 409, "idempotency_in_flight", "Idempotency-Key")
        assert answer.headers["retry-after"] == "1"
        app.state.in_flight.clear()
        assert (await client.post("/v1/runs", json=RUN)).status_code == 201
    assert not app.state.in_flight


async def test_pages(client: httpx.AsyncClient) -> None:
    ids = [(await created(client, session_id=f"s{number % 2}"))["id"] for number in range(5)]
    first = (await client.get("/v1/runs", params={"limit": 2})).json()
    second = (await client.get("/v1/runs", params={"limit": 2, "after": first["next_after"]})).json()
    last = (await client.get("/v1/runs", params={"limit": 2, "after": second["next_after"]})).json()
    assert [run["id"] for page in (first, second, last) for run in page["data"]] == ids[::-1]
    assert [page["has_more"] for page in (first, second, last)] == [True, True, False]
    assert last["next_after"] is None
    of_one = (await client.get("/v1/runs", params={"session_id": "s1", "status": "queued"})).json()["data"]
    assert [run["id"] for run in of_one] == [ids[3], ids[1]]
    assert "200" in refused(await client.get("/v1/runs", params={"limit": 201}), 400, "invalid_request", "limit")
    refused(await client.get("/v1/runs", params={"status": "odd"}), 400, "invalid_request", "status")
    refused(await client.get("/v1/runs", params={"after": "run_0"}), 404, "not_found")


async def test_cancel_and_its_conflicts(client: httpx.AsyncClient) -> None:
    run = await created(client)
    cancelled = (await client.post(f"/v1/runs/{run['id']}/cancel")).json()
    assert (cancelled["status"], cancelled["stop_reason"]) == ("cancelled", "cancel")
    refused(await client.post(f"/v1/runs/{run['id']}/cancel"), 409, "conflict")
    refused(await client.post(f"/v1/runs/{run['id']}/resume"), 409, "conflict")


async def test_interrupt_and_resume_one_run(client: httpx.AsyncClient) -> None:
    run = await created(client)
    stopped = (await client.post(f"/v1/runs/{run['id']}/interrupt", json={"reason": "odd"})).json()
    assert (stopped["status"], stopped["stop_reason"]) == ("interrupted", "interrupt")
    latched = (await client.get("/v1/interrupts")).json()["data"]
    assert [(item["scope"], item["target"], item["reason"]) for item in latched] == [("run", run["id"], "odd")]
    assert 'flightloop_guardrail_interrupts_total{scope="run"} 1.0' in (await client.get("/metrics")).text
    await created(client)  # it stops no other run
    resumed = (await client.post(f"/v1/runs/{run['id']}/resume", json={"budget": {"steps": 3}})).json()
    assert (resumed["status"], resumed["budget"]["steps"]) == ("queued", 3)
    assert (await client.get("/v1/interrupts")).json()["data"] == []


@pytest.mark.parametrize(
    ("interrupt", "stopped", "free"),
    [
        ({"scope": "all"}, RUN, None),
        ({"scope": "agent", "target": "support"}, RUN, None),
        ({"scope": "session", "target": "s1"}, {**RUN, "session_id": "s1"}, {**RUN, "session_id": "s2"}),
    ],
)
async def test_an_interrupt_refuses_new_runs_until_cleared(
    client: httpx.AsyncClient, interrupt: dict[str, str], stopped: dict[str, str], free: dict[str, str] | None
) -> None:
    raised = (await client.post("/v1/interrupts", json={**interrupt, "reason": "drill"})).json()
    assert "drill" in refused(await client.post("/v1/runs", json=stopped), 423, "interrupted")
    if free:
        assert (await client.post("/v1/runs", json=free)).status_code == 201
    cleared = (await client.delete(f"/v1/interrupts/{raised['id']}")).json()
    assert cleared["cleared_at"] is not None
    assert (await client.post("/v1/runs", json=stopped)).status_code == 201
    assert (await client.get("/v1/interrupts")).json()["data"] == []
    assert len((await client.get("/v1/interrupts", params={"active": False})).json()["data"]) == 1
    refused(await client.delete("/v1/interrupts/int_0"), 404, "not_found")


@pytest.mark.parametrize("body", [{"scope": "session"}, {"scope": "all", "target": "x"}, {"scope": "agent"}])
async def test_an_interrupts_target_fits_its_scope(client: httpx.AsyncClient, body: dict[str, str]) -> None:
    refused(await client.post("/v1/interrupts", json=body), 400, "invalid_request", "target")


async def test_approvals(deps: ApiDeps, client: httpx.AsyncClient) -> None:
    run = await created(client, subject="17")
    approval = await asking(deps, run["id"])
    pending = (await client.get("/v1/approvals", params={"status": "pending"})).json()["data"]
    assert [(item["id"], item["run_id"], item["tool"]) for item in pending] == [(approval, run["id"], "pay")]
    assert pending[0]["subject"] == {"id": "17", "claims": {}}  # who decides sees whose call it is
    for whose, ids in ((run["id"], [approval]), ("run_0", [])):
        found = (await client.get("/v1/approvals", params={"run_id": whose})).json()["data"]
        assert [item["id"] for item in found] == ids
    async with calling(deps, OTHER_KEY) as other:
        refused(await other.post(f"/v1/approvals/{approval}", json={"decision": "approve"}), 404, "not_found")
    answer = await client.post(f"/v1/approvals/{approval}", json={"decision": "maybe"})
    refused(answer, 400, "invalid_request", "decision")
    decided = (await client.post(f"/v1/approvals/{approval}", json={"decision": "deny", "reason": "no"})).json()
    assert (decided["status"], decided["decided_by"], decided["decision_reason"]) == ("denied", "key:default", "no")
    refused(await client.post(f"/v1/approvals/{approval}", json={"decision": "approve"}), 409, "conflict")
    assert (await client.get(f"/v1/runs/{run['id']}")).json()["status"] == "queued"


async def test_audit_pages(deps: ApiDeps, client: httpx.AsyncClient) -> None:
    run = await created(client)
    await asking(deps, run["id"])
    await deps.journal.record("default", [Verdict(action=Action.ALLOW, rail="r", stage=Stage.INPUT)])
    first = (await client.get("/v1/audit", params={"limit": 1})).json()
    rest = (await client.get("/v1/audit", params={"after": first["next_after"]})).json()
    records = first["data"] + rest["data"]
    assert [record["run_id"] for record in records] == [run["id"], None]
    assert records[1]["previous_sha256"] == records[0]["sha256"]
    assert (first["has_more"], rest["has_more"], rest["next_after"]) == (True, False, None)
    only = (await client.get("/v1/audit", params={"run_id": run["id"]})).json()["data"]
    assert len(only) == 1


async def test_feedback_and_outcome(deps: ApiDeps, client: httpx.AsyncClient) -> None:
    run = await created(client)
    refused(await client.post(f"/v1/runs/{run['id']}/outcome", json={"solved": True}), 409, "conflict")
    await answered(deps, run["id"])
    feedback = {"score": 6, "resolved": True}
    refused(await client.post(f"/v1/runs/{run['id']}/feedback", json=feedback), 400, "invalid_request", "score")
    rated = (await client.post(f"/v1/runs/{run['id']}/feedback", json={**feedback, "score": 5})).json()
    assert rated["feedback"] == {"score": 5, "resolved": True, "comment": None}
    assert (await client.post(f"/v1/runs/{run['id']}/outcome", json={"solved": False})).status_code == 200
    events = await deps.journal.events("default", run["id"])
    assert [(event.type, getattr(event, "by", None)) for event in events[-2:]] == [
        ("feedback", None),
        ("outcome", "key:default"),
    ]


async def test_the_catalogue(client: httpx.AsyncClient) -> None:
    assert [agent["name"] for agent in (await client.get("/v1/agents")).json()["data"]] == ["support"]
    assert [tool["name"] for tool in (await client.get("/v1/tools")).json()["data"]] == ["add"]
    policies = (await client.get("/v1/policies")).json()["data"]
    assert [(policy["name"], len(policy["sha256"])) for policy in policies] == [("default", 64)]
    assert "at" in (await client.get("/v1/overview")).json()


async def test_not_ready_says_why() -> None:
    async def ready() -> Readiness:
        return Readiness(["the model does not answer"], project="agents/a.yaml:3: not YAML")

    async with calling(api_deps(ready=ready)) as client:
        assert "the model" in refused(await client.get("/readyz"), 503, "not_ready")
        assert (await client.get("/healthz")).status_code == 200


async def test_what_nobody_foresaw_is_a_document_without_its_text() -> None:
    async def ready() -> Readiness:
        raise RuntimeError("secret detail")

    async with calling(api_deps(ready=ready)) as client:
        assert "secret" not in refused(await client.get("/readyz"), 500, "internal_error")


async def test_metrics_count_by_route_template(client: httpx.AsyncClient) -> None:
    run = await created(client)
    await client.get(f"/v1/runs/{run['id']}")
    await client.get("/v1/runs/run_0")
    await client.get("/nowhere/1")
    plain = await client.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain")
    lines = [line for line in plain.text.splitlines() if line.startswith("flightloop_system_http_requests_total{")]
    told = {line.rpartition(" ")[0].partition("{")[2]: float(line.rpartition(" ")[2]) for line in lines}
    assert told['method="GET",route="/v1/runs/{run_id}",status="200"}'] == 1
    assert told['method="GET",route="/v1/runs/{run_id}",status="404"}'] == 1
    assert told['method="GET",route="unmatched",status="404"}'] == 1
    assert run["id"] not in plain.text
    asked = await client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert asked.headers["content-type"].startswith("application/openmetrics-text")
    assert asked.text.endswith("# EOF\n")


async def test_openapi_documents_every_route_and_its_errors(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    operations = {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert set(operations) == {
        "POST /v1/chat/completions", "GET /v1/models", "GET /v1/models/{model_id}", "POST /v1/runs", "GET /v1/runs",
        "GET /v1/runs/{run_id}",
        "GET /v1/runs/{run_id}/events", "POST /v1/runs/{run_id}/cancel", "POST /v1/runs/{run_id}/interrupt",
        "POST /v1/runs/{run_id}/resume", "POST /v1/runs/{run_id}/feedback", "POST /v1/runs/{run_id}/outcome",
        "GET /v1/approvals", "GET /v1/approvals/{approval_id}", "POST /v1/approvals/{approval_id}",
        "GET /v1/interrupts", "POST /v1/interrupts",
        "DELETE /v1/interrupts/{interrupt_id}", "GET /v1/agents", "GET /v1/tools", "GET /v1/whoami", "GET /v1/policies",
        "GET /v1/project",
        "GET /v1/keys", "POST /v1/keys", "DELETE /v1/keys/{key_id}", "POST /v1/runs/{run_id}/fork",
        "POST /v1/predictions", "GET /v1/predictions/{run_id}", "POST /v1/erasures",
        "POST /v1/responses", "GET /v1/audit", "GET /v1/overview", "GET /v1/usage", "GET /healthz", "GET /readyz",
        "GET /metrics", "GET /v1/audit/verification", "GET /v1/policies/{sha256}",
    }  # fmt: skip
    for name, operation in operations.items():
        if "/v1/" in name:
            assert operation["security"] == [{"HTTPBearer": []}], name
            assert {"400", "401", "default"} <= set(operation["responses"]), name
            assert "HTTPValidationError" not in str(operation["responses"]), name
