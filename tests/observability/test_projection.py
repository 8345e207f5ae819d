"""The projection: a pure fold of journal events."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flightloop.chat import Usage
from flightloop.events import (
    ApprovalDecided,
    ApprovalRequested,
    CallsDecided,
    DeltaEvent,
    FeedbackGiven,
    Judged,
    ModelCall,
    OutcomeVerified,
    Planned,
    Replied,
    RunCreated,
    RunEnded,
    RunResumed,
    RunStarted,
    ToolResult,
)
from flightloop.runs import Budget, Feedback, RunStatus, StopReason
from flightloop.verdicts import Action, Stage, Verdict
from observability import catalog as c
from observability.aggregator import Aggregator
from observability.config import BusinessConfig, ProjectionConfig
from observability.projection import JournalProjection
from observability.trace_id import trace_id_of

START = datetime(2026, 1, 1, tzinfo=UTC)
ENDS = [
    (RunStatus.SUCCEEDED, StopReason.ANSWERED),
    (RunStatus.SUCCEEDED, StopReason.ESCALATED),
    (RunStatus.FAILED, StopReason.ERROR),
    (RunStatus.FAILED, StopReason.BUDGET_STEPS),
    (RunStatus.BLOCKED, StopReason.GUARDRAIL),
    (RunStatus.INTERRUPTED, StopReason.INTERRUPT),
    (RunStatus.CANCELLED, StopReason.CANCEL),
]
MODEL_CALL = st.builds(
    ModelCall,
    model=st.just("m"),
    usage=st.builds(Usage, prompt_tokens=st.integers(0, 500), completion_tokens=st.integers(0, 100)),
    confidence=st.none() | st.floats(0, 1),
    cost=st.floats(0, 0.01),
)
RUN = st.sampled_from(["r1", "r2", "r3"])
SCORES = st.dictionaries(st.sampled_from(["groundedness", "insult", "threat"]), st.floats(0, 1), max_size=2)
EVENTS = st.one_of(
    st.builds(Planned, run_id=RUN, goal=st.just("g"), tools=st.just([]), model=MODEL_CALL),
    st.builds(CallsDecided, run_id=RUN, calls=st.just([]), model=MODEL_CALL),
    st.builds(Replied, run_id=RUN, text=st.just("t"), model=MODEL_CALL),
    st.builds(
        ToolResult,
        run_id=RUN,
        call_id=st.just("c"),
        tool=st.sampled_from(["find", "refund"]),
        ok=st.booleans(),
        seconds=st.floats(0, 40),
        tainted=st.booleans(),
    ),
    st.builds(
        Judged,
        run_id=RUN,
        verdict=st.builds(
            Verdict,
            action=st.sampled_from(list(Action)),
            rail=st.sampled_from(["pii", "content"]),
            stage=st.sampled_from(list(Stage)),
            scores=SCORES,
            milliseconds=st.floats(0, 900),
        ),
    ),
    st.builds(
        ApprovalDecided,
        run_id=RUN,
        approval_id=st.just("a"),
        call_id=st.just("c"),
        decision=st.sampled_from(["approve", "deny", "expire"]),
    ),
    st.builds(RunEnded, run_id=RUN, status=st.just(RunStatus.FAILED), stop_reason=st.just(StopReason.ERROR)),
    st.sampled_from(ENDS).flatmap(
        lambda end: st.builds(RunEnded, run_id=RUN, status=st.just(end[0]), stop_reason=st.just(end[1]))
    ),
    st.builds(RunResumed, run_id=RUN),
    st.builds(FeedbackGiven, run_id=RUN, feedback=st.builds(Feedback, score=st.integers(1, 5), resolved=st.booleans())),
    st.builds(OutcomeVerified, run_id=RUN, solved=st.booleans()),
    st.builds(DeltaEvent, run_id=RUN, text=st.just("x")),
)


def created(run_id: str, agent: str = "support") -> RunCreated:
    return RunCreated(run_id=run_id, agent=agent, session_id="s", input="hello", budget=Budget())


def stamped(events: list) -> list:
    """Each a second after the other, as the journal has them: (position, tenant, event)."""
    made = []
    for position, event in enumerate(events, start=1):
        at = START + timedelta(seconds=position)
        tenant = "other" if event.run_id == "r3" else "default"
        made.append((position, tenant, event.model_copy(update={"at": at, "seq": position})))
    return made


def fold(rows: list, projection: JournalProjection | None = None) -> JournalProjection:
    projection = projection or JournalProjection()
    for row in rows:
        projection.apply(*row)
    return projection


HISTORY = st.lists(EVENTS, max_size=40).map(
    lambda events: stamped([created("r1"), created("r2", "sales"), created("r3"), *events])
)


@settings(max_examples=150)
@given(HISTORY, st.integers(0, 43), st.integers(1, 3))
def test_a_fold_in_two_halves_is_the_fold_at_once(history, cut, remembered):
    config = ProjectionConfig(remembered_runs=remembered)
    whole = fold(history, JournalProjection(config))
    first = fold(history[:cut], JournalProjection(config))
    stored = json.loads(json.dumps(first.state()))
    halves = fold(history[cut:], JournalProjection.from_state(stored, config))
    assert halves.state() == whole.state()
    assert halves.values().to_json() == whole.values().to_json()


@given(HISTORY, st.integers(0, 43))
def test_events_applied_again_change_nothing(history, start):
    projection = fold(history)
    before = projection.state()
    assert fold(history[start:], projection).state() == before


@given(HISTORY)
def test_every_run_is_counted_once(history):
    values = fold(history).values()
    standing = values.value(c.BUSINESS_RUNS) or 0
    assert standing + (values.value(c.RUN_OPEN) or 0) == values.value(c.RUN_CREATED) == 3
    assert all(count >= 0 for count in values.by(c.BUSINESS_RUNS, "outcome").values())
    assert (values.value(c.BUSINESS_RATINGS) or 0) == (values.value(c.BUSINESS_RESOLVED) or 0) <= 3
    outcomes = values.by(c.BUSINESS_RUNS, "outcome")
    assert 0 <= values.value(c.BUSINESS_RESOLUTIONS) <= outcomes.get("verified", 0) + outcomes.get("assumed", 0)


@given(HISTORY)
def test_tenants_are_apart_and_add_up(history):
    projection = fold(history)
    for metric in (c.RUN_CREATED, c.TOOL_CALLS, c.GUARDRAIL_VERDICTS):
        parts = [projection.values(tenant).value(metric) or 0 for tenant in ("default", "other")]
        assert sum(parts) == (projection.values().value(metric) or 0)
    assert projection.values("other").value(c.RUN_CREATED) == 1
    assert len(projection.values("nobody").series) == 0


def one_run(*events: object, business: BusinessConfig | None = None) -> JournalProjection:
    return fold(stamped([created("r1"), *events]), JournalProjection(business=business))


def ended(status: RunStatus = RunStatus.SUCCEEDED, reason: StopReason = StopReason.ANSWERED) -> RunEnded:
    return RunEnded(run_id="r1", status=status, stop_reason=reason)


@pytest.mark.parametrize(
    ("end", "outcome"),
    list(zip(ENDS, ["assumed", "escalated", "failed", "failed", "blocked", "stopped", "stopped"], strict=True)),
)
def test_outcomes_by_end(end, outcome):
    values = one_run(ended(*end)).values()
    assert {name for name, count in values.by(c.BUSINESS_RUNS, "outcome").items() if count} == {outcome}
    assert values.value(c.RUN_ENDED, status=end[0].value, stop_reason=end[1].value) == 1


@pytest.mark.parametrize(
    ("solved", "resolved", "outcome", "accepted"),
    [
        (True, None, "verified", 1),
        (True, False, "verified", 1),
        (False, True, "failed", 0),
        (None, True, "assumed", 1),
        (None, False, "assumed", 0),
        (None, None, "assumed", 0),
    ],
)
def test_what_people_say_moves_a_run(solved, resolved, outcome, accepted):
    events: list = [ended()]
    if solved is not None:
        events.append(OutcomeVerified(run_id="r1", solved=solved))
    if resolved is not None:
        events.append(FeedbackGiven(run_id="r1", feedback=Feedback(score=4, resolved=resolved)))
    values = one_run(*events).values()
    assert values.value(c.BUSINESS_RUNS, outcome=outcome) == values.value(c.BUSINESS_RUNS) == 1
    assert values.value(c.BUSINESS_RESOLUTIONS) == accepted


def test_a_second_rating_replaces_the_first():
    ratings = [FeedbackGiven(run_id="r1", feedback=Feedback(score=score, resolved=True)) for score in (2, 5)]
    values = one_run(ended(), *ratings).values()
    assert values.by(c.BUSINESS_RATINGS, "score") == {"1": 0, "2": 0, "3": 0, "4": 0, "5": 1}


def test_a_resumed_run_is_open_again_and_ends_twice():
    values = one_run(ended(RunStatus.INTERRUPTED, StopReason.INTERRUPT), RunResumed(run_id="r1")).values()
    assert values.value(c.RUN_OPEN) == 1
    assert values.value(c.BUSINESS_RUNS) == 0
    values = one_run(
        ended(RunStatus.INTERRUPTED, StopReason.INTERRUPT),
        RunResumed(run_id="r1"),
        RunStarted(run_id="r1", worker="w", fence=2),
        ended(),
    ).values()
    assert values.value(c.RUN_ENDED) == 2
    assert values.by(c.BUSINESS_RUNS, "outcome")["assumed"] == values.value(c.BUSINESS_RUNS) == 1
    assert values.histogram(c.RUN_SECONDS).total == 3  # one second until the interrupt, two after the resumption


def test_decisions_make_steps_tokens_cost_confidence_and_calibration():
    call = ModelCall(model="m", usage=Usage(prompt_tokens=90, completion_tokens=10), confidence=0.6, cost=0.25)
    sure = call.model_copy(update={"confidence": 1.0})
    projection = one_run(
        Planned(run_id="r1", goal="g", tools=[], model=call),
        Replied(run_id="r1", text="t", model=sure),
        ended(),
        OutcomeVerified(run_id="r1", solved=True),
        OutcomeVerified(run_id="r1", solved=True),
    )
    values = projection.values()
    assert values.by(c.RUN_DECISIONS, "kind") == {"plan": 1, "calls": 0, "reply": 1}
    assert values.mean(c.RUN_STEPS) == 2
    assert values.mean(c.RUN_TOKENS) == 200
    assert values.value(c.BUSINESS_COST_EUROS) == 0.5
    assert values.mean(c.RUN_CONFIDENCE) == pytest.approx(0.8)
    assert values.value(c.BUSINESS_CALIBRATED_RUNS) == 1  # the second look at the same run tells nothing new
    assert values.value(c.BUSINESS_CALIBRATION_ERROR) == pytest.approx(0.04)
    exemplars = values.series.histograms[(c.RUN_STEPS.name, ("support",))].exemplars.values()
    assert [exemplar.trace_id for exemplar in exemplars] == [trace_id_of("r1")]


def test_only_scores_of_answers_count_as_quality():
    def judged(stage: Stage, rail: str, scores: dict[str, float]) -> Judged:
        return Judged(run_id="r1", verdict=Verdict(action=Action.ALLOW, rail=rail, stage=stage, scores=scores))

    values = one_run(
        judged(Stage.INPUT, "content", {"insult": 0.9}),
        judged(Stage.FINAL, "content", {"insult": 0.2, "threat": 0.9}),
        judged(Stage.FINAL, "content", {"insult": 0.6}),
        judged(Stage.FINAL, "groundedness", {"groundedness": 0.75}),
    ).values()
    assert values.mean(c.MODEL_TOXICITY) == pytest.approx(0.75)
    assert values.value(c.MODEL_TOXIC) == 1
    assert values.mean(c.MODEL_GROUNDEDNESS) == 0.75
    assert values.value(c.GUARDRAIL_VERDICTS, rail="content", action="allow") == 3


def test_tools_and_approvals():
    asked = ApprovalRequested(
        run_id="r1",
        approval_id="a",
        call_id="c",
        tool="refund",
        arguments={},
        reason="",
        args_sha256="",
        policy_sha256="",
        expires_at=START,
    )
    values = one_run(
        asked,
        ApprovalDecided(run_id="r1", approval_id="a", call_id="c", decision="deny"),
        ToolResult(run_id="r1", call_id="c", tool="find", ok=True, seconds=0.5, tainted=True),
        ToolResult(run_id="r1", call_id="c", tool="find", ok=False, seconds=1.5, tries=3),
        ToolResult(run_id="r1", call_id="c", tool="a name that the model made up", ok=False, known=False),
    ).values()
    assert values.by(c.TOOL_CALLS, "tool") == {"find": 2, "unknown": 1}
    assert values.by(c.GUARDRAIL_APPROVALS, "decision") == {"requested": 1, "approve": 0, "deny": 1, "expire": 0}
    assert values.by(c.TOOL_CALLS, "outcome", tool="find") == {"ok": 1, "error": 1}
    assert values.mean(c.TOOL_SECONDS, tool="find") == 1
    assert values.value(c.TOOL_TAINTED) == 1
    assert values.value(c.TOOL_RETRIES, tool="find") == 2


def test_return_on_investment_by_hand():
    business = BusinessConfig("v7", human_cost_per_conversation=6, platform_cost_per_hour=3600)
    call = ModelCall(model="m", cost=1.0)
    # Four events a second apart: a period of three seconds, at one euro a second.
    projection = one_run(
        Replied(run_id="r1", text="t", model=call),
        ended(),
        OutcomeVerified(run_id="r1", solved=True),
        business=business,
    )
    values = projection.values()
    assert values.value(c.BUSINESS_PERIOD_SECONDS) == 3
    assert values.value(c.BUSINESS_COST_PER_RESOLUTION_EUROS) == 4
    assert values.value(c.BUSINESS_ROI_RATIO, inputs="v7") == pytest.approx((6 - 4) / 4)


def test_without_a_resolution_there_is_no_cost_of_one():
    values = one_run(ended(RunStatus.FAILED, StopReason.ERROR)).values()
    assert values.value(c.BUSINESS_COST_PER_RESOLUTION_EUROS) is None
    assert values.value(c.BUSINESS_ROI_RATIO) == -1


def test_runs_beyond_memory_are_forgotten_but_stay_counted():
    projection = JournalProjection(ProjectionConfig(remembered_runs=1))
    events: list = []
    for run_id in ("r1", "r2"):
        events += [created(run_id), RunEnded(run_id=run_id, status="succeeded", stop_reason="answered")]
    events.append(OutcomeVerified(run_id="r1", solved=True))
    fold(stamped(events), projection)
    values = projection.values()
    assert values.by(c.BUSINESS_RUNS, "outcome")["assumed"] == 2
    assert list(projection.state()["runs"]) == ["r2"]


def test_projections_of_one_journal_replace_each_other_in_the_aggregator():
    history = stamped([created("r1"), ended()])
    aggregator = Aggregator()
    behind, ahead = fold(history[:1]), fold(history)
    assert aggregator.ingest(ahead.snapshot())
    assert not aggregator.ingest(behind.snapshot())
    assert aggregator.ingest(ahead.snapshot())
    assert aggregator.values().value(c.RUN_CREATED) == 1
    assert aggregator.values().by(c.BUSINESS_RUNS, "outcome")["assumed"] == 1


def test_a_resumed_run_is_not_forgotten_while_it_is_open():
    def end(run_id: str) -> RunEnded:
        return RunEnded(run_id=run_id, status=RunStatus.SUCCEEDED, stop_reason=StopReason.ANSWERED)

    projection = JournalProjection(ProjectionConfig(remembered_runs=1))
    fold(stamped([created("r1"), created("r2"), end("r1"), RunResumed(run_id="r1"), end("r2"), end("r1")]), projection)
    values = projection.values()
    assert values.by(c.BUSINESS_RUNS, "outcome")["assumed"] == values.value(c.BUSINESS_RUNS) == 2
    assert values.value(c.RUN_OPEN) == 0
