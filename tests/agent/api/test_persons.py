"""Persons who log in with OpenID Connect: what they may do over the API, and how their decisions count."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from agent.api import create_app
from agent.api.auth import DEFAULT_TENANT, Keyring
from agent.api.oidc import Issuer, OidcPersons, PersonRule, TokenVerifier
from agent.run.journal import Journal
from agent.store import memory_journal
from agent.testing.api import KEY, api_deps
from agent.testing.oidc import CLIENT_ID, Account, OidcProvider
from flightloop.events import ApprovalRequested
from flightloop.keys import Role
from flightloop.runs import RunStatus

OPS = PersonRule(group="ops", role=Role.OPERATOR)


@pytest.fixture(scope="module")
def provider() -> Iterator[OidcProvider]:
    accounts = [Account(f"{name}@example.com", ["ops"]) for name in ("ann", "bob", "eve")]
    with OidcProvider([*accounts, Account("zoe@example.com")]) as running:
        yield running


@dataclass
class Place:
    """An API that knows a provider, and its journal."""

    app: Any
    journal: Journal
    provider: OidcProvider

    @asynccontextmanager
    async def of(self, key: str) -> AsyncIterator[httpx.AsyncClient]:
        """A client with a key, or with the token of an e-mail address."""
        key = self.provider.id_token(key) if "@" in key else key
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        headers = {"authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
            yield client

    async def key(self, name: str) -> str:
        async with self.of(KEY) as owner:
            made: str = (await owner.post("/v1/keys", json={"name": name, "role": "approver"})).json()["key"]
        return made

    async def says(self, key: str, approval: str = "apr") -> tuple[int, str]:
        """The answer to an approval: its status and what it says."""
        async with self.of(key) as client:
            answer = await client.post(f"/v1/approvals/{approval}", json={"decision": "approve"})
        document = answer.json()
        return answer.status_code, document.get("status") or document["error"]["message"]

    async def asking(self, starter: str, **fields: Any) -> None:
        """A run that somebody starts, and that waits for an approval."""
        async with self.of(starter) as client:
            answer = await client.post("/v1/runs", json={"agent": "support", "input": "Please pay."})
        assert answer.status_code == 201, answer.text
        claim = await self.journal.claim("worker", 30)
        assert claim is not None
        told = {"call_id": "call", "tool": "pay", "arguments": {}, "reason": "it is a lot"}
        until = datetime.now(UTC) + timedelta(hours=1)
        request = ApprovalRequested(
            approval_id="apr", args_sha256="a", policy_sha256="p", expires_at=until, **{**told, **fields}
        )
        await self.journal.append(claim.run.id, [request], claim.lease)
        await self.journal.release(claim.lease, RunStatus.WAITING_APPROVAL)


def place(provider: OidcProvider, *rules: PersonRule) -> Place:
    journal = memory_journal()
    persons = OidcPersons(TokenVerifier(Issuer(provider.issuer), CLIENT_ID, 3600), rules)
    keyring = Keyring({KEY: DEFAULT_TENANT}, journal.keys, persons)
    return Place(create_app(api_deps(journal=journal, keys=journal.keys, keyring=keyring)), journal, provider)


async def test_the_api_accepts_keys_and_tokens(provider: OidcProvider) -> None:
    here = place(provider, PersonRule(person="Ann@example.com", role=Role.APPROVER))
    async with here.of("ann@example.com") as ann, here.of(KEY) as owner, here.of("bob@example.com") as bob:
        told = (await ann.get("/v1/whoami")).json()
        assert (told["name"], told["role"], told["tenant_id"]) == ("person:ann@example.com", "approver", "default")
        assert (await owner.get("/v1/whoami")).json()["name"] == "key:default"
        refused = await ann.post("/v1/runs", json={"agent": "support", "input": "Hi"})
        assert refused.status_code == 403
        assert "person:ann@example.com has the role approver" in refused.json()["error"]["message"]
        assert (await bob.get("/v1/runs")).status_code == 401


async def test_keys_work_while_the_issuer_is_away() -> None:
    with OidcProvider([Account("ann@example.com", ["ops"])]) as gone:
        token = gone.id_token("ann@example.com")
    here = place(gone, OPS)
    async with here.of(token) as ann, here.of(KEY) as owner:
        refused = await ann.get("/v1/whoami")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "issuer_unavailable")
        assert (await owner.get("/v1/whoami")).status_code == 200


async def test_an_approval_names_the_persons_who_logged_in(provider: OidcProvider) -> None:
    here = place(provider, OPS)
    await here.asking("ann@example.com", needed=2, not_starter=True)
    assert (await here.says("ann@example.com"))[0] == 403
    assert await here.says("bob@example.com") == (200, "pending")
    assert (await here.says("bob@example.com"))[0] == 409
    assert (await here.says(provider.id_token("bob@example.com", email="robert@example.com")))[0] == 409
    assert (await here.says("zoe@example.com"))[0] == 401
    assert await here.says("eve@example.com") == (200, "approved")
    async with here.of(KEY) as owner:
        audit = (await owner.get("/v1/audit", params={"act": "approval"})).json()["data"]
        run = (await owner.get("/v1/runs")).json()["data"][0]
    assert [(one["actor"]["kind"], one["actor"]["name"], one["details"]["decision"]) for one in audit] == [
        ("person", "person:bob@example.com", "given"),
        ("person", "person:eve@example.com", "approved"),
    ]
    assert (run["started_by"]["kind"], run["started_by"]["name"]) == ("person", "person:ann@example.com")


async def test_a_person_and_their_key_are_one(provider: OidcProvider) -> None:
    here = place(provider, OPS)
    await here.asking("ann@example.com", needed=2, not_starter=True)
    assert (await here.says(await here.key("Ann@example.com")))[0] == 403
    assert await here.says("bob@example.com") == (200, "pending")
    assert (await here.says(await here.key("bob@example.com")))[0] == 409
    assert await here.says(await here.key("eve")) == (200, "approved")


BESIDE = [
    PersonRule(person="eve@example.com", role=Role.VIEWER),
    PersonRule(person="bob@example.com", role=Role.APPROVER, tenant_id="other"),
]
"""Somebody who only reads, and somebody in another tenant: nobody else who may decide."""


async def test_a_group_that_decides_means_that_others_exist(provider: OidcProvider) -> None:
    """Nobody knows who is in it."""
    alone = place(provider, *BESIDE)
    await alone.asking(KEY, not_starter=True)
    assert await alone.says(KEY) == (200, "approved")
    here = place(provider, *BESIDE, PersonRule(group="x", role=Role.APPROVER))
    await here.asking(KEY, not_starter=True)
    assert (await here.says(KEY))[0] == 403
