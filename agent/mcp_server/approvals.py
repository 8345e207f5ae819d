"""Approvals as elicitations: the user of an MCP client decides about a pending call.

An elicitation goes to the client's user, not to its model, and no tool can decide. The API records the decision under
the request's key, for the approval whose arguments were shown.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from mcp.server.elicitation import AcceptedElicitation, DeclinedElicitation, ElicitationResult
from mcp.server.mcpserver import Context, Elicit
from pydantic import BaseModel, Field

from agent.mcp_server.access import api
from flightloop.approvals import Approval, why_asked
from flightloop.events import ApprovalRequested
from flightloop.keys import Right
from flightloop.shown import shown
from flightloop.subject import shown_subject

MOST_CHARACTERS = 4000
"""Maximum characters of a question: some clients truncate longer ones, and the user must see all arguments."""
MOST_EVIDENCE = 300
"""Characters of the user's words and of a dry run in a question."""
HOW = "a person must decide, in the console or with `flightloop approve {0}` or `flightloop deny {0}`; then call again"


class Decision(BaseModel):
    """The user's decision about a call."""

    # Required and without a default, so that an unchanged form decides nothing.
    decision: Literal["approve", "deny"] = Field(description="approve: the call is made as shown; deny: it is not.")
    reason: str | None = Field(default=None, max_length=2000, description="Recorded with the decision.")


class PendingApproval(BaseModel):
    """A call that waits for a person."""

    approval_id: str
    run_id: str
    tool: str
    expires_at: datetime
    how: str
    needed: int = 1
    """Number of persons who must approve."""
    approved_by: list[str] = Field(default_factory=list)
    """Who has approved so far."""


def described(approval: ApprovalRequested, approvers: Sequence[str] = ()) -> PendingApproval:
    return PendingApproval(
        approval_id=approval.approval_id,
        run_id=approval.run_id,
        tool=shown(approval.tool),
        expires_at=approval.expires_at,
        how=HOW.format(approval.approval_id),
        needed=approval.needed,
        approved_by=list(map(shown, approvers)),
    )


async def question(context: Context[Any, Any], approval: ApprovalRequested) -> Elicit[Decision] | None:
    """Question for the client's user; None if it is too long, the client can't ask it, the key may not decide, or its
    holder has already approved or started a run that the policy lets others decide about."""
    if not _can_ask(context):
        return None
    caller = await api().whoami()
    # Whoever holds a bound key is the end user, who must not approve their own call.
    if not caller.role.may(Right.DECIDE) or caller.subject is not None:
        return None
    current = await api().approvals.get(approval.approval_id)
    if any(one.key_id == caller.key_id for one in current.decisions):
        return None
    if current.not_starter and current.started_by is not None and current.started_by.id == caller.key_id:
        return None
    text = written(current)
    return Elicit(text, Decision) if len(text) <= MOST_CHARACTERS else None


async def decide(approval: ApprovalRequested, answer: ElicitationResult[Decision]) -> bool:
    """Sends the user's decision to the API. Returns False if the form was closed without a decision.

    Raises:
        FlightloopError: the approval is decided or expired, or the key may no longer decide.
    """
    match answer:
        case AcceptedElicitation(data=Decision() as given):
            decision, reason = given.decision, given.reason
        case DeclinedElicitation():
            decision, reason = "deny", None
        case _:
            return False
    await api().approvals.decide(approval.approval_id, decision=decision, reason=reason)
    return True


def written(approval: Approval) -> str:
    """The question as text.

    All untrusted text is in a code block, so that a client that renders Markdown shows it unchanged. No line can end
    the block, because each begins with a fixed name, a brace, or blanks.
    """
    arguments = shown(json.dumps(approval.arguments, ensure_ascii=False, indent=2))
    lines = {
        "tool": approval.tool,
        "why a person is asked": why_asked(approval.reason, approval.asked),
        "run": approval.run_id,
        "approval": approval.id,
        "expires": approval.expires_at.isoformat(timespec="seconds"),
    }
    if approval.progress:
        lines["who decides"] = approval.progress
    if approval.subject is not None:
        lines["on behalf of"] = shown_subject(approval.subject)
    if approval.words:
        lines["the user wrote"] = _cut(approval.words)
    if approval.dry_run is not None:
        lines[f"what would change, says {approval.dry_run.tool}"] = _cut(approval.dry_run.told)
    said = "\n".join(f"{shown(name)}: {shown(' '.join(value.split()))}" for name, value in lines.items())
    return f"Shall this call be made, with these arguments?\n\n```\n{said}\narguments: {arguments}\n```"


def _cut(text: str) -> str:
    """The text, or its beginning: the arguments need the room."""
    return text if len(text) <= MOST_EVIDENCE else f"{text[:MOST_EVIDENCE]} …"


def _can_ask(context: Context[Any, Any]) -> bool:
    """Whether the client supports form elicitation. Older clients support it without naming a mode."""
    capabilities = context.client_capabilities
    elicitation = capabilities.elicitation if capabilities is not None else None
    return elicitation is not None and (elicitation.form is not None or elicitation.url is None)
