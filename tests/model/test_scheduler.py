from __future__ import annotations

from copy import deepcopy

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from flightloop.chat import Priority, Tags
from model.engine.block_groups import BlockGroups, Span
from model.engine.block_pool import BlockPool
from model.engine.request import EngineRequest, SamplingParams
from model.engine.scheduler import Guess, Scheduler
from model.engine.sequence import Sequence

SIZE = 4
WRONG = 8


def sequence(arrival: int, prompt: list[int], priority: Priority = "interactive", tenant: str = "t") -> Sequence:
    request = EngineRequest(
        str(arrival), tuple(prompt), SamplingParams(8), tags=Tags(tenant_id=tenant), priority=priority
    )
    return Sequence(request, arrival, epoch=0)


def scheduler(blocks: int = 16, slots: int = 4, step_tokens: int = 8, draft_tokens: int = 0) -> Scheduler:
    return Scheduler(BlockGroups(BlockPool(blocks, SIZE)), slots, step_tokens, draft_tokens)


def step(subject: Scheduler, guess: Guess | None = None, true: int = 0) -> dict[str, int]:
    """Runs a step as the engine does, where so many drafts come true; tells how many tokens of whom."""
    slices = subject.schedule(guess)
    for each in slices:
        if each.samples:
            each.sequence.tokens += [*each.drafts[:true], WRONG]
    subject.commit(slices)
    return {each.sequence.request.id: each.count + len(each.drafts) for each in slices}


def sevens(sequence: Sequence, most: int) -> list[int]:
    return [7] * most


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


def test_what_the_grammar_dictated_does_not_wait_behind_a_long_prompt() -> None:
    subject = scheduler()
    first, long = sequence(0, [1, 2], "batch"), sequence(1, [*range(40)])
    subject.add(first)
    step(subject)
    subject.add(long)
    first.tokens += [5, 5, 5]
    assert step(subject) == {"0": 4, "1": 4}


def test_an_operator_does_not_wait_for_a_long_prompt_of_others() -> None:
    subject = scheduler(blocks=32)
    subject.add(sequence(0, [*range(40)], "interactive"))
    assert step(subject) == {"0": 8}
    subject.add(sequence(1, [1, 2, 3], "operator"))
    subject.add(sequence(2, [1, 2, 3], "batch"))
    assert step(subject) == {"1": 3, "0": 5}


def test_drafts_fill_a_step_in_even_shares() -> None:
    subject = scheduler(draft_tokens=7)
    for arrival in range(3):
        subject.add(sequence(arrival, [arrival, 2]))
    assert step(subject, sevens) == {"0": 3, "1": 2, "2": 2}, "six tokens of the seven are prompts"
    assert step(subject, sevens) == {"0": 3, "1": 2, "2": 2}
    assert step(subject, lambda each, most: [7] * most if each.arrival == 2 else []) == {"0": 1, "1": 1, "2": 5}
    subject.add(sequence(3, [3, 2, 2, 2]))
    assert step(subject, sevens) == {"0": 1, "1": 1, "2": 1, "3": 4}, "the step is full"


def test_true_drafts_are_computed_and_reused_and_false_ones_leave_nothing() -> None:
    subject = scheduler(draft_tokens=8)
    first = sequence(0, [1, 2, 3])
    subject.add(first)
    step(subject, sevens, true=3)
    assert (first.computed, first.tokens, len(first.blocks)) == (6, [1, 2, 3, 7, 7, 7, WRONG], 2)
    assert step(subject, sevens, true=0) == {"0": 8}
    assert (first.computed, len(first.tokens), len(first.blocks)) == (7, 8, 2), "16 tokens' blocks went back"
    step(subject, sevens, true=0)
    late = sequence(1, [1, 2, 3, 7, 7, 7, WRONG, WRONG, WRONG])
    subject.add(late)
    step(subject)
    assert late.cached == 8
    other = sequence(2, [1, 2, 3, 7, 7, 7, WRONG, 7, 7])
    subject.add(other)
    step(subject)
    assert other.cached == 4, "what was only guessed is not found"


def test_nobody_gives_way_to_a_draft() -> None:
    subject = scheduler(blocks=4, slots=2, step_tokens=16, draft_tokens=16)
    for arrival in range(2):
        subject.add(sequence(arrival, [arrival, 1, 2]))
    assert step(subject) == {"0": 3, "1": 3}
    assert step(subject, sevens) == {"0": 1, "1": 1}, "the two free blocks are theirs to grow into"
    assert subject.preemptions == 0


class Lifecycle(RuleBasedStateMachine):
    """Requests come, run, get cancelled; blocks and ranks stay right, and the first in rank always advances."""

    def __init__(self) -> None:
        super().__init__()
        self.subject = Scheduler(self.groups(), slots=3, step_tokens=6, draft_tokens=5)
        self.arrivals = 0

    def groups(self) -> BlockGroups:
        return BlockGroups(BlockPool(10, SIZE))

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

    @rule(true=st.integers(0, 4))
    def step(self, true: int) -> None:
        undrafted = deepcopy(self.subject)
        slices = {each.sequence.request.id: each.count for each in undrafted.schedule()}
        everyone = sorted([*self.subject.running, *self.subject.waiting], key=lambda each: each.rank)
        preemptions = self.subject.preemptions
        done = step(self.subject, sevens, true)
        assert self.subject.preemptions == undrafted.preemptions, "nobody gave way to a draft"
        assert done.keys() == slices.keys()
        assert all(done[each] >= count for each, count in slices.items())
        if done != slices:
            assert sum(done.values()) <= self.subject.draft_tokens
        assert sum(done.values()) <= self.subject.step_tokens
        if everyone:
            assert done, "work exists, so something is done"
            assert everyone[0].request.id in done or self.subject.preemptions > preemptions
        for each in list(self.subject.running):
            if len(each.tokens) >= 40 or each.generated >= 8:
                self.subject.remove(each)

    @invariant()
    def integrity(self) -> None:
        self.subject.check_integrity()


Lifecycle.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLifecycle = Lifecycle.TestCase


class LifecycleWithWindow(Lifecycle):
    """The same with blocks that go back behind a window, and no more of them than three sequences can need."""

    def groups(self) -> BlockGroups:
        span = Span(window=5, sinks=3)
        return BlockGroups(BlockPool(10, SIZE), BlockPool(3 * span.most_blocks(SIZE, 6, 40), SIZE), span)

    @invariant()
    def bounded(self) -> None:
        for each in self.subject.running:
            assert len(each.blocks.near_held) <= 5


LifecycleWithWindow.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLifecycleWithWindow = LifecycleWithWindow.TestCase
