"""Verdicts: what the guardrails said of one step."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from flightloop.content import Wire


class Stage(StrEnum):
    INPUT = "input"  # what the user sent
    PLAN = "plan"  # what the model means to do
    TOOL_CALL = "tool_call"  # a call, before its intent is journaled
    TOOL_RESULT = "tool_result"  # what a tool returned, before the model sees it
    STREAM = "stream"  # text and tool arguments while they are decoded
    FINAL = "final"  # the answer, before the user gets it


class Action(StrEnum):
    """Ordered by severity: a chain of rails ends with its severest action."""

    ALLOW = "allow"
    REDACT = "redact"  # go on with the replacement
    ASK = "ask"  # a person decides
    BLOCK = "block"

    @property
    def severity(self) -> int:
        return list(Action).index(self)


class Span(Wire):
    """Characters [start, end) of the checked text, and what was found there."""

    start: int
    end: int
    label: str


class Verdict(Wire):
    """One rail's decision about one subject.

    ``scores`` are in 0..1 (1: certainly bad) by category; ``milliseconds`` is the rail's wall time.
    """

    action: Action
    rail: str
    stage: Stage
    reason: str = ""
    spans: list[Span] = Field(default_factory=list)
    scores: dict[str, float] = Field(default_factory=dict)
    labels: list[str] = Field(default_factory=list)
    policy_sha256: str = ""
    milliseconds: float = 0.0


class AuditRecord(Wire):
    """One entry of the append-only audit log; ``sha256`` covers the record and ``previous_sha256``.

    What was judged together has one entry: ``verdict`` is the severest one, ``others`` are the rest of those that
    changed something, in full, and for each rail and stage one verdict that says how often it allowed.
    """

    seq: int
    at: datetime
    tenant_id: str
    run_id: str | None
    step: int | None
    call_id: str | None = None
    verdict: Verdict
    others: list[Verdict] = Field(default_factory=list)
    previous_sha256: str
    sha256: str
