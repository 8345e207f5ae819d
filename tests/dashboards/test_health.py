"""The rules behind the banner."""

from datetime import UTC, datetime, timedelta

import pytest

from dashboards.health import Level, Situation, findings, worst
from flightloop.overview import Overview
from flightloop.runs import Budget, Interrupt, ProjectInfo, Run, RunStatus, StopReason
from flightloop.usage import Amounts, Spending

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


def test_a_broken_project_is_told() -> None:
    info = ProjectInfo(loaded_at=NOW)
    assert findings(situation(project=info)) == []
    broken = info.model_copy(update={"problem": "agents/a.yaml:3: not YAML", "broken_since": NOW})
    [found] = findings(situation(project=broken))
    assert (found.level, "agents/a.yaml:3: not YAML" in found.detail) == (Level.WARNING, True)


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


def spending(tokens: int, reserved: int = 0) -> Spending:
    window = {"since": NOW - timedelta(hours=9), "until": NOW + timedelta(hours=15)}
    used, held = Amounts(tokens=tokens, cost=9.0), Amounts(tokens=reserved)
    return Spending(used=used, reserved=held, budget=Budget(tokens=1000, steps=100), **window)


@pytest.mark.parametrize(
    ("tenant", "level", "title"),
    [
        (spending(930), Level.WARNING, "93 % of the tenant's budget of tokens is used"),
        (spending(999), Level.WARNING, "99 % of the tenant's budget of tokens is used"),
        (spending(1000), Level.CRITICAL, "The tenant's budget of tokens is exhausted"),
        (spending(100, 900), Level.WARNING, "The rest of the tenant's budget of tokens is reserved"),
    ],
)
def test_a_tenants_budget_that_comes_to_its_end(tenant: Spending, level: Level, title: str) -> None:
    (found,) = findings(situation(tenant=tenant))
    assert (found.level, found.title) == (level, title)
    assert "it resets in 15 h" in found.detail


def test_room_for_no_other_call_is_as_bad_as_none() -> None:
    ended = [run(1, StopReason.BUDGET_TENANT), run(2, StopReason.BUDGET_TENANT, NOW - timedelta(hours=2))]
    (found,) = findings(situation(tenant=spending(930), runs=ended))
    assert found.level is Level.CRITICAL
    assert found.detail.startswith("1 of the latest runs ended for lack of budget. 70 left")


@pytest.mark.parametrize("tenant", [spending(799), Spending(used=Amounts(tokens=10**9, cost=1e6))])
def test_a_budget_with_room_and_none_at_all_are_fine(tenant: Spending) -> None:
    assert findings(situation(tenant=tenant, runs=[run(1, StopReason.BUDGET_TENANT)])) == []


def test_the_worst_comes_first() -> None:
    found = findings(situation({"flightloop_model_kv_used_ratio": 0.97}, interrupts=[stopped("all")]))
    assert [finding.level for finding in found] == [Level.CRITICAL, Level.WARNING]
