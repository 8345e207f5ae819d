"""Asks the user to agree to calls that strangers may have suggested, and makes them after a yes.

The run that decided the calls ends with the question. If the user's next message in the session is nothing but a yes,
its run begins with the same calls. Otherwise a person decides about them if the model wants them again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import regex

from agent.project.agent_spec import AgentSpec
from agent.run.history import CallState, History
from agent.run.journal import Journal, all_events
from flightloop.chat import FunctionCall, ToolCall
from flightloop.content import is_plain, text_of
from flightloop.events import ToolResult
from flightloop.runs import Run, StopReason
from guardrails.evidence.agreed import agrees
from guardrails.evidence.confirmed import left_to_user, shown
from guardrails.types import CheckedCall, Ruling

WAITS = "not done yet, because the user has to agree to it first"
_CHINESE = regex.compile(r"\p{Han}")


@dataclass(frozen=True)
class Proposal:
    """Calls that the session's last run asked the user to agree to.

    Attributes:
        calls: as the model wrote them.
        shown: as the user read them.
        agreed: whether the user's next message is nothing but a yes.
    """

    calls: tuple[FunctionCall, ...] = ()
    shown: frozenset[str] = frozenset()
    agreed: bool = False

    @property
    def confirmed(self) -> frozenset[str]:
        return self.shown if self.agreed else frozenset()

    def again(self, step: int) -> list[ToolCall]:
        """The calls, with ids of a run's step."""
        return [ToolCall(id=f"call_{step}_{index}", function=call) for index, call in enumerate(self.calls)]


NOTHING = Proposal()


async def proposal_of(journal: Journal, last: Run | None, run: Run) -> Proposal:
    """What ``run``, a message of the user, was asked to agree to by the run before it in the session."""
    if last is None or last.stop_reason is not StopReason.CONFIRMATION or run.origin is not None:
        return NOTHING
    if last.ended_at is None or last.ended_at > run.created_at:
        return NOTHING  # the message was written before the question
    (latest,) = (await journal.runs(run.tenant_id, session_id=run.session_id, roots=True, limit=1)).data
    waiting = waiting_in(History(last.id, await all_events(journal, run.tenant_id, last.id)))
    calls = tuple(one.call.function for one in waiting)
    # A run that is resumed after the user has written again is no answer any more.
    agreed = latest.id == run.id and len(run.input) == 1 and is_plain(run.input) and agrees(text_of(run.input))
    return Proposal(calls, frozenset(map(_shown, waiting)), agreed)


def waiting(agent: AgentSpec, run: Run, ruling: Ruling, call: CheckedCall, proposal: Proposal) -> ToolResult | None:
    """The failed result of a call that waits for the user's yes; None if a person is to be asked: a sub-agent and a
    procedure talk to no user, and no user is asked twice in a row."""
    talks = run.parent is None and agent.procedure is None
    if not talks or not left_to_user(ruling) or shown(call) in proposal.shown:
        return None
    return ToolResult(call_id=call.call_id, tool=call.spec.name, ok=False, error=WAITS, to_confirm=shown(call))


def waiting_in(history: History) -> list[CallState]:
    """Calls of the latest decision with calls that wait for the user's yes."""
    latest = next((turn.calls for turn in reversed(history.turns) if turn.calls), [])
    return [one for one in latest if one.result is not None and one.result.to_confirm is not None]


def question(agent: AgentSpec, waiting: Sequence[CallState], words: str) -> str:
    """The question to the user, in the language of the latest message.

    Args:
        words: the user's latest message.
    """
    asked = agent.confirmation.get("zh" if _CHINESE.search(words) else "en", next(iter(agent.confirmation.values())))
    return "\n".join([asked, *dict.fromkeys(f"- {_shown(one)}" for one in waiting)])


def _shown(state: CallState) -> str:
    assert state.result is not None
    assert state.result.to_confirm is not None
    return state.result.to_confirm
