"""One conformance suite over every journal: in memory, and SQL on SQLite."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from agent.run.journal import Idempotency, Journal
from agent.run.lease import LeaseLost
from flightloop.errors import Conflict, IdempotencyMismatch, NotFound
from flightloop.events import (
    CallsDecided,
    CancelRequested,
    FeedbackGiven,
    Judged,
    ModelCall,
    OutcomeVerified,
    RunCreated,
    RunEnded,
    RunResumed,
)
from flightloop.runs import Budget, Feedback, RunStatus, StopReason
from flightloop.verdicts import Action, Stage, Verdict


def created(**fields: Any) -> RunCreated:
    return RunCreated.model_validate({"agent": "a", "session_id": "s", "input": "hi", "budget": Budget()} | fields)


def decided(**fields: Any) -> CallsDecided:
    return CallsDecided(calls=[], model=ModelCall(model="m"), **fields)


def rated() -> FeedbackGiven:
    """What needs no lease and leaves the run as it is."""
    return FeedbackGiven(feedback=Feedback(score=5, resolved=True))


def judged(call_id: str | None = None) -> Judged:
    return Judged(verdict=Verdict(action=Action.ALLOW, rail="r", stage=Stage.INPUT), call_id=call_id)


def ended(status: RunStatus = RunStatus.SUCCEEDED, reason: StopReason = StopReason.ANSWERED) -> RunEnded:
    return RunEnded(status=status, stop_reason=reason)


# -- runs and events ---


async def test_a_new_run_is_queued_with_one_event(journal: Journal, clock: Any) -> None:
    made = await journal.create(created(metadata={"k": "v"}))
    assert not made.replayed
    run = await journal.get("default", made.run.id)
    assert run == made.run
    assert (run.status, run.metadata, run.created_at, run.last_seq) == (RunStatus.QUEUED, {"k": "v"}, clock(), 1)
    (event,) = await journal.events("default", run.id)
    assert (event.type, event.seq, event.run_id, event.at) == ("run.created", 1, run.id, clock())


async def test_unknown_runs_and_those_of_others_are_not_found(journal: Journal) -> None:
    run = (await journal.create(created(tenant_id="a"))).run
    for tenant, run_id in (("a", "run_nope"), ("b", run.id)):
        with pytest.raises(NotFound):
            await journal.get(tenant, run_id)
        with pytest.raises(NotFound):
            await journal.events(tenant, run_id)
    with pytest.raises(NotFound):
        await journal.append("run_nope", [CancelRequested()])


async def test_pages_are_newest_first_filtered_and_per_tenant(journal: Journal) -> None:
    made = [
        (await journal.create(created(agent=f"a{n % 2}", session_id=f"s{n % 3}", tenant_id="t"))).run for n in range(6)
    ]
    await journal.create(created(tenant_id="other"))
    ids = [run.id for run in reversed(made)]
    first = await journal.runs("t", limit=4)
    assert [run.id for run in first.data] == ids[:4]
    assert (first.has_more, first.next_after) == (True, ids[3])
    second = await journal.runs("t", after=first.next_after, limit=4)
    assert [run.id for run in second.data] == ids[4:]
    assert (second.has_more, second.next_after) == (False, None)
    assert [run.id for run in (await journal.runs("t", agent="a0")).data] == [made[n].id for n in (4, 2, 0)]
    assert [run.id for run in (await journal.runs("t", session_id="s1", after=ids[0])).data] == [made[4].id, made[1].id]
    assert (await journal.runs("t", status=RunStatus.RUNNING)).data == []
    with pytest.raises(NotFound):
        await journal.runs("other", after=ids[0])


async def test_events_are_gap_free_and_paged(journal: Journal) -> None:
    run = (await journal.create(created())).run
    claim = await journal.claim("w", 30)
    assert claim is not None
    for _ in range(3):
        await journal.append(run.id, [decided(), decided()], claim.lease)
    events = await journal.events("default", run.id)
    assert [event.seq for event in events] == list(range(1, 9))
    assert [event.step for event in events] == [0, 0, 1, 2, 3, 4, 5, 6]
    assert [event.seq for event in await journal.events("default", run.id, after=3, limit=2)] == [4, 5]
    assert await journal.events("default", run.id, after=8) == []


async def test_append_is_all_or_nothing(journal: Journal) -> None:
    run = (await journal.create(created())).run
    claim = await journal.claim("w", 30)
    assert claim is not None
    with pytest.raises(Conflict):
        await journal.append(run.id, [decided(), judged(), ended(), decided()], claim.lease)
    assert [event.type for event in await journal.events("default", run.id)] == ["run.created", "run.started"]
    assert (await journal.get("default", run.id)).status == RunStatus.RUNNING
    assert await journal.audit("default") == []


async def test_read_all_goes_over_runs_and_tenants_in_order(journal: Journal) -> None:
    first = (await journal.create(created(tenant_id="a"))).run
    second = (await journal.create(created(tenant_id="b"))).run
    await journal.append(first.id, [CancelRequested()])
    read = await journal.read_all()
    assert [(item.tenant_id, item.event.run_id) for item in read] == [
        ("a", first.id),
        ("b", second.id),
        ("a", first.id),
        ("a", first.id),  # nobody holds it: with the request it has ended
    ]
    positions = [item.position for item in read]
    assert positions == sorted(set(positions))
    assert [item.position for item in await journal.read_all(after=positions[0], limit=1)] == positions[1:2]


async def test_wait_returns_at_a_new_event_or_after_its_time(journal: Journal) -> None:
    run = (await journal.create(created())).run
    assert await journal.wait(run.id, 0, 5)
    assert not await journal.wait(run.id, 1, 0.02)
    waiting = asyncio.create_task(journal.wait(run.id, 1, 5))
    await asyncio.sleep(0)
    await journal.append(run.id, [rated()])
    assert await waiting


async def test_concurrent_appends_get_different_numbers(journal: Journal) -> None:
    run = (await journal.create(created())).run
    claim = await journal.claim("w", 30)
    assert claim is not None
    written = await asyncio.gather(*(journal.append(run.id, [decided()], claim.lease) for _ in range(20)))
    assert sorted(each.events[0].seq for each in written) == list(range(3, 23))
    assert (await journal.get("default", run.id)).usage.steps == 20


async def test_one_refused_write_leaves_the_others_of_its_batch_alone(journal: Journal) -> None:
    good, bad = (await journal.create(created())).run, (await journal.create(created())).run
    outcomes = await asyncio.gather(
        journal.append(good.id, [rated()]),
        journal.append(bad.id, [rated(), decided()]),
        journal.append(good.id, [rated()]),
        return_exceptions=True,
    )
    assert isinstance(outcomes[1], Conflict)
    assert len(await journal.events("default", good.id)) == 3
    assert len(await journal.events("default", bad.id)) == 1


# -- idempotency ---


async def test_an_idempotency_key_replays_its_answer_per_tenant(journal: Journal) -> None:
    key = Idempotency("k", "digest")
    first = await journal.create(created(), key)
    await journal.append(first.run.id, [rated()])
    again = await journal.create(created(), key)
    assert again.replayed
    assert again.run == first.run
    with pytest.raises(IdempotencyMismatch):
        await journal.create(created(), Idempotency("k", "another"))
    other = await journal.create(created(tenant_id="b"), key)
    assert not other.replayed
    assert len((await journal.runs("default")).data) == 1


async def test_the_same_key_at_the_same_time_makes_one_run(journal: Journal) -> None:
    made = await asyncio.gather(*(journal.create(created(), Idempotency("k", "d")) for _ in range(5)))
    assert len({answer.run.id for answer in made}) == 1
    assert sorted(answer.replayed for answer in made) == [False, True, True, True, True]


# -- leases ---


async def test_a_queued_run_is_claimed_once(journal: Journal, clock: Any) -> None:
    first = (await journal.create(created())).run
    clock.forward(1)
    second = (await journal.create(created())).run
    claims = await asyncio.gather(*(journal.claim(f"w{n}", 30) for n in range(3)))
    found = [claim for claim in claims if claim is not None]
    assert {claim.run.id for claim in found} == {first.id, second.id}
    assert len(found) == 2
    assert all(claim.run.status == RunStatus.RUNNING and claim.lease.fence == 1 for claim in found)


async def test_the_oldest_goes_first(journal: Journal, clock: Any) -> None:
    runs = []
    for _ in range(3):
        runs.append((await journal.create(created())).run.id)
        clock.forward(1)
    claims = [await journal.claim("w", 30) for _ in runs]
    assert [claim.run.id for claim in claims if claim] == runs


async def test_an_expired_lease_is_taken_over_and_its_holder_fenced_off(journal: Journal, clock: Any) -> None:
    run = (await journal.create(created())).run
    old = await journal.claim("w1", 30)
    assert old is not None
    clock.forward(29)
    assert await journal.claim("w2", 30) is None
    clock.forward(1)
    new = await journal.claim("w2", 30)
    assert new is not None
    assert (new.run.id, new.lease.fence) == (run.id, 2)
    for refused in (
        journal.append(run.id, [decided()], old.lease),
        journal.renew(old.lease, 30),
        journal.release(old.lease),
    ):
        with pytest.raises(LeaseLost):
            await refused
    await journal.append(run.id, [decided()], new.lease)
    assert (await journal.get("default", run.id)).usage.steps == 1


async def test_the_same_worker_is_fenced_off_from_its_own_earlier_claim(journal: Journal, clock: Any) -> None:
    run = (await journal.create(created())).run
    old = await journal.claim("w1", 1)
    clock.forward(2)
    new = await journal.claim("w1", 1)
    assert old is not None
    assert new is not None
    with pytest.raises(LeaseLost):
        await journal.append(run.id, [decided()], old.lease)


async def test_a_worker_does_not_claim_what_it_is_at(journal: Journal, clock: Any) -> None:
    """However late it is: as after a computer has slept."""
    run = (await journal.create(created())).run
    claim = await journal.claim("w1", 1)
    assert claim is not None
    clock.forward(60)
    assert await journal.claim("w1", 1, held=[run.id]) is None
    await journal.renew(claim.lease, 30)
    assert await journal.claim("w2", 30) is None


async def test_renewing_keeps_the_lease(journal: Journal, clock: Any) -> None:
    await journal.create(created())
    claim = await journal.claim("w1", 30)
    assert claim is not None
    clock.forward(20)
    lease = await journal.renew(claim.lease, 30)
    assert lease.expires_at == clock() + timedelta(seconds=30)
    clock.forward(20)
    assert await journal.claim("w2", 30) is None


async def test_a_released_run_is_claimable_and_its_lease_gone(journal: Journal) -> None:
    run = (await journal.create(created())).run
    claim = await journal.claim("w1", 30)
    assert claim is not None
    await journal.release(claim.lease)
    with pytest.raises(LeaseLost):
        await journal.append(run.id, [decided()], claim.lease)
    again = await journal.claim("w2", 30)
    assert again is not None
    assert again.lease.fence == 2


async def test_an_ended_run_takes_no_more_work(journal: Journal) -> None:
    run = (await journal.create(created())).run
    claim = await journal.claim("w", 30)
    assert claim is not None
    await journal.append(run.id, [ended()], claim.lease)
    with pytest.raises(LeaseLost):
        await journal.append(run.id, [decided()], claim.lease)
    assert await journal.claim("w", 30) is None
    feedback = FeedbackGiven(feedback=Feedback(score=5, resolved=True))
    await journal.append(run.id, [feedback, OutcomeVerified(solved=True)])
    after = await journal.get("default", run.id)
    assert (after.status, after.feedback.score) == (RunStatus.SUCCEEDED, 5)  # type: ignore[union-attr]


async def test_without_a_lease_there_is_no_work_and_no_end_of_a_held_run(journal: Journal) -> None:
    run = (await journal.create(created())).run
    with pytest.raises(Conflict, match="needs the run's lease"):
        await journal.append(run.id, [decided()])
    await journal.claim("w", 30)
    with pytest.raises(Conflict, match="held by a worker"):
        await journal.append(run.id, [ended(RunStatus.CANCELLED, StopReason.CANCEL)])
    with pytest.raises(Conflict, match="nothing to resume"):
        await journal.append(run.id, [RunResumed()])


async def test_waiting_for_work(journal: Journal) -> None:
    await journal.wait_for_work(0.01)
    waiting = asyncio.create_task(journal.wait_for_work(10))
    await asyncio.sleep(0.01)
    await journal.create(created())
    await asyncio.wait_for(waiting, 5)
