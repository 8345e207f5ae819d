"""Erasure over the API and the SDK: who may, what it answers, and how erased runs are shown."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from agent.api import ApiDeps, create_app
from agent.testing.api import KEY, OTHER_KEY, api_deps
from flightloop import AsyncFlightloop
from flightloop.acts import Act, ActorKind
from flightloop.erasure import ERASED
from flightloop.errors import Conflict, Forbidden
from tests.agent.erasures import OTHER, WHO, WORD, creation, stored, whole_run


@pytest.fixture
def deps() -> ApiDeps:
    return api_deps()


def client_of(deps: ApiDeps, key: str = KEY) -> AsyncFlightloop:
    transport = httpx.ASGITransport(create_app(deps), raise_app_exceptions=False)
    return AsyncFlightloop("http://127.0.0.1", key, transport=transport)


@pytest.fixture
async def client(deps: ApiDeps) -> AsyncIterator[AsyncFlightloop]:
    async with client_of(deps) as made:
        yield made


async def test_an_admin_erases_a_person(client: AsyncFlightloop, deps: ApiDeps) -> None:
    run = await whole_run(deps.journal)
    beside = await whole_run(deps.journal, "Bobby", OTHER, session_id="s2")
    counted = await client.erase(subject=WHO.id, dry_run=True)
    assert (counted.dry_run, counted.runs) == (True, 1)
    assert await client.runs.get(run.id) == run

    report = await client.erase(subject=WHO.id)
    assert (report.runs, report.answers, report.problems) == (1, 1, [])
    left = await client.runs.get(run.id)
    assert left.erased_at is not None
    assert (left.output_text, left.subject) == (ERASED, None)
    assert left.usage == run.usage
    events = [event async for event in client.runs.stream(run.id)]
    assert events[-1].type == "run.erased"
    assert all(event.erased for event in events)
    assert (await client.runs.list(subject=WHO.id)).data == []
    assert await client.runs.get(beside.id) == beside
    assert WORD not in stored(deps.journal, None)  # type: ignore[arg-type]
    acts = [one for one in (await client.audit.list(act=Act.ERASURE)).data if one.run_id is None]
    assert [one.actor and one.actor.kind for one in acts] == [ActorKind.KEY] * 2


async def test_nothing_of_an_erased_run_can_be_used(client: AsyncFlightloop, deps: ApiDeps) -> None:
    run = await whole_run(deps.journal)
    await client.erase(session_id=run.session_id)
    with pytest.raises(Conflict, match="nothing of it is left to fork"):
        await client.runs.fork(run.id, step=1)
    with pytest.raises(Conflict, match="was erased"):
        await client.runs.resume(run.id)
    with pytest.raises(Conflict, match="was erased"):
        await client.runs.feedback(run.id, score=5, resolved=True)


async def test_open_runs_are_an_error(client: AsyncFlightloop, deps: ApiDeps) -> None:
    run = (await deps.journal.create(creation())).run
    with pytest.raises(Conflict, match=run.id):
        await client.erase(subject=WHO.id)
    assert (await client.erase(subject=WHO.id, end_runs=True)).runs == 1


async def test_who_may_not(deps: ApiDeps, client: AsyncFlightloop) -> None:
    run = await whole_run(deps.journal)
    operator = await client.keys.create(name="ann")
    async with client_of(deps, operator.key) as other:
        with pytest.raises(Forbidden, match="needs the role admin"):
            await other.erase(subject=WHO.id)
    async with client_of(deps, OTHER_KEY) as stranger:  # the admin of another tenant
        assert (await stranger.erase(subject=WHO.id, end_runs=True)).runs == 0
        assert (await stranger.erase(session_id=run.session_id)).runs == 0
    assert await client.runs.get(run.id) == run


async def test_a_bound_key_of_the_person_ends(client: AsyncFlightloop, deps: ApiDeps) -> None:
    await client.keys.create(name=f"{WORD}'s phone", subject=WHO)
    assert (await client.erase(subject=WHO.id)).keys == 1
    [key] = (await client.keys.list()).data
    assert (key.revoked_at is not None, key.name, key.subject) == (True, ERASED, None)


@pytest.mark.parametrize(
    "body", [{}, {"subject": "a", "session_id": "b"}, {"subject": ""}, {"subject": "a", "dry_run": 1}]
)
async def test_bad_requests(deps: ApiDeps, body: dict[str, object]) -> None:
    transport = httpx.ASGITransport(create_app(deps))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        answer = await client.post("/v1/erasures", json=body, headers={"authorization": f"Bearer {KEY}"})
    assert answer.status_code in (400, 422), answer.text
