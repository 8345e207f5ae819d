"""Is all well? Rules over what the API tells, each with the place where one can act."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum

from dashboards import figures
from flightloop.overview import Overview
from flightloop.runs import Approval, Interrupt, Run, RunStatus, StopReason

RECENT = timedelta(hours=1)
LEAST_RUNS = 5
"""Fewer ended runs than these say nothing about a share."""


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
    """File of the page where one can act, below ``dashboards/``."""


@dataclass(frozen=True)
class Situation:
    """Everything that the rules look at."""

    overview: Overview
    interrupts: Sequence[Interrupt]
    approvals: Sequence[Approval]
    runs: Sequence[Run]
    """The latest, newest first."""
    now: datetime


Rule = Callable[[Situation], Iterator[Finding]]


def findings(situation: Situation) -> list[Finding]:
    """What is not as it should be, worst first; empty: all is well."""
    found = [finding for rule in RULES for finding in rule(situation)]
    return sorted(found, key=lambda finding: -finding.level)


def worst(found: Sequence[Finding]) -> Level:
    return max((finding.level for finding in found), default=Level.OK)


def interrupts(situation: Situation) -> Iterator[Finding]:
    for item in situation.interrupts:
        since = f"since {item.created_at.astimezone():%H:%M}" + (f": {item.reason}" if item.reason else "")
        if item.scope == "all":
            title = "Everything is stopped"
            yield Finding(Level.CRITICAL, title, f"New runs are refused {since}", "pages/stop.py")
        elif item.scope != "run":
            title = f"The {item.scope} {item.target} is stopped"
            yield Finding(Level.WARNING, title, f"Its new runs are refused {since}", "pages/stop.py")


def approvals(situation: Situation) -> Iterator[Finding]:
    waiting = situation.approvals
    if waiting:
        calls = "1 call waits" if len(waiting) == 1 else f"{len(waiting)} calls wait"
        oldest = min(item.created_at for item in waiting)
        detail = f"The oldest was asked {figures.ago(oldest, situation.now)}"
        yield Finding(Level.WARNING, f"{calls} for a person", detail, "pages/approvals.py")


def failures(situation: Situation) -> Iterator[Finding]:
    ended = [run for run in situation.runs if run.ended_at and situation.now - run.ended_at < RECENT]
    failed = [run for run in ended if run.status is RunStatus.FAILED and run.stop_reason is StopReason.ERROR]
    part = len(failed) / len(ended) if len(ended) >= LEAST_RUNS else 0.0
    if part > 0.05:
        level = Level.CRITICAL if part > 0.25 else Level.WARNING
        detail = f"{len(failed)} of the {len(ended)} runs that ended within the hour; the objective is 5 %"
        yield Finding(level, f"{part:.0%} of runs fail", detail, "pages/runs.py")


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
        detail = "A process stopped reporting: the figures below may be old"
        yield Finding(Level.WARNING, f"No metrics for {age:.0f} s", detail)


RULES: tuple[Rule, ...] = (interrupts, approvals, failures, api_errors, first_token, kv_cache, stale)


def now() -> datetime:
    return datetime.now(UTC)
