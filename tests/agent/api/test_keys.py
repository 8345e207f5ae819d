"""Keys and roles: what each may do, and what is left of a key in the database."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.api import ApiDeps, auth, create_app
from agent.store import sql_journal
from agent.testing.api import KEY, OTHER_KEY, api_deps
from flightloop.keys import Right, Role

RUN = {"agent": "support", "input": "Where is my order?"}


@pytest.fixture
def deps(monkeypatch: pytest.MonkeyPatch) -> ApiDeps:
    monkeypatch.setattr(auth, "FRESH_S", 0.0)
    return api_deps()


def calling(deps: ApiDeps, key: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_app(deps), raise_app_exceptions=False)
    headers = {"authorization": f"Bearer {key}"}
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers)


@pytest.fixture
async def owner(deps: ApiDeps) -> AsyncIterator[httpx.AsyncClient]:
    async with calling(deps, KEY) as client:
        yield client


async def made(owner: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    answer = await owner.post("/v1/keys", json={"name": "ann", **fields})
    assert answer.status_code == 201, answer.text
    key: dict[str, Any] = answer.json()
    return key


@pytest.mark.parametrize("role", list(Role))
async def test_each_route_has_its_role(deps: ApiDeps, owner: httpx.AsyncClient, role: Role) -> None:
    """Reading is for all, decisions are for approvers, keys and erasures for admins, the rest for operators."""
    document = (await owner.get("/openapi.json")).json()
    key = await made(owner, role=role)
    async with calling(deps, key["key"]) as client:
        for path, methods in document["paths"].items():
            for method in methods:
                if not path.startswith("/v1/") or path.endswith("/events"):
                    continue
                needed = _needed(path, method)
                answer = await client.request(method, path.replace("{", "").replace("}", ""), json={})
                assert (answer.status_code == 403) == (not role.may(needed)), (method, path, answer.text)
                assert answer.status_code != 401


def _needed(path: str, method: str) -> Right:
    if path.startswith(("/v1/keys", "/v1/erasures")):
        return Right.ADMINISTER
    if path.startswith("/v1/approvals/") and method == "post":
        return Right.DECIDE
    return Right.READ if method == "get" else Right.OPERATE


def test_what_each_role_may_do() -> None:
    """The keys of earlier versions may do what they could; an approver decides, and starts and stops nothing."""
    assert [role.value for role in Role] == ["viewer", "approver", "operator", "admin"]
    assert {role.value: {right.value for right in role.rights} for role in Role} == {
        "viewer": {"read"},
        "approver": {"read", "decide"},
        "operator": {"read", "decide", "operate"},
        "admin": {"read", "decide", "operate", "administer"},
    }


@pytest.mark.parametrize("role", ["approver", "admin"])
async def test_who_decides_is_bound_to_no_subject(owner: httpx.AsyncClient, role: str) -> None:
    answer = await owner.post("/v1/keys", json={"name": "ann", "role": role, "subject": "17"})
    assert (answer.status_code, "use operator or viewer" in answer.text) == (400, True)


async def test_a_key_works_for_its_tenant_until_it_is_revoked(deps: ApiDeps, owner: httpx.AsyncClient) -> None:
    key = await made(owner)
    assert (key["role"], key["tenant_id"], key["created_by"]) == ("operator", "default", "key:default")
    async with calling(deps, key["key"]) as client:
        run = (await client.post("/v1/runs", json=RUN)).json()
        assert (await owner.get(f"/v1/runs/{run['id']}")).status_code == 200
        await client.post(f"/v1/runs/{run['id']}/cancel")
        events = await deps.journal.events("default", run["id"])
        assert "key:ann" in [getattr(event, "by", None) for event in events]
        assert (await owner.delete(f"/v1/keys/{key['id']}")).json()["revoked_at"]
        assert (await owner.delete(f"/v1/keys/{key['id']}")).status_code == 200
        assert (await client.get("/v1/runs")).status_code == 401
    assert [(one["id"], "key" in one) for one in (await owner.get("/v1/keys")).json()["data"]] == [(key["id"], False)]


async def test_a_key_is_made_once_and_told_once(deps: ApiDeps, owner: httpx.AsyncClient) -> None:
    once = {"idempotency-key": "k1"}
    first = await owner.post("/v1/keys", json={"name": "ann", "tenant_id": "acme"}, headers=once)
    again = await owner.post("/v1/keys", json={"name": "ann", "tenant_id": "acme"}, headers=once)
    assert (first.status_code, again.status_code) == (201, 409)
    assert first.json()["id"] in again.json()["error"]["message"]
    assert first.json()["key"] not in again.text
    assert (await owner.post("/v1/keys", json={"name": "bob"}, headers=once)).status_code == 422
    async with calling(deps, first.json()["key"]) as acme:  # another tenant's key of the same name is another one
        assert (await acme.post("/v1/runs", json=RUN, headers=once)).status_code == 201


async def test_admins_stay_in_their_tenant(deps: ApiDeps, owner: httpx.AsyncClient) -> None:
    admin = await made(owner, role="admin", tenant_id="acme")
    async with calling(deps, admin["key"]) as acme:
        assert (await acme.post("/v1/keys", json={"name": "x", "tenant_id": "default"})).status_code == 403
        own = (await acme.post("/v1/keys", json={"name": "x"})).json()
        assert own["tenant_id"] == "acme"
        assert (await owner.delete(f"/v1/keys/{own['id']}")).status_code == 404
        assert len((await acme.get("/v1/keys")).json()["data"]) == 2
    async with calling(deps, OTHER_KEY) as other:
        assert (await other.get("/v1/keys")).json()["data"] == []


async def test_a_database_holds_no_key(tmp_path: Path) -> None:
    journal = sql_journal(f"sqlite:///{tmp_path}/journal.db")
    deps = api_deps(journal=journal, keys=journal.keys, keyring=auth.Keyring({KEY: "default"}, journal.keys))
    async with calling(deps, KEY) as owner:
        key = (await made(owner, role="viewer"))["key"]
        async with calling(deps, key) as client:
            assert (await client.get("/v1/runs")).status_code == 200
    await journal.close()
    database = sqlite3.connect(tmp_path / "journal.db")
    dump = "\n".join(database.iterdump())
    database.close()
    assert hashlib.sha256(key.encode()).hexdigest() in dump
    assert key not in dump


async def test_a_key_that_asks_too_often_waits() -> None:
    deps = api_deps(requests_per_minute=3)
    async with calling(deps, KEY) as client:
        answers = [await client.get("/v1/runs") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
        assert answers[-1].json()["error"]["code"] == "overloaded"
        other = await client.get("/v1/runs", headers={"authorization": f"Bearer {OTHER_KEY}"})
        assert other.status_code == 200
