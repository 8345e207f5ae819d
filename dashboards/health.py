"""Health rules: findings about the API's answers, each with the page on which to act."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import IntEnum

from dashboards import figures, spending
from dashboards.spending import Bound
from flightloop.overview import Overview
from flightloop.runs import Approval, Interrupt, ProjectInfo, Run, RunStatus, StopReason
from flightloop.usage import Spending

RECENT = timedelta(hours=1)
LEAST_RUNS = 5
"""With fewer ended runs, shares are not meaningful."""


class Level(IntEnum):
    OK = 0
    WARNING = 1
    CRITICAL = 2


@dataclass(frozen=True)
class Finding:
    level: Level
    title: str
    detail: str
    page: str | None = None
    """File of the page on which to act, below ``dashboards/``."""


@dataclass(frozen=True)
class Situation:
    """Input of the rules."""

    overview: Overview
    interrupts: Sequence[Interrupt]
    approvals: Sequence[Approval]
    runs: Sequence[Run]
    """The latest runs, newest first."""
    now: datetime
    tenant: Spending = field(default_factory=Spending)
    project: ProjectInfo | None = None


Rule = Callable[[Situation], Iterator[Finding]]


def findings(situation: Situation) -> list[Finding]:
    """Everything that needs attention, worst first; empty if all is well."""
    found = [finding for rule in RULES for finding in rule(situation)]
    return sorted(found, key=lambda finding: -finding.level)


def worst(found: Sequence[Finding]) -> Level:
    return max((finding.level for finding in found), default=Level.OK)


def interrupts(situation: Situation) -> Iterator[Finding]:
    for item in situation.interrupts:
        since = f"since {item.created_at.astimezone():%H:%M}" + (f": {item.reason}" if item.reason else "")
        if item.scope == "all":
            title = "Everything is stopped"
            yield Finding(Level.CRITICAL, title, f"New runs are refused {since}", "views/stop.py")
        elif item.scope != "run":
            title = f"The {item.scope} {item.target} is stopped"
            yield Finding(Level.WARNING, title, f"Its new runs are refused {since}", "views/stop.py")


def project(situation: Situation) -> Iterator[Finding]:
    if situation.project:
        yield from broken(situation.project)


def broken(found: ProjectInfo) -> Iterator[Finding]:
    """Reports project files that cannot be used; the platform keeps serving the last valid version."""
    if found.problem and found.broken_since:
        since, loaded = found.broken_since.astimezone(), found.loaded_at.astimezone()
        title = f"The project's files can't be used since {since:%H:%M}"
        yield Finding(Level.WARNING, title, f"The version of {loaded:%H:%M} stays in use. {found.problem}")


def approvals(situation: Situation) -> Iterator[Finding]:
    waiting = situation.approvals
    if waiting:
        calls = "1 call waits" if len(waiting) == 1 else f"{len(waiting)} calls wait"
        oldest = min(item.created_at for item in waiting)
        detail = f"The oldest was asked {figures.ago(oldest, situation.now)}"
        yield Finding(Level.WARNING, f"{calls} for a person", detail, "views/approvals.py")


def failures(situation: Situation) -> Iterator[Finding]:
    ended = [run for run in situation.runs if run.ended_at and situation.now - run.ended_at < RECENT]
    failed = [run for run in ended if run.status is RunStatus.FAILED and run.stop_reason is StopReason.ERROR]
    part = len(failed) / len(ended) if len(ended) >= LEAST_RUNS else 0.0
    if part > 0.05:
        level = Level.CRITICAL if part > 0.25 else Level.WARNING
        detail = f"{len(failed)} of the {len(ended)} runs that ended within the hour; the objective is 5 %"
        yield Finding(level, f"{part:.0%} of runs fail", detail, "views/runs.py")


def budget(situation: Situation) -> Iterator[Finding]:
    """Reports exhausted and nearly exhausted limits of the tenant's budget, which runs and completions share."""
    tenant, bounds = situation.tenant, spending.bounds(situation.tenant)
    raised = "raise it with FLIGHTLOOP_TENANT_BUDGET"
    anew = f"it resets {figures.ahead(tenant.until, situation.now)}, or {raised}" if tenant.until else raised
    if spent := [bound.label.lower() for bound in bounds if bound.exhausted]:
        title = f"The tenant's budget of {' and '.join(spent)} is exhausted"
        yield Finding(Level.CRITICAL, title, f"Model calls that need it are refused; {anew}")
        return
    for bound in bounds:
        if bound.nearly or bound.taken:
            yield _little_left(bound, situation, anew)


def _little_left(bound: Bound, situation: Situation, anew: str) -> Finding:
    """Reports a limit that is almost used up or fully reserved, so that the next call may be refused."""
    since = max(situation.now - RECENT, situation.tenant.since or situation.now - RECENT)
    ended = [run for run in situation.runs if run.stop_reason is StopReason.BUDGET_TENANT]
    refused = sum(run.ended_at is not None and run.ended_at >= since for run in ended)
    what = bound.label.lower()
    if bound.taken:
        title = f"The rest of the tenant's budget of {what} is reserved"
        detail = f"Runs that need more end until running calls have finished; {anew}"
    else:
        title = f"{int(100 * bound.share)} % of the tenant's budget of {what} is used"
        detail = f"{bound.text(bound.left or 0)} left; {anew}"
    if refused:
        return Finding(Level.CRITICAL, title, f"{refused} of the latest runs ended for lack of budget. {detail}")
    return Finding(Level.WARNING, title, detail)


def api_errors(situation: Situation) -> Iterator[Finding]:
    by_status = figures.by_label(situation.overview, "system_http_requests_total", "status")
    total = sum(by_status.values())
    failed = sum(number for status, number in by_status.items() if status.startswith("5"))
    if total >= 100 and failed / total > 0.005:
        detail = f"{failed:,.0f} of {total:,.0f} requests since the start; the objective is 0.5 %"
        yield Finding(Level.WARNING, f"The API fails {failed / total:.1%} of its requests", detail)


def first_token(situation: Situation) -> Iterator[Finding]:
    slow = figures.p95(situation.overview, "model_ttft_seconds")
    if slow is not None and slow > 2.5:
        detail = "95 % of the answers should begin within 2.5 s: add replicas or shorten prompts"
        yield Finding(Level.WARNING, f"The first token takes up to {slow:.1f} s", detail)


def kv_cache(situation: Situation) -> Iterator[Finding]:
    used = figures.value(situation.overview, "model_kv_used_ratio", max)
    if used is not None and used > 0.95:
        yield Finding(Level.WARNING, f"The KV cache is {used:.0%} full", "Requests wait for blocks: add replicas")


def stale(situation: Situation) -> Iterator[Finding]:
    age = figures.value(situation.overview, "system_metrics_age_seconds", max)
    if age is not None and age > 60:
        detail = "A process stopped reporting; the figures below may be outdated"
        yield Finding(Level.WARNING, f"No metrics for {age:.0f} s", detail)


RULES: tuple[Rule, ...] = (interrupts, project, approvals, budget, failures, api_errors, first_token, kv_cache, stale)


def now() -> datetime:
    return datetime.now(UTC)
