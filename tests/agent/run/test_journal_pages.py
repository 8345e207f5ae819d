"""Pages of long documents end early, on every journal."""

from __future__ import annotations

from datetime import timedelta

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.api import create_app
from agent.run.journal import Journal, all_events
from agent.store.rules.page import page
from agent.testing.api import KEY, api_deps
from flightloop.events import ApprovalRequested, Judged
from flightloop.verdicts import Action, Stage, Verdict
from tests.agent.conftest import Clock, created

LONG = "x" * 600_000
VERDICT = Verdict(action=Action.ALLOW, rail="r", stage=Stage.INPUT, reason=LONG)
FIT = 6
"""Documents with LONG in them that a page has."""


@settings(deadline=None)
@given(st.lists(st.integers(0, 9_000_000), max_size=30), st.integers(1, 10))
def test_pages_follow_one_another_to_the_last_document(lengths: list[int], limit: int) -> None:
    seen: list[int] = []
    more = True
    while more:
        found, more = page(iter(lengths[len(seen) :]), limit, lambda length: length)
        assert len(found) <= limit
        assert sum(found) <= 4_000_000 or len(found) == 1
        seen += found
        assert found or not more
    assert seen == lengths


async def test_a_page_of_long_runs_is_short_and_says_that_there_are_more(journal: Journal) -> None:
    made = [(await journal.create(created(LONG))).run.id for _ in range(FIT + 2)][::-1]
    first = await journal.runs("default", limit=200)
    assert ([run.id for run in first.data], first.has_more) == (made[:FIT], True)
    rest = await journal.runs("default", after=first.next_after, limit=200)
    assert ([run.id for run in rest.data], rest.has_more, rest.next_after) == (made[FIT:], False, None)


async def test_long_events_are_read_in_several_pages(journal: Journal) -> None:
    run = (await journal.create(created(LONG))).run
    for _ in range(FIT):
        await journal.create(created(LONG))
    assert [recorded.position for recorded in await journal.read_all()] == [1, 2, 3, 4, 5, 6]
    assert [recorded.position for recorded in await journal.read_all(after=6)] == [7]
    claim = await journal.claim("w", 30)
    assert claim is not None
    said = [Judged(verdict=VERDICT) for _ in range(FIT)]
    await journal.append(run.id, said, claim.lease)
    assert len(await journal.events("default", run.id)) < FIT + 2  # the second says that the run has begun
    assert [event.seq for event in await all_events(journal, "default", run.id)] == list(range(1, FIT + 3))
    # each record of a run's judgements is in the audit too
    records = await journal.audit("default", limit=1000)
    assert [record.seq for record in records] == list(range(1, FIT + 1))


async def test_a_page_of_long_approvals_is_short_and_says_that_there_are_more(journal: Journal, clock: Clock) -> None:
    run = (await journal.create(created())).run
    claim = await journal.claim("w", 30)
    assert claim is not None
    asked = [
        ApprovalRequested(
            approval_id=f"apr_{index}",
            call_id=f"call_{index}",
            tool="refund",
            arguments={"note": LONG},
            reason="it is a lot",
            args_sha256="a",
            policy_sha256="p",
            expires_at=clock() + timedelta(seconds=60),
        )
        for index in range(8)
    ]
    await journal.append(run.id, asked, claim.lease)
    page = await journal.approvals("default", limit=200)
    assert ([one.id for one in page.data], page.has_more) == ([f"apr_{index}" for index in range(7, 1, -1)], True)
    rest = await journal.approvals("default", after=page.next_after, limit=200)
    assert ([one.id for one in rest.data], rest.has_more) == (["apr_1", "apr_0"], False)


async def test_the_audit_s_pages_lead_to_its_end() -> None:
    deps = api_deps()
    for _ in range(FIT + 2):
        await deps.journal.record("default", [VERDICT])
    seen: list[int] = []
    after, more = "0", True
    transport, headers = httpx.ASGITransport(create_app(deps)), {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers) as client:
        while more:
            document = (await client.get("/v1/audit", params={"after": after, "limit": 1000})).json()
            seen += [record["seq"] for record in document["data"]]
            more, after = document["has_more"], document["next_after"]
            assert more or after is None
    assert seen == list(range(1, FIT + 3))
