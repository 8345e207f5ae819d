"""Approvals: calls that wait for one or more persons, and what these have decided."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from flightloop.acts import Actor
from flightloop.content import Body, Wire
from flightloop.provenance import Source
from flightloop.subject import Subject

DECISION_REASON_CHARS = 2000


def why_asked(reason: str, asked: Sequence[str]) -> str:
    """A reason to ask a person, without the rails' names. ``asked``: the reasons that it consists of, with them."""
    for one in asked:
        reason = reason.replace(one, one.partition(": ")[2] or one)
    return reason


class PersonDecision(Wire):
    """What one person decided about a call."""

    decision: Literal["approve", "deny"]
    by: str
    """Name of the key or person."""
    key_id: str = ""
    """Id of the key or person; ``own`` for a key configured at the deployment's start."""
    at: datetime
    reason: str | None = None
    note: str = ""
    """Why the decision counts although a rule of the policy speaks against it; empty: none does."""


class DryRun(Wire):
    """What a call would change, as computed by a pure tool of the project. Untrusted text."""

    tool: str
    """Name of the pure tool."""
    ok: bool
    """Whether it could be computed."""
    text: str
    """The tool's result, or why there is none."""
    refused: bool = False
    """Whether there is none because the tool refuses, as it would refuse the call."""

    @property
    def told(self) -> str:
        """The result, or that there is none and why."""
        if self.ok:
            return self.text
        return f"it would be refused: {self.text}" if self.refused else f"could not be computed: {self.text}"


class Approval(Wire):
    """Approval of a call, bound to its arguments and policy."""

    id: str
    run_id: str
    agent: str
    call_id: str
    tool: str
    arguments: dict[str, Any]
    reason: str
    asked: list[str] = Field(default_factory=list)
    """The reasons to ask, each with the rail whose rule fired; empty for approvals of older versions."""
    subject: Subject | None = None
    """The end user on whose behalf the run acts; None: nobody in particular, or not recorded by an older version."""
    words: str = ""
    """The user's latest message, perhaps shortened."""
    dry_run: DryRun | None = None
    """What the call would change; None if its tool offers no dry run."""
    args_sha256: str
    policy_sha256: str
    sources: list[Source] = Field(default_factory=list)
    """Where the values of the arguments come from; empty for approvals of older versions."""
    figures: list[str] = Field(default_factory=list)
    """What was used of limits over time that the call exceeds. For the person who decides, not for end users."""
    needed: int = 1
    """Number of different persons who must approve. One who denies is enough to deny."""
    not_starter: bool = False
    """Whether the person who started the run can't approve."""
    started_by: Actor | None = None
    """Who started the run, or its root run; None: it is not recorded."""
    decisions: list[PersonDecision] = Field(default_factory=list)
    """What persons have decided so far, oldest first; empty for decisions of older versions."""
    status: Literal["pending", "approved", "denied", "expired"] = "pending"
    decided_by: str | None = None
    decision_reason: str | None = None
    created_at: datetime
    expires_at: datetime
    decided_at: datetime | None = None

    @property
    def given(self) -> int:
        """Number of persons who have approved."""
        return sum(one.decision == "approve" for one in self.decisions)

    @property
    def progress(self) -> str:
        """Who must decide and who has approved, in words; empty if any one person decides and nobody has."""
        wanted = f"{self.needed} persons must approve" if self.needed > 1 else ""
        if self.not_starter:
            whose = f" ({self.started_by.name})" if self.started_by else ""
            wanted = f"{wanted or 'a person must approve'} who did not start the run{whose}"
        names = ", ".join(one.by for one in self.decisions if one.decision == "approve")
        told = f"{self.given} of {self.needed} have: {names}" if names and self.status == "pending" else ""
        return "; ".join(filter(None, (wanted, told)))


class ApprovalDecision(Body):
    """Body of ``POST /v1/approvals/{id}``."""

    decision: Literal["approve", "deny"]
    reason: str | None = Field(default=None, max_length=DECISION_REASON_CHARS)
