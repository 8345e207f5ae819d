"""The rules behind the banner."""

from datetime import UTC, datetime, timedelta

import pytest

from dashboards.health import Level, Situation, findings, worst
from flightloop.overview import Overview
from flightloop.runs import Budget, Interrupt, Run, RunStatus, StopReason

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)


def situation(figures: dict | None = None, **given) -> Situation:
    overview = Overview.model_validate({"at": NOW, "model": figures or {}})
    return Situation(**{"overview": overview, "interrupts": [], "approvals": [], "runs": [], "now": NOW, **given})


def run(number: int, reason: StopReason = StopReason.ANSWERED, ended: datetime = NOW) -> Run:
    status = RunStatus.SUCCEEDED if reason is StopReason.ANSWERED else RunStatus.FAILED
    return Run(
        id=f"run_{number}",
        agent="a",
        session_id="s",
        status=status,
        stop_reason=reason,
        input="hi",
        budget=Budget(),
        created_at=ended,
        ended_at=ended,
    )


def stopped(scope: str, target: str | None = None) -> Interrupt:
    return Interrupt(id="int_1", scope=scope, target=target, epoch=1, created_at=NOW)


def test_nothing_wrong_is_all_well() -> None:
    assert findings(situation(runs=[run(number) for number in range(20)])) == []
    assert worst([]) is Level.OK


@pytest.mark.parametrize(("scope", "level"), [("all", Level.CRITICAL), ("agent", Level.WARNING), ("run", Level.OK)])
def test_a_latched_interrupt_counts_by_its_scope(scope: str, level: Level) -> None:
    target = None if scope == "all" else "it"
    assert worst(findings(situation(interrupts=[stopped(scope, target)]))) is level


@pytest.mark.parametrize(("failed", "level"), [(0, Level.OK), (1, Level.OK), (2, Level.WARNING), (6, Level.CRITICAL)])
def test_the_share_of_failed_runs(failed: int, level: Level) -> None:
    runs = [run(number, StopReason.ERROR if number < failed else StopReason.ANSWERED) for number in range(20)]
    assert worst(findings(situation(runs=runs))) is level


def test_old_failures_few_runs_and_exhausted_budgets_raise_no_alarm() -> None:
    long_ago = NOW - timedelta(hours=2)
    old = [run(number, StopReason.ERROR, long_ago) for number in range(10)]
    few = [run(number, StopReason.ERROR) for number in range(4)]
    budgets = [run(number, StopReason.BUDGET_STEPS) for number in range(10)]
    for runs in (old, few, budgets):
        assert findings(situation(runs=runs)) == []


@pytest.mark.parametrize(
    ("figures", "title"),
    [
        ({"flightloop_model_ttft_seconds": {"value": 1, "p95": 4.0}}, "The first token takes up to 4.0 s"),
        ({"flightloop_model_kv_used_ratio": 0.97}, "The KV cache is 97% full"),
        ({"flightloop_system_metrics_age_seconds": 300}, "No metrics for 300 s"),
    ],
)
def test_figures_beyond_their_objective(figures: dict, title: str) -> None:
    assert [finding.title for finding in findings(situation(figures))] == [title]


def test_api_errors_count_from_a_hundred_requests() -> None:
    def answers(good: int, bad: int) -> Situation:
        name = "flightloop_system_http_requests_total"
        counted = [("200", good), ("503", bad)]
        system = [{"name": name, "value": number, "labels": {"status": status}} for status, number in counted]
        return situation(overview=Overview.model_validate({"at": NOW, "system": system}))

    assert findings(answers(1000, 4)) == []
    assert findings(answers(10, 10)) == []
    assert findings(answers(1000, 10))[0].title == "The API fails 1.0% of its requests"


def test_the_worst_comes_first() -> None:
    found = findings(situation({"flightloop_model_kv_used_ratio": 0.97}, interrupts=[stopped("all")]))
    assert [finding.level for finding in found] == [Level.CRITICAL, Level.WARNING]
