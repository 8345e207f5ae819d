from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from flightloop.chat import Priority, Tags
from model.engine.block_pool import BlockPool
from model.engine.request import EngineRequest, SamplingParams
from model.engine.scheduler import Scheduler
from model.engine.sequence import Sequence

SIZE = 4


def sequence(arrival: int, prompt: list[int], priority: Priority = "interactive", tenant: str = "t") -> Sequence:
    request = EngineRequest(
        str(arrival), tuple(prompt), SamplingParams(8), tags=Tags(tenant_id=tenant), priority=priority
    )
    return Sequence(request, arrival, epoch=0)


def scheduler(blocks: int = 16, slots: int = 4, step_tokens: int = 8) -> Scheduler:
    return Scheduler(BlockPool(blocks, SIZE), slots, step_tokens)


def step(subject: Scheduler, token: int = 7) -> dict[str, int]:
    """Runs a step as the engine does; tells how many tokens of whom."""
    slices = subject.schedule()
    sampled = [each.sequence for each in slices if each.samples]
    subject.commit(slices)
    for each in sampled:
        each.tokens.append(token)
    return {each.sequence.request.id: each.count for each in slices}


def test_a_long_prompt_comes_in_chunks_and_decodes_go_on_beside_it() -> None:
    subject = scheduler()
    subject.add(sequence(0, [1, 2]))
    assert step(subject) == {"0": 2}
    subject.add(sequence(1, [*range(12)]))
    assert step(subject) == {"0": 1, "1": 7}
    assert step(subject) == {"0": 1, "1": 5}
    assert step(subject) == {"0": 1, "1": 1}


def test_higher_priorities_go_first_and_take_the_place_of_lower_ones() -> None:
    subject = scheduler(slots=1)
    subject.add(sequence(0, [1, 2], "batch"))
    assert step(subject) == {"0": 2}
    subject.add(sequence(1, [3], "interactive"))
    subject.add(sequence(2, [4], "operator"))
    assert step(subject) == {"2": 1}
    subject.remove(subject.running[0])
    assert step(subject) == {"1": 1}
    subject.remove(subject.running[0])
    assert step(subject) == {"0": 3}, "the preempted one is computed again, with the token it already had"


def test_equals_wait_for_each_other() -> None:
    subject = scheduler(slots=1)
    subject.add(sequence(0, [1]))
    subject.add(sequence(1, [1]))
    assert step(subject) == {"0": 1}
    assert step(subject) == {"0": 1}


def test_when_blocks_run_out_the_last_one_gives_way() -> None:
    subject = scheduler(blocks=4, slots=2, step_tokens=16)
    subject.add(sequence(0, [*range(7)]))
    subject.add(sequence(1, [*range(20, 23)]))
    assert step(subject) == {"0": 7, "1": 3}
    step(subject)
    step(subject)  # now 9 and 5 tokens: 3 and 2 blocks, of 4
    assert [each.request.id for each in subject.running] == ["0"]
    assert subject.preemptions == 1
    subject.check_integrity()


def test_a_known_beginning_is_not_computed_again_within_a_tenant() -> None:
    subject = scheduler(step_tokens=32)
    subject.add(sequence(0, [*range(10)]))
    step(subject)
    for arrival, tenant, computed in ((1, "t", 2), (2, "other", 10)):
        late = sequence(arrival, [*range(10)], tenant=tenant)
        subject.add(late)
        assert step(subject)[str(arrival)] == computed
        assert late.cached == 10 - computed


class Lifecycle(RuleBasedStateMachine):
    """Requests come, run, get cancelled; blocks and ranks stay right, and the first in rank always advances."""

    def __init__(self) -> None:
        super().__init__()
        self.subject = scheduler(blocks=10, slots=3, step_tokens=6)
        self.arrivals = 0

    @rule(
        size=st.integers(1, 24),
        alphabet=st.integers(1, 2),
        priority=st.sampled_from(["operator", "interactive", "batch"]),
        tenant=st.sampled_from("ab"),
    )
    def add(self, size: int, alphabet: int, priority: Priority, tenant: str) -> None:
        self.subject.add(sequence(self.arrivals, [n % alphabet for n in range(size)], priority, tenant))
        self.arrivals += 1

    @precondition(lambda self: self.subject.running or self.subject.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.subject.remove(data.draw(st.sampled_from([*self.subject.running, *self.subject.waiting])))

    @rule()
    def step(self) -> None:
        everyone = sorted([*self.subject.running, *self.subject.waiting], key=lambda each: each.rank)
        before = {each: each.pending for each in everyone}
        done = step(self.subject)
        assert sum(done.values()) <= self.subject.step_tokens
        if everyone:
            assert done, "work exists, so something is done"
            # Only the decodes of others can use the budget up before the first in rank gets its chunk.
            assert everyone[0].request.id in done or before[everyone[0]] > 1
        for each in list(self.subject.running):
            if len(each.tokens) >= 40 or each.generated >= 8:
                self.subject.remove(each)

    @invariant()
    def integrity(self) -> None:
        self.subject.check_integrity()


Lifecycle.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLifecycle = Lifecycle.TestCase
