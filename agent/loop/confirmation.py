"""Asks the user to agree to calls that strangers may have suggested, and makes them after a yes.

The run that decided the calls ends with the question. If the user's next message in the session is nothing but a yes,
its run begins with the same calls. Otherwise a person decides about them if the model wants them again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile

from agent.project.agent_spec import AgentSpec
from agent.run.history import CallState, History
from agent.run.journal import Journal, all_events
from flightloop.chat import FunctionCall, ToolCall
from flightloop.content import is_plain, text_of
from flightloop.events import ToolResult
from flightloop.runs import MODEL, WRITTEN_BY, Run, StopReason
from guardrails.evidence.agreed import says_yes
from guardrails.evidence.confirmed import shown
from guardrails.text.languages import in_language_of
from guardrails.types import CheckedCall

WAITS = "not done yet, because the user has to agree to it first"
TOGETHER = "not done yet: too many calls to ask the user about at once. Make this one after the others"
MOST_ASKED = 3
"""Maximum number of calls of a decision that the user is asked about. A question tells what each would change, which an
anonymous user could find out of many others' orders otherwise."""
LATER = 20
"""Maximum number of later messages that are read."""


@dataclass(frozen=True)
class Proposal:
    """Calls that the session's last run asked the user to agree to.

    Attributes:
        calls: as the model wrote them.
        told: the calls as the user read them, and what the user was told that each would change, if anything.
        agreed: whether the user's next message is nothing but a yes.
        asks: whether the user may be asked; otherwise a person is.
    """

    calls: tuple[FunctionCall, ...] = ()
    told: Mapping[str, str | None] = field(default_factory=dict)
    agreed: bool = False
    asks: bool = True

    @property
    def confirmed(self) -> frozenset[str]:
        return frozenset(self.told) if self.agreed else frozenset()

    def again(self, step: int) -> list[ToolCall]:
        """The calls, with ids of a run's step."""
        return [ToolCall(id=f"call_{step}_{index}", function=call) for index, call in enumerate(self.calls)]


NOTHING = Proposal()


async def proposal_of(journal: Journal, before: Sequence[Run], run: Run, most: int) -> Proposal:
    """What ``run``, a message of the user, was asked to agree to, and whether its user may be asked.

    Nobody is asked where the next message could be no yes: a model may write the messages, behind ``most`` runs a
    session is not read from its beginning, and beside another run that works or waits, what the user will have read
    last is not known.

    Args:
        before: the session's earlier runs, oldest first, at most ``most``.
    """
    asks = not _by_model(run) and len(before) + 1 < most and all(one.ended_at is not None for one in before)
    found = await _asked(journal, before, run) if len(before) < most else NOTHING
    return replace(found, asks=asks)


async def _asked(journal: Journal, before: Sequence[Run], run: Run) -> Proposal:
    last = before[-1] if before else None
    if last is None or last.stop_reason is not StopReason.CONFIRMATION or last.ended_at is None:
        return NOTHING
    if last.ended_at >= run.created_at or last.erased_at is not None or run.origin is not None:
        return NOTHING
    if any(one.ended_at is None or one.ended_at >= last.ended_at for one in before[:-1]):
        return NOTHING  # an answer of another run may be what the user has read last
    waiting = waiting_in(History(last.id, await all_events(journal, run.tenant_id, last.id)))
    # The same call twice is one line of the question, to which the user agrees once.
    calls = tuple({_shown(one): one.call.function for one in waiting}.values())
    told = {_shown(one): one.result.note for one in waiting if one.result is not None}
    return Proposal(calls, told, await _agrees(journal, run))


async def _agrees(journal: Journal, run: Run) -> bool:
    """Whether the user says yes, and nothing else since, as when the run is resumed. A second yes, of a double click,
    takes none back, as long as no answer came of it: that may have asked something else."""
    found = (await journal.runs(run.tenant_id, session_id=run.session_id, roots=True, limit=LATER)).data
    later = list(takewhile(lambda one: one.id != run.id, found))
    if len(later) == len(found) or any(one.ended_at is not None for one in later):
        return False
    return all(map(_says_yes, (run, *later)))


def _by_model(run: Run) -> bool:
    return run.metadata.get(WRITTEN_BY) == MODEL


def _says_yes(run: Run) -> bool:
    return not _by_model(run) and len(run.input) == 1 and is_plain(run.input) and says_yes(text_of(run.input))


def waiting_result(agent: AgentSpec, run: Run, call: CheckedCall, proposal: Proposal, place: int) -> ToolResult | None:
    """The failed result of a call that waits for the user's yes; None if the user can't be asked: a sub-agent and a
    procedure talk to no user, no user is asked twice in a row, nor where the next message could be no yes.

    Args:
        place: number of the decision's calls before it that change something.
    """
    talks = run.parent is None and agent.procedure is None
    if not talks or not proposal.asks or shown(call) in proposal.told:
        return None
    if place >= MOST_ASKED:
        return ToolResult(call_id=call.call_id, tool=call.spec.name, ok=False, error=TOGETHER)
    return asking(call)


def asking(call: CheckedCall) -> ToolResult:
    """The result of a call about which the user is asked."""
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
    return "\n".join([in_language_of(words, agent.confirmation), *dict.fromkeys(map(_told, waiting))])


def _told(state: CallState) -> str:
    """A call as the user is asked about it, and what its tool's dry run tells."""
    preview = state.result.note if state.result is not None else None
    return f"- {_shown(state)}" + (f"\n  ({preview})" if preview else "")


def _shown(state: CallState) -> str:
    assert state.result is not None
    assert state.result.to_confirm is not None
    return state.result.to_confirm
