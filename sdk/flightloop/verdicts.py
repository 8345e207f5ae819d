"""Verdicts of guardrails."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from flightloop.acts import Act, Actor
from flightloop.content import Wire


class Stage(StrEnum):
    INPUT = "input"  # what the user sent
    PLAN = "plan"  # what the model intends to do
    TOOL_CALL = "tool_call"  # a call, before its intent is journaled
    TOOL_RESULT = "tool_result"  # what a tool returned, before the model sees it
    STREAM = "stream"  # text and tool arguments while they are decoded
    FINAL = "final"  # the answer, before the user gets it


class Action(StrEnum):
    """Actions in order of severity; the severest action of a chain of rails wins."""

    ALLOW = "allow"
    REDACT = "redact"  # continue with the replacement
    ASK = "ask"  # a person decides
    BLOCK = "block"

    @property
    def severity(self) -> int:
        return _SEVERITY[self]


_SEVERITY = {action: place for place, action in enumerate(Action)}


class Span(Wire):
    """Characters [start, end) of the checked text, and what was found there."""

    start: int
    end: int
    label: str


class Verdict(Wire):
    """One rail's decision about one text or call."""

    action: Action
    rail: str
    stage: Stage
    reason: str = ""
    spans: list[Span] = Field(default_factory=list)
    scores: dict[str, float] = Field(default_factory=dict)
    """By category, 0..1; 1 is certainly bad."""
    labels: list[str] = Field(default_factory=list)
    policy_sha256: str = ""
    milliseconds: float = 0.0
    """Wall time of the rail."""

    @property
    def plain(self) -> bool:
        """Whether the verdict allows, without any remark."""
        return self.action is Action.ALLOW and not (self.reason or self.spans or self.labels)


class Passed(Wire):
    """Plain verdicts of one policy in compact form.

    Attributes:
        milliseconds: times of all checks, by ``stage/rail``.
        scores: scores of all checks that have them, by ``stage/rail/category``.
    """

    policy_sha256: str = ""
    milliseconds: dict[str, list[float]]
    scores: dict[str, list[float]] = Field(default_factory=dict)

    @property
    def count(self) -> int:
        return sum(map(len, self.milliseconds.values()))

    @property
    def verdicts(self) -> list[Verdict]:
        """One verdict per check, in order. The assignment of scores to checks of the same rail is lost."""
        found = []
        for name, times in self.milliseconds.items():
            stage, _, rail = name.partition("/")
            scores = {key.rpartition("/")[2]: each for key, each in self.scores.items() if key.startswith(f"{name}/")}
            for index, spent in enumerate(times):
                own = {category: each[index] for category, each in scores.items() if index < len(each)}
                found.append(
                    Verdict(
                        action=Action.ALLOW,
                        rail=rail,
                        stage=Stage(stage),
                        scores=own,
                        policy_sha256=self.policy_sha256,
                        milliseconds=spent,
                    )
                )
        return found


def passed(verdicts: Iterable[Verdict]) -> list[Passed]:
    """Compact form of plain verdicts, one per policy."""
    found: dict[str, Passed] = {}
    for verdict in verdicts:
        short = found.setdefault(verdict.policy_sha256, Passed(policy_sha256=verdict.policy_sha256, milliseconds={}))
        name = f"{verdict.stage.value}/{verdict.rail}"
        short.milliseconds.setdefault(name, []).append(verdict.milliseconds)
        for category, score in verdict.scores.items():
            short.scores.setdefault(f"{name}/{category}", []).append(round(score, 4))
    return list(found.values())


class AuditRecord(Wire):
    """One entry of the append-only audit log; ``sha256`` covers the record and ``previous_sha256``.

    Verdicts given together share one entry: ``verdict`` is the severest, ``others`` are further ones with remarks, and
    ``passed`` has the plain ones. If all are plain, ``verdict`` is the first of them.
    """

    seq: int
    at: datetime
    tenant_id: str
    run_id: str | None = None
    step: int | None = None
    call_id: str | None = None
    verdict: Verdict | None = None
    """None for all acts except verdicts."""
    others: list[Verdict] = Field(default_factory=list)
    passed: Passed | None = None
    previous_sha256: str
    sha256: str
    act: Act = Act.VERDICT
    actor: Actor | None = None
    """None in records of versions without actors."""
    object: str | None = None
    """Id or name of what the act was performed on, such as an approval, a stop, a key or a policy's hash."""
    details: dict[str, Any] = Field(default_factory=dict)
    key_id: str | None = None
    """Id of the key that sealed the record; None in records of versions without keys."""
    mac: str | None = None
    """HMAC-SHA256 of ``sha256`` with that key, in hex. The key is not in the database."""
    erased: bool = False
    """Whether texts were erased. Then ``sha256`` is not that of what is left; ``erased_mac`` covers both."""
    erased_key_id: str | None = None
    """Id of the key that sealed what is left."""
    erased_mac: str | None = None
    """HMAC-SHA256 with that key, in hex (``guardrails.audit_erasure``)."""
