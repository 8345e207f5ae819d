"""The run as a fold: transitions, and the incremental state equal to the fold of all events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.run.history import History
from agent.run.state import RESUMABLE, TRANSITIONS, RunState, apply, fold, fold_state
from flightloop.chat import Usage
from flightloop.errors import Conflict
from flightloop.events import (
    CallsDecided,
    CancelRequested,
    FeedbackGiven,
    ModelCall,
    Planned,
    Replied,
    RunCreated,
    RunEnded,
    RunEvent,
    RunReleased,
    RunResumed,
    RunStarted,
)
from flightloop.runs import Budget, Feedback, RunStatus, StopReason

START = datetime(2026, 1, 1, tzinfo=UTC)
CREATED = RunCreated(seq=1, run_id="run_1", at=START, agent="a", session_id="s", input="hi", budget=Budget())

tokens = st.integers(0, 1000)
model_calls = st.builds(
    ModelCall,
    model=st.just("m"),
    usage=st.builds(Usage, prompt_tokens=tokens, completion_tokens=tokens),
    confidence=st.none() | st.floats(0, 1),
    cost=st.floats(0, 1),
)
anything: st.SearchStrategy[RunEvent] = st.one_of(
    st.builds(RunStarted, worker=st.just("w"), fence=st.just(1)),
    st.builds(RunReleased, status=st.sampled_from([RunStatus.QUEUED, RunStatus.WAITING_APPROVAL])),
    st.builds(RunResumed, budget=st.none() | st.just(Budget(steps=9))),
    st.builds(
        RunEnded,
        status=st.sampled_from([status for status in RunStatus if status.terminal]),
        stop_reason=st.sampled_from(list(StopReason)),
    ),
    st.builds(Planned, goal=st.just("g"), tools=st.lists(st.sampled_from("abc"), max_size=3), model=model_calls),
    st.builds(CallsDecided, calls=st.just([]), model=model_calls),
    st.builds(Replied, text=st.just("t"), model=model_calls),
    st.just(CancelRequested()),
    st.builds(
        FeedbackGiven, feedback=st.builds(Feedback, score=st.integers(1, 5), resolved=st.booleans(), comment=st.none())
    ),
)


def accepted(events: list[RunEvent]) -> tuple[list[RunEvent], RunState]:
    """Applies what fits, one event a second; what was accepted, and the state kept on the way."""
    state, kept, at = apply(None, CREATED), [CREATED], START
    for event in events:
        at += timedelta(seconds=1)
        event = event.model_copy(update={"seq": state.run.last_seq + 1, "run_id": "run_1", "at": at})
        before = state
        try:
            state = apply(state, event)
        except Conflict:
            assert state is before
            continue
        assert state.run.status is before.run.status or state.run.status in TRANSITIONS[before.run.status]
        kept.append(event)
    return kept, state


@given(st.lists(anything, max_size=40))
def test_the_incremental_state_is_the_fold_of_all_events(events: list[RunEvent]) -> None:
    kept, state = accepted(events)
    assert fold_state(kept) == state
    assert fold(kept) == state.run
    assert state.run.last_seq == len(kept)


@given(st.lists(anything, max_size=40))
def test_figures_are_sums_over_the_events(events: list[RunEvent]) -> None:
    kept, state = accepted(events)
    decisions = [event for event in kept if isinstance(event, Planned | CallsDecided | Replied)]
    usage = state.run.usage
    assert usage.steps == usage.model_calls == len(decisions)
    assert usage.prompt_tokens == sum(event.model.usage.prompt_tokens for event in decisions)
    told = [event.model.confidence for event in decisions if event.model.confidence is not None]
    assert state.run.confidence == (pytest.approx(sum(told) / len(told)) if told else None)
    assert (state.held_at is not None) == (state.run.status is RunStatus.RUNNING)


@given(st.lists(anything, max_size=40))
def test_only_time_under_a_lease_counts(events: list[RunEvent]) -> None:
    kept, state = accepted(events)
    expected, held = 0.0, None
    for event in kept:
        assert event.at is not None
        if isinstance(event, RunStarted):
            held = event.at  # what passed since a dead worker's last event is nobody's
        elif held is not None:
            expected += (event.at - held).total_seconds()
            held = None if isinstance(event, RunEnded | RunReleased) else event.at
    assert state.run.usage.seconds == pytest.approx(expected)


@given(st.lists(anything, max_size=40))
def test_history_is_the_same_event_by_event(events: list[RunEvent]) -> None:
    kept, _ = accepted(events)
    at_once, one_by_one = History("run_1", kept), History("run_1")
    for event in kept:
        one_by_one.add(event)
    assert vars(at_once) == vars(one_by_one)


def test_every_status_is_in_the_transitions_and_reachable() -> None:
    assert set(TRANSITIONS) == set(RunStatus)
    reached, frontier = {RunStatus.QUEUED}, {RunStatus.QUEUED}
    while frontier:
        frontier = {after for status in frontier for after in TRANSITIONS[status]} - reached
        reached |= frontier
    assert reached == set(RunStatus)


@pytest.mark.parametrize("reason", list(StopReason))
def test_what_can_be_resumed(reason: StopReason) -> None:
    started = RunStarted(worker="w", fence=1, at=START)
    ended = RunEnded(status=RunStatus.FAILED, stop_reason=reason, at=START)
    events = [CREATED, started, ended, RunResumed(budget=Budget(steps=99), at=START)]
    if reason in RESUMABLE:
        run = fold(events)
        assert (run.status, run.stop_reason, run.budget.steps) == (RunStatus.QUEUED, None, 99)
    else:
        with pytest.raises(Conflict, match="cannot be resumed"):
            fold(events)


def test_a_run_begins_with_its_creation_and_only_once() -> None:
    with pytest.raises(Conflict):
        fold([CancelRequested()])
    with pytest.raises(Conflict):
        fold([CREATED, CREATED])
    with pytest.raises(ValueError, match="at least one"):
        fold([])
