"""Asks the user to agree to calls that strangers may have suggested, and makes them after a yes.

The run that decided the calls ends with the question. If the user's next message in the session is nothing but a yes,
its run begins with the same calls. Otherwise a person decides about them if the model wants them again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import regex

from agent.project.agent_spec import AgentSpec
from agent.run.history import CallState, History
from agent.run.journal import Journal, all_events
from flightloop.chat import FunctionCall, ToolCall
from flightloop.content import is_plain, text_of
from flightloop.events import ToolResult
from flightloop.runs import Run, StopReason
from guardrails.evidence.agreed import says_yes
from guardrails.evidence.confirmed import left_to_user, shown
from guardrails.types import CheckedCall, Ruling

WAITS = "not done yet, because the user has to agree to it first"
LATER = 20
"""Maximum number of later messages that are read."""
_CHINESE = regex.compile(r"\p{Han}")


@dataclass(frozen=True)
class Proposal:
    """Calls that the session's last run asked the user to agree to.

    Attributes:
        calls: as the model wrote them.
        shown: as the user read them.
        agreed: whether the user's next message is nothing but a yes.
        asks: whether the user may be asked; otherwise a person is.
    """

    calls: tuple[FunctionCall, ...] = ()
    shown: frozenset[str] = frozenset()
    agreed: bool = False
    asks: bool = True

    @property
    def confirmed(self) -> frozenset[str]:
        return self.shown if self.agreed else frozenset()

    def again(self, step: int) -> list[ToolCall]:
        """The calls, with ids of a run's step."""
        return [ToolCall(id=f"call_{step}_{index}", function=call) for index, call in enumerate(self.calls)]


NOTHING = Proposal()
UNKNOWN = Proposal(asks=False)
"""Of a session that is not read from its beginning: what the user has read last is not known."""


async def proposal_of(journal: Journal, before: Sequence[Run], run: Run) -> Proposal:
    """What ``run``, a message of the user, was asked to agree to.

    Args:
        before: the session's earlier runs, oldest first.
    """
    last = before[-1] if before else None
    if last is None or last.stop_reason is not StopReason.CONFIRMATION or last.ended_at is None:
        return NOTHING
    if last.ended_at > run.created_at or last.erased_at is not None or run.origin is not None:
        return NOTHING
    if any(one.ended_at is None or one.ended_at > last.ended_at for one in before):
        return NOTHING  # an answer of another run may be what the user has read last
    waiting = waiting_in(History(last.id, await all_events(journal, run.tenant_id, last.id)))
    calls = tuple(one.call.function for one in waiting)
    return Proposal(calls, frozenset(map(_shown, waiting)), await _agrees(journal, run))


async def _agrees(journal: Journal, run: Run) -> bool:
    """Whether the user says yes, and nothing else since, as when the run is resumed. A second yes, of a double click,
    takes none back."""
    found = (await journal.runs(run.tenant_id, session_id=run.session_id, roots=True, limit=LATER)).data
    later = list(takewhile(lambda one: one.id != run.id, found))
    return len(later) < len(found) and all(map(_says_yes, (run, *later)))


def _says_yes(run: Run) -> bool:
    return len(run.input) == 1 and is_plain(run.input) and says_yes(text_of(run.input))


def waiting_result(
    agent: AgentSpec, run: Run, ruling: Ruling, call: CheckedCall, proposal: Proposal
) -> ToolResult | None:
    """The failed result of a call that waits for the user's yes; None if a person is to be asked: a sub-agent and a
    procedure talk to no user, no user is asked twice in a row, nor in a session that is not read from its beginning."""
    talks = run.parent is None and agent.procedure is None
    if not talks or not proposal.asks or not left_to_user(ruling) or shown(call) in proposal.shown:
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
    return "\n".join([asked, *dict.fromkeys(map(_told, waiting))])


def _told(state: CallState) -> str:
    """A call as the user is asked about it, and what its tool's dry run tells."""
    preview = state.result.note if state.result is not None else None
    return f"- {_shown(state)}" + (f"\n  ({preview})" if preview else "")


def _shown(state: CallState) -> str:
    assert state.result is not None
    assert state.result.to_confirm is not None
    return state.result.to_confirm
