"""What runs use together: one suite over every journal. Never more than the bound, whoever dies when."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent.run.budgets import Exhausted, Prices, Reservation, Shared, TenantBudgets, Window, used_up
from agent.run.journal import Claim, Journal
from agent.run.lease import LeaseLost
from agent.run.ledger import Completion
from agent.store import memory_journal
from flightloop.chat import Usage
from flightloop.events import CallsDecided, ModelCall, RunCreated, RunEnded
from flightloop.runs import Budget, Origin, RunStatus, StopReason
from flightloop.usage import Amounts

PRICES = Prices(prompt=1.0, completion=5.0)
DAY = Window.DAY


def created(**fields: Any) -> RunCreated:
    return RunCreated.model_validate({"agent": "a", "session_id": "s", "input": "hi", "budget": Budget()} | fields)


def decided(prompt: int, completion: int) -> CallsDecided:
    usage = Usage(prompt_tokens=prompt, completion_tokens=completion)
    return CallsDecided(calls=[], model=ModelCall(model="m", usage=usage, cost=PRICES.cost(usage)))


def call(prompt: int = 50, completion: int = 50, **fields: Any) -> Reservation:
    return Reservation(prompt, completion, **fields)


async def claimed(journal: Journal, worker: str = "w", **fields: Any) -> Claim:
    await journal.create(created(**fields))
    claim = await journal.claim(worker, 30)
    assert claim is not None
    return claim


async def of_tenant(journal: Journal) -> tuple[Amounts, Amounts]:
    spending = await journal.ledger.spending("default", DAY)
    return spending.used, spending.reserved


async def test_what_is_reserved_becomes_what_was_used(journal: Journal, clock: Any) -> None:
    shared = Shared(tenant=Budget(tokens=1000))
    claim = await claimed(journal)
    assert await journal.ledger.reserve(claim.lease, call(), PRICES, shared) == call()
    assert await of_tenant(journal) == (Amounts(), Amounts(steps=1, tokens=100, cost=0.0003))
    clock.forward(3)
    await journal.append(claim.run.id, [decided(40, 20)], claim.lease)
    used = Amounts(steps=1, tokens=60, seconds=3, cost=PRICES.cost(Usage(prompt_tokens=40, completion_tokens=20)))
    assert await of_tenant(journal) == (used, Amounts())
    assert (await journal.ledger.spending("default", DAY, "s")).used == used
    assert (await journal.ledger.spending("default", DAY, "another")).used == Amounts()
    assert (await journal.ledger.spending("other", DAY)).used == Amounts()


async def test_what_nobody_bounds_is_counted_too(journal: Journal, clock: Any) -> None:
    claim = await claimed(journal)
    clock.forward(1)
    await journal.append(claim.run.id, [decided(1, 2)], claim.lease)
    clock.forward(2)
    await journal.append(
        claim.run.id, [RunEnded(status=RunStatus.SUCCEEDED, stop_reason=StopReason.ANSWERED)], claim.lease
    )
    run = await journal.get("default", claim.run.id)
    assert (await of_tenant(journal))[0] == Amounts.of(run.usage)


async def test_the_last_tokens_go_to_one_of_two(journal: Journal) -> None:
    shared = Shared(tenant=Budget(tokens=150))
    claims = [await claimed(journal, session_id=name) for name in ("one", "two")]
    outcomes = await asyncio.gather(
        *(journal.ledger.reserve(claim.lease, call(60, 80), PRICES, shared) for claim in claims), return_exceptions=True
    )
    first, second = sorted(outcomes, key=lambda outcome: isinstance(outcome, Exhausted))
    assert first == call(60, 80)
    assert isinstance(second, Exhausted)
    assert second.reason is StopReason.BUDGET_TENANT
    assert "140 of the tenant's 150 tokens are used or reserved" in second.message


async def test_an_answer_is_shortened_to_what_others_leave(journal: Journal) -> None:
    one, two = await claimed(journal), await claimed(journal)
    shared = Shared(session=Budget(tokens=150), tenant=Budget(tokens=1000))
    await journal.ledger.reserve(one.lease, call(), PRICES, shared)
    assert await journal.ledger.reserve(two.lease, call(20, 90), PRICES, shared) == call(20, 30)
    # A second reservation of the same run takes the place of its first one.
    assert await journal.ledger.reserve(two.lease, call(20, 90), PRICES, shared) == call(20, 30)
    elsewhere = await claimed(journal, session_id="elsewhere")
    assert await journal.ledger.reserve(elsewhere.lease, call(20, 90), PRICES, shared) == call(20, 90)


@pytest.mark.parametrize(
    ("bound", "used"), [(Budget(steps=1), "1 steps"), (Budget(cost=0.0002), "euros"), (Budget(seconds=2), "2 seconds")]
)
async def test_each_bound_holds_over_runs(journal: Journal, clock: Any, bound: Budget, used: str) -> None:
    shared = Shared(session=bound)
    first = await claimed(journal)
    await journal.ledger.reserve(first.lease, call(10, 10), PRICES, shared)
    clock.forward(2)
    await journal.append(first.run.id, [decided(100, 20)], first.lease)
    second = await claimed(journal)
    with pytest.raises(Exhausted, match=used) as caught:
        await journal.ledger.reserve(second.lease, call(10, 10), PRICES, shared)
    assert caught.value.reason is StopReason.BUDGET_SESSION


async def test_time_stays_reserved_between_calls(journal: Journal, clock: Any) -> None:
    shared = Shared(tenant=Budget(seconds=100))
    one, two = await claimed(journal), await claimed(journal, session_id="t")
    held = await journal.ledger.reserve(one.lease, call(seconds=60), PRICES, shared)
    assert held.seconds == 60
    clock.forward(10)
    await journal.append(one.run.id, [decided(1, 1)], one.lease)  # its tools go on
    assert (await of_tenant(journal))[1] == Amounts(seconds=50)
    left = await journal.ledger.reserve(two.lease, Reservation(seconds=60, steps=0), PRICES, shared)
    assert (left.seconds, left.late) == (40, StopReason.BUDGET_TENANT)
    await journal.release(one.lease)
    used, reserved = await of_tenant(journal)
    assert (used.seconds, reserved.seconds) == (10, 40)


async def test_nothing_of_a_lost_lease_is_left(journal: Journal, clock: Any) -> None:
    shared = Shared(tenant=Budget(tokens=100))
    old = await claimed(journal, "old")
    await journal.ledger.reserve(old.lease, call(), PRICES, shared)
    clock.forward(31)
    new = await journal.claim("new", 30)
    assert new is not None
    assert (await of_tenant(journal))[1] == Amounts()
    with pytest.raises(LeaseLost):
        await journal.ledger.reserve(old.lease, call(), PRICES, shared)
    await journal.ledger.reserve(new.lease, call(), PRICES, shared)
    with pytest.raises(LeaseLost):
        await journal.append(old.run.id, [decided(50, 50)], old.lease)
    await journal.append(new.run.id, [decided(50, 50)], new.lease)
    used, reserved = await of_tenant(journal)
    assert (used.tokens, reserved.tokens) == (100, 0)


async def test_a_new_day_and_a_new_month(journal: Journal, clock: Any) -> None:
    shared = Shared(tenant=Budget(tokens=100))
    claim = await claimed(journal)
    await journal.append(claim.run.id, [decided(50, 50)], claim.lease)
    with pytest.raises(Exhausted):
        await journal.ledger.reserve(claim.lease, call(1, 1), PRICES, shared)
    clock.forward(24 * 3600)
    claim = await claimed(journal, session_id="later")
    monthly = Shared(tenant=Budget(tokens=100), window=Window.MONTH)
    with pytest.raises(Exhausted):
        await journal.ledger.reserve(claim.lease, call(1, 1), PRICES, monthly)
    await journal.ledger.reserve(claim.lease, call(), PRICES, shared)
    spending = await journal.ledger.spending("default", Window.MONTH)
    assert (spending.since, spending.until) == (clock.now.replace(day=1), clock.now.replace(month=2, day=1))
    assert spending.used.tokens == 100


async def test_completions_share_the_tenants_bound(journal: Journal) -> None:
    shared = Shared(tenant=Budget(tokens=100))
    claim = await claimed(journal)
    completion = Completion("cmpl_1", "default", "s", "api")
    assert await journal.ledger.reserve_completion(completion, call(10, 60), PRICES, shared) == call(10, 60)
    assert await journal.ledger.reserve(claim.lease, call(10, 60), PRICES, shared) == call(10, 20)
    await journal.ledger.settle(completion, Amounts(steps=1, tokens=15))
    assert (await journal.ledger.spending("default", DAY, "s")).used.tokens == 15
    assert await journal.ledger.reserve(claim.lease, call(10, 75), PRICES, shared) == call(10, 75)
    with pytest.raises(Exhausted):
        await journal.ledger.reserve_completion(completion, call(10, 60), PRICES, shared)


async def test_a_forks_copied_steps_cost_nothing(journal: Journal) -> None:
    claim = await claimed(journal)
    await journal.append(claim.run.id, [decided(50, 50)], claim.lease)
    before = await of_tenant(journal)
    forked = await journal.create(created(session_id="fork", origin=Origin(run_id=claim.run.id, step=1)))
    assert forked.run.usage.steps == 1
    assert await of_tenant(journal) == before
    assert (await journal.ledger.spending("default", DAY, "fork")).used == Amounts()


def test_windows_follow_the_calendar(clock: Any) -> None:
    for _ in range(800):
        clock.forward(17 * 3600)
        for window in Window:
            since, until = window.since(clock.now), window.until(clock.now)
            assert since <= clock.now < until
            assert window.since(until) == until
            assert window.since(until - timedelta(seconds=1)) == since


def test_a_tenant_may_have_its_own_bounds() -> None:
    tenants = TenantBudgets(Budget(tokens=1), {"big": Budget(tokens=5)})
    assert (tenants.of("small").tokens, tenants.of("big").tokens) == (1, 5)
    assert used_up(Budget(tokens=5, cost=1.0), Amounts(tokens=4, cost=1.0)) == "cost"
    assert used_up(Budget(tokens=5), Amounts(tokens=4, cost=1.0)) is None


# -- whatever happens in which order --------------------------------------------------------------


@dataclass
class _Working:
    claim: Claim
    granted: Reservation | None = None


class Spenders(RuleBasedStateMachine):
    """Runs of one tenant in two sessions, whose workers reserve, use, end, die and are taken over."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.journal = memory_journal(clock=lambda: self.now)
        self.shared = Shared(session=Budget(tokens=400, cost=0.001), tenant=Budget(tokens=600, steps=9))
        self.working: list[_Working] = []
        self.dead: list[_Working] = []

    def teardown(self) -> None:
        self.loop.close()

    def does(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    @rule(session=st.sampled_from(["one", "two"]))
    def begin(self, session: str) -> None:
        self.does(self.journal.create(created(session_id=session)))
        self.claim()

    @rule()
    def claim(self) -> None:
        claim = self.does(self.journal.claim("w", 30))
        if claim is not None:
            self.working.append(_Working(claim))

    @precondition(lambda self: self.working)
    @rule(data=st.data(), prompt=st.integers(1, 150), completion=st.integers(1, 150))
    def reserve(self, data: st.DataObject, prompt: int, completion: int) -> None:
        one = data.draw(st.sampled_from(self.working))
        try:
            wanted = call(prompt, completion)
            one.granted = self.does(self.journal.ledger.reserve(one.claim.lease, wanted, PRICES, self.shared))
        except Exhausted:
            pass  # what it had reserved before stays

    @precondition(lambda self: any(one.granted for one in self.working))
    @rule(data=st.data(), share=st.floats(0, 1))
    def use(self, data: st.DataObject, share: float) -> None:
        one = data.draw(st.sampled_from([one for one in self.working if one.granted]))
        granted, one.granted = one.granted, None
        assert granted is not None
        event = decided(granted.prompt_tokens, int(granted.completion_tokens * share))
        self.does(self.journal.append(one.claim.run.id, [event], one.claim.lease))

    @precondition(lambda self: self.working)
    @rule(data=st.data(), given_back=st.booleans())
    def leave(self, data: st.DataObject, given_back: bool) -> None:
        one = data.draw(st.sampled_from(self.working))
        self.working.remove(one)
        if given_back:
            self.does(self.journal.release(one.claim.lease))
        else:
            ended = RunEnded(status=RunStatus.FAILED, stop_reason=StopReason.ERROR)
            self.does(self.journal.append(one.claim.run.id, [ended], one.claim.lease))

    @precondition(lambda self: self.working)
    @rule()
    def die(self) -> None:
        """All at once, and their leases run out."""
        self.dead += self.working
        self.working = []
        self.now += timedelta(seconds=31)
        while (claim := self.does(self.journal.claim("next", 30))) is not None:
            self.working.append(_Working(claim))

    @precondition(lambda self: self.dead)
    @rule(data=st.data())
    def come_back(self, data: st.DataObject) -> None:
        """One of the dead only stood still: nothing that it does counts any more."""
        lease = data.draw(st.sampled_from(self.dead)).claim.lease
        with pytest.raises(LeaseLost):
            self.does(self.journal.ledger.reserve(lease, call(1, 1), PRICES, self.shared))
        with pytest.raises(LeaseLost):
            self.does(self.journal.append(lease.run_id, [decided(1, 1)], lease))

    @invariant()
    def no_bound_is_passed(self) -> None:
        for bound, session in ((self.shared.tenant, None), *((self.shared.session, name) for name in ("one", "two"))):
            spending = self.does(self.journal.ledger.spending("default", DAY, session))
            taken = spending.used + spending.reserved
            assert bound.tokens is None or taken.tokens <= bound.tokens
            assert bound.steps is None or taken.steps <= bound.steps
            assert bound.cost is None or taken.cost <= bound.cost + 1e-12

    @invariant()
    def the_ledger_is_what_the_journal_tells(self) -> None:
        runs = self.does(self.journal.runs("default", limit=200)).data
        spending = self.does(self.journal.ledger.spending("default", DAY))
        told = sum((Amounts.of(run.usage) for run in runs), Amounts())
        assert (spending.used.tokens, spending.used.steps) == (told.tokens, told.steps)
        assert spending.used.cost == pytest.approx(told.cost)
        granted = [one.granted.amounts(PRICES) for one in self.working if one.granted]
        assert spending.reserved.tokens == sum(amounts.tokens for amounts in granted)


TestSpenders = Spenders.TestCase
TestSpenders.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
