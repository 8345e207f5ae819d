"""Whose run it is: what a key may vouch for, and what a key that is bound to a subject sees."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from agent.api import ApiDeps, create_app
from agent.run.budgets import TenantBudgets
from agent.testing.api import KEY, OTHER_KEY, Said, ScriptedChat, api_deps
from flightloop.runs import Budget
from flightloop.subject import ID_CHARS

RUN = {"agent": "support", "input": "Where is my order?"}
ANN = {"id": "ann", "claims": {"email": "ann@example.com", "vip": True, "orders": 3}}
RESPONSE = {"model": "scripted", "input": "hi"}
CHAT = {"model": "scripted", "messages": [{"role": "user", "content": "hi"}]}


class Clients:
    """Clients of one API by key."""

    def __init__(self, deps: ApiDeps, stack: AsyncExitStack) -> None:
        self.deps, self._stack = deps, stack
        self._app = create_app(deps)

    async def of(self, key: str) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
        headers = {"authorization": f"Bearer {key}"}
        client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers)
        return await self._stack.enter_async_context(client)

    async def holder(self, **fields: Any) -> httpx.AsyncClient:
        """Client of a new key."""
        owner = await self.of(KEY)
        made = await owner.post("/v1/keys", json={"name": "web", **fields})
        assert made.status_code == 201, made.text
        return await self.of(made.json()["key"])


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    async with AsyncExitStack() as stack:
        yield Clients(api_deps(), stack)


@pytest.fixture
async def owner(clients: Clients) -> httpx.AsyncClient:
    return await clients.of(KEY)


async def started(client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    answer = await client.post("/v1/runs", json={**RUN, **fields})
    assert answer.status_code == 201, answer.text
    run: dict[str, Any] = answer.json()
    return run


async def test_a_run_carries_its_subject(clients: Clients, owner: httpx.AsyncClient) -> None:
    run = await started(owner, subject=ANN)
    assert run["subject"] == ANN
    assert (await owner.get(f"/v1/runs/{run['id']}")).json()["subject"] == ANN
    (event, *_) = await clients.deps.journal.events("default", run["id"])
    assert event.subject.model_dump() == ANN  # type: ignore[union-attr]
    assert (await started(owner, subject="ann"))["subject"] == {"id": "ann", "claims": {}}
    assert (await started(owner))["subject"] is None


@pytest.mark.parametrize(
    ("subject", "told"),
    [
        ("", "at least 1"),
        ("x" * (ID_CHARS + 1), f"{ID_CHARS}"),
        ("a\u0000b", "printable"),
        ("a\u202eb", "printable"),
        (" ann", "space at its ends"),
        (7, "subject"),
        ({"claims": {}}, "id"),
        ({"id": "ann", "role": "admin"}, "unknown field 'role'"),
        ({"id": "ann", "claims": {"a": None}}, "claims"),
        ({"id": "ann", "claims": {"a": [1]}}, "claims"),
        ({"id": "ann", "claims": {"a b": 1}}, "not a claim's name"),
        ({"id": "ann", "claims": {"a": "x" * 1001}}, "1001 characters"),
        ({"id": "ann", "claims": {f"c{number}": 1 for number in range(33)}}, "33 claims"),
        ({"id": "ann", "claims": {f"c{number}": "x" * 999 for number in range(9)}}, "characters of claims"),
        ({"id": "ann", "claims": {"a": 2**60}}, "keeps"),
    ],
)
async def test_a_wrong_subject_is_refused(owner: httpx.AsyncClient, subject: Any, told: str) -> None:
    answer = await owner.post("/v1/runs", json={**RUN, "subject": subject})
    assert answer.status_code == 400, answer.text
    assert told in answer.json()["error"]["message"]
    assert (await owner.get("/v1/runs")).json()["data"] == []


async def test_types_of_claims_are_kept(owner: httpx.AsyncClient) -> None:
    claims = {"text": "1", "whole": 1, "broken": 1.5, "yes": True}
    kept = (await started(owner, subject={"id": "a", "claims": claims}))["subject"]["claims"]
    assert [(name, type(value)) for name, value in kept.items()] == [(name, type(claims[name])) for name in claims]


async def test_a_session_belongs_to_one_subject(owner: httpx.AsyncClient) -> None:
    await started(owner, subject=ANN, session_id="s")
    await started(owner, subject={"id": "ann", "claims": {"email": "new@example.com"}}, session_id="s")
    for other in ({"subject": "bob"}, {"subject": "ANN"}, {}):
        answer = await owner.post("/v1/runs", json={**RUN, "session_id": "s", **other})
        assert (answer.status_code, answer.json()["error"]["param"]) == (409, "session_id")
    await started(owner, session_id="free")
    assert (await owner.post("/v1/runs", json={**RUN, "session_id": "free", "subject": "bob"})).status_code == 409
    assert len((await owner.get("/v1/runs")).json()["data"]) == 3


@pytest.mark.parametrize("speaks_for", [{"subject": "ann"}, {"speaks_for": "none"}, {}])
async def test_a_session_of_another_is_neither_spent_nor_are_its_stops_told(
    clients: Clients, owner: httpx.AsyncClient, speaks_for: dict[str, str]
) -> None:
    await started(owner, subject="bob", session_id="s")
    stop = {"scope": "session", "target": "s", "reason": "fraud case 7"}
    assert (await owner.post("/v1/interrupts", json=stop)).status_code == 201
    client = await clients.holder(**speaks_for)
    named = {"flightloop": {"tags": {"session_id": "s"}}}
    header = {"x-flightloop-session": "s"}
    for path, body, headers in (
        ("/v1/chat/completions", CHAT | named, {}),
        ("/v1/chat/completions", CHAT, header),
        ("/v1/responses", RESPONSE, header),
        ("/v1/runs", RUN | {"session_id": "s"}, {}),
    ):
        answer = await client.post(path, json=body, headers=headers)
        assert answer.status_code == 409, (path, answer.text)
        assert answer.json()["error"]["param"] == "session_id"
        assert "fraud" not in answer.text
    own = await owner.post("/v1/chat/completions", json=CHAT | named | {"subject": "bob"})
    assert own.status_code == 423


async def test_a_bound_keys_completions_count_for_its_own_sessions_only(clients: Clients) -> None:
    client = await clients.holder(subject="ann")
    assert isinstance(clients.deps.model, ScriptedChat)
    for session in ("own", "new"):
        headers = {"x-flightloop-session": session}
        await started(client, session_id="own")
        assert (await client.post("/v1/chat/completions", json=CHAT, headers=headers)).status_code == 200
    assert [request.flightloop.tags.session_id for request in clients.deps.model.requests] == ["own", None]


async def test_sessions_of_another_tenant_do_not_matter(clients: Clients, owner: httpx.AsyncClient) -> None:
    await started(owner, subject="ann", session_id="s")
    await started(await clients.of(OTHER_KEY), subject="bob", session_id="s")


async def test_runs_are_listed_by_subject(owner: httpx.AsyncClient) -> None:
    ann, bob, nobody = await started(owner, subject="ann"), await started(owner, subject="bob"), await started(owner)
    listed = (await owner.get("/v1/runs", params={"subject": "ann"})).json()["data"]
    assert [run["id"] for run in listed] == [ann["id"]]
    everything = (await owner.get("/v1/runs")).json()["data"]
    assert [run["id"] for run in everything] == [nobody["id"], bob["id"], ann["id"]]


async def test_a_fork_keeps_the_subject(owner: httpx.AsyncClient) -> None:
    run = await started(owner, subject=ANN)
    fork = await owner.post(f"/v1/runs/{run['id']}/fork", json={"step": 0})
    assert fork.json()["subject"] == ANN
    assert (await owner.post(f"/v1/runs/{run['id']}/fork", json={"step": 0, "subject": "bob"})).status_code == 400


async def test_a_key_for_nobody_starts_anonymous_runs_only(clients: Clients, owner: httpx.AsyncClient) -> None:
    client = await clients.holder(speaks_for="none")
    assert (await started(client))["subject"] is None
    for path, body in (("/v1/runs", RUN), ("/v1/chat/completions", CHAT)):
        answer = await client.post(path, json={**body, "subject": "ann"})
        assert (answer.status_code, answer.json()["error"]["param"]) == (403, "subject")
    run, free = await started(owner, subject="ann"), await started(owner)
    for path, body in (("fork", {"step": 0}), ("resume", {})):
        answer = await client.post(f"/v1/runs/{run['id']}/{path}", json=body)
        assert answer.status_code == 403
        told = answer.json()["error"]["message"]
        assert f"run {run['id']} acts for the subject ann, and the key key:web speaks for no subject" in told
        assert (await client.post(f"/v1/runs/{free['id']}/{path}", json=body)).status_code != 403
    assert (await client.get(f"/v1/runs/{run['id']}")).status_code == 200
    assert (await client.post(f"/v1/runs/{run['id']}/cancel")).status_code == 200


async def test_a_bound_key_speaks_for_its_subject_only(clients: Clients) -> None:
    client = await clients.holder(subject=ANN)
    assert (await started(client))["subject"] == ANN
    assert (await started(client, subject="ann"))["subject"] == ANN
    assert (await started(client, subject=ANN))["subject"] == ANN
    for subject in ("bob", {"id": "ann", "claims": {"vip": False}}, {"id": "bob", "claims": ANN["claims"]}):
        assert (await client.post("/v1/runs", json={**RUN, "subject": subject})).status_code == 403
    whoami = (await client.get("/v1/whoami")).json()
    assert (whoami["speaks_for"], whoami["subject"]) == ("one", ANN)


async def test_a_bound_key_sees_its_subjects_runs_only(clients: Clients, owner: httpx.AsyncClient) -> None:
    client = await clients.holder(subject="ann")
    own, theirs, nobodys = await started(client), await started(owner, subject="bob"), await started(owner)
    also = await started(owner, subject="ann")
    listed = (await client.get("/v1/runs")).json()["data"]
    assert [run["id"] for run in listed] == [also["id"], own["id"]]
    assert (await client.get("/v1/runs", params={"subject": "bob"})).status_code == 403
    for run in (theirs, nobodys):
        assert (await client.get("/v1/runs", params={"after": run["id"]})).status_code == 404
        for method, path in (("GET", ""), ("GET", "/events"), ("POST", "/cancel")):
            answer = await client.request(method, f"/v1/runs/{run['id']}{path}")
            assert answer.status_code == 404, (method, path)
            assert answer.json()["error"]["message"] == f"no run {run['id']}"
        body = {"score": 5, "resolved": True}
        assert (await client.post(f"/v1/runs/{run['id']}/feedback", json=body)).status_code == 404
    assert (await client.post(f"/v1/runs/{own['id']}/cancel")).status_code == 200


OWN_ROUTES = {
    ("get", "/v1/agents"),
    ("get", "/v1/models"),
    ("get", "/v1/models/{model_id}"),
    ("get", "/v1/predictions/{run_id}"),
    ("get", "/v1/runs"),
    ("get", "/v1/runs/{run_id}"),
    ("get", "/v1/runs/{run_id}/events"),
    ("get", "/v1/whoami"),
    ("post", "/v1/chat/completions"),
    ("post", "/v1/predictions"),
    ("post", "/v1/responses"),
    ("post", "/v1/runs"),
    ("post", "/v1/runs/{run_id}/cancel"),
    ("post", "/v1/runs/{run_id}/feedback"),
}


async def test_a_bound_key_has_no_other_routes(clients: Clients, owner: httpx.AsyncClient) -> None:
    """By the document, so that a new route is closed to bound keys until somebody opens it."""
    document = (await owner.get("/openapi.json")).json()
    client = await clients.holder(subject="ann")
    refused = set()
    for path, methods in document["paths"].items():
        for method in methods if path.startswith("/v1/") else ():
            answer = await client.request(method, path.replace("{", "").replace("}", ""), json={})
            if answer.status_code == 403:
                refused.add((method, path))
    every = {(method, path) for path, methods in document["paths"].items() for method in methods if "/v1/" in path}
    assert every - refused == OWN_ROUTES
    away = await client.get("/metrics", headers={"x-forwarded-for": "203.0.113.9"})
    assert away.status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        {"subject": "ann", "role": "admin"},
        {"speaks_for": "one"},
        {"speaks_for": "any", "subject": "ann"},
        {"speaks_for": "none", "subject": "ann"},
        {"speaks_for": "all"},
    ],
)
async def test_contradictory_keys_are_refused(owner: httpx.AsyncClient, body: dict[str, Any]) -> None:
    assert (await owner.post("/v1/keys", json={"name": "web", **body})).status_code == 400


async def test_the_subject_belongs_to_an_idempotent_request(owner: httpx.AsyncClient) -> None:
    headers = {"idempotency-key": "k"}
    first = await owner.post("/v1/runs", json={**RUN, "subject": "ann"}, headers=headers)
    again = await owner.post("/v1/runs", json={**RUN, "subject": "ann"}, headers=headers)
    assert (again.json()["id"], again.headers["idempotent-replayed"]) == (first.json()["id"], "true")
    for body in (RUN, {**RUN, "subject": "bob"}):
        answer = await owner.post("/v1/runs", json=body, headers=headers)
        assert answer.status_code == 422, answer.text
        assert answer.json()["error"]["code"] == "idempotency_mismatch"


async def test_idempotency_keys_of_bound_keys_belong_to_their_subject(
    clients: Clients, owner: httpx.AsyncClient
) -> None:
    """Another subject's key neither fails, nor learns that the key is in use."""
    headers = {"idempotency-key": "k"}
    holders = [owner, *[await clients.holder(subject=subject) for subject in ("ann", "bob")]]
    first = [await client.post("/v1/runs", json=RUN, headers=headers) for client in holders]
    assert [answer.status_code for answer in first] == [201] * 3
    again = [await client.post("/v1/runs", json=RUN, headers=headers) for client in holders]
    assert [answer.json()["id"] for answer in again] == [answer.json()["id"] for answer in first]
    assert len({answer.json()["id"] for answer in first}) == 3
    same = await (await clients.holder(subject="ann")).post("/v1/runs", json=RUN, headers=headers)
    assert (same.json()["id"], same.headers["idempotent-replayed"]) == (first[1].json()["id"], "true")
    other = await holders[1].post("/v1/runs", json={**RUN, "input": "Else?"}, headers=headers)
    assert other.json()["error"]["code"] == "idempotency_mismatch"


async def test_a_request_in_flight_holds_back_its_own_subject_only(clients: Clients) -> None:
    ann, bob = await clients.holder(subject="ann"), await clients.holder(subject="bob")
    begun, go_on = asyncio.Event(), asyncio.Event()
    create = clients.deps.journal.create

    async def slow(*given: Any) -> Any:
        begun.set()
        await go_on.wait()
        return await create(*given)

    headers = {"idempotency-key": "k"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clients.deps.journal, "create", slow)
        first = asyncio.create_task(ann.post("/v1/runs", json=RUN, headers=headers))
        await begun.wait()
    assert (await ann.post("/v1/runs", json=RUN, headers=headers)).json()["error"]["code"] == "idempotency_in_flight"
    assert (await bob.post("/v1/runs", json=RUN, headers=headers)).status_code == 201
    go_on.set()
    assert (await first).status_code == 201


async def test_a_subject_can_be_stopped(owner: httpx.AsyncClient) -> None:
    body = {"scope": "subject", "target": "ann", "reason": "abuse"}
    stop = (await owner.post("/v1/interrupts", json=body)).json()
    for path, given in (("/v1/runs", RUN), ("/v1/chat/completions", CHAT)):
        answer = await owner.post(path, json={**given, "subject": "ann"})
        assert answer.status_code == 423
        assert "subject ann (abuse)" in answer.json()["error"]["message"]
        assert (await owner.post(path, json={**given, "subject": "bob"})).status_code < 300
        assert (await owner.post(path, json=given)).status_code < 300
    await owner.delete(f"/v1/interrupts/{stop['id']}")
    await started(owner, subject="ann")


async def test_a_subject_has_a_rate_of_its_own() -> None:
    async with AsyncExitStack() as stack:
        clients = Clients(api_deps(subject_requests_per_minute=2), stack)
        owner = await clients.of(KEY)
        await started(owner, subject="ann")
        assert (await owner.post("/v1/chat/completions", json={**CHAT, "subject": "ann"})).status_code == 200
        for path, body in (
            ("/v1/runs", RUN),
            ("/v1/chat/completions", CHAT),
            ("/v1/responses", RESPONSE),
        ):
            answer = await owner.post(path, json={**body, "subject": "ann"})
            assert answer.status_code == 429, (path, answer.text)
            assert "the subject ann" in answer.json()["error"]["message"]
            assert int(answer.headers["retry-after"]) >= 1
        await started(owner, subject="bob")
        await started(await clients.of(OTHER_KEY), subject="ann")
        for _ in range(3):
            await started(owner)


async def test_a_subjects_budget_bounds_its_completions() -> None:
    async with AsyncExitStack() as stack:
        clients = Clients(api_deps(tenants=TenantBudgets(subject=Budget(steps=1))), stack)
        owner = await clients.of(KEY)
        asked = {**CHAT, "max_tokens": 5}
        assert (await owner.post("/v1/chat/completions", json={**asked, "subject": "ann"})).status_code == 200
        answer = await owner.post("/v1/chat/completions", json={**asked, "subject": "ann"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "budget_exhausted")
        assert "the subject's 1 steps" in answer.json()["error"]["message"]
        assert (await owner.post("/v1/chat/completions", json={**asked, "subject": "bob"})).status_code == 200
        assert (await owner.post("/v1/chat/completions", json=asked)).status_code == 200
        usage = (await owner.get("/v1/usage", params={"subject": "ann"})).json()
        assert (usage["subject"]["used"]["steps"], usage["subject"]["budget"]["steps"]) == (1, 1)
        assert usage["tenant"]["used"]["steps"] == 3


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
async def test_the_models_server_learns_no_claims_and_nobody_is_a_subject_by_user(path: str) -> None:
    async with AsyncExitStack() as stack:
        clients = Clients(api_deps(Said("ok")), stack)
        owner = await clients.of(KEY)
        body = CHAT if "chat" in path else RESPONSE
        extra = {"user": "bob", "safety_identifier": "bob", "flightloop": {"tags": {"subject": "bob"}}}
        assert (await owner.post(path, json={**body, **extra})).status_code == 200
        assert (await owner.post(path, json={**body, **extra, "subject": ANN})).status_code == 200
        assert isinstance(clients.deps.model, ScriptedChat)
        unnamed, named = clients.deps.model.requests
        assert (unnamed.subject, unnamed.flightloop.tags.subject) == (None, None)
        assert (named.subject, named.flightloop.tags.subject) == (None, "ann")
        assert "ann@example.com" not in named.model_dump_json()
