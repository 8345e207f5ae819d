"""What comes before a call is made or put to a person: the model is told of it once, or the user is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agent.loop.confirmation import waiting_result
from agent.loop.gate import Gate
from agent.loop.leased_run import LeasedRun
from agent.loop.misread import LISTS, misread, names_other_row, taken_twice
from agent.loop.overview import overview
from agent.loop.preview import previewed
from agent.loop.refusal import writes
from agent.loop.run_dependencies import RunDependencies
from agent.loop.tool_results import DONE_ALREADY, told_of_guess, told_of_misreading
from agent.run.history import CallState
from flightloop.events import ToolResult
from flightloop.verdicts import Action, Stage, Verdict
from guardrails.evidence.confirmed import BY_USER, left_to_user, shown
from guardrails.rails.repeats import REPEATED
from guardrails.types import CheckedCall, Ruling, asked_about

OTHER_ROW = "the user's words name another one of the list"
ASKED_BEFORE = "since the session was asked if a call is right, each one that changes something needs a yes"


async def doubted(deps: RunDependencies, gate: Gate, leased: LeasedRun, call: CheckedCall, ruling: Ruling) -> Ruling:
    """The ruling on a call, which needs the user's own yes if his words name another row of a trusted list better.

    Once somebody was asked so, each write of the session needs it: an answer such as "stop, the puzzle stays!" names
    the row of the call as well, and must not vouch for it. A person whom another rule asks is told of the doubt, too.
    """
    if ruling.action.severity > Action.ASK.severity or not _may_be_doubted(deps, gate, call):
        return ruling
    before = await leased.doubted()
    if not before and not names_other_row(call.arguments, gate.messages, gate.lists):
        return ruling
    why = ASKED_BEFORE if before else OTHER_ROW
    doubt = Verdict(
        action=Action.ASK, rail=LISTS, stage=Stage.TOOL_CALL, reason=f"{call.spec.name}: {why}", labels=[BY_USER]
    )
    reasons = [*([ruling.reason] if ruling.action is Action.ASK else []), asked_about(doubt)]
    return replace(ruling, action=Action.ASK, verdicts=(*ruling.verdicts, doubt), reason="; ".join(reasons))


async def held_back(
    deps: RunDependencies, gate: Gate, leased: LeasedRun, before: Sequence[CallState], call: CheckedCall, ruling: Ruling
) -> ToolResult | None:
    """The failed result of a call that waits for the user's yes, that the run has made already, or that has a value
    that the model has made up or misread: it can ask the user, or look the value up. None: the call is made, or a
    person is asked.

    Args:
        before: the calls of the same decision before this one, and this one.
    """
    results, toolbox = leased.history.results, deps.hosts.registry
    held = _held(deps, gate, call, ruling, results)
    if held is not None and not any(one.error == held.error for one in results):
        return held
    if ruling.action is not Action.ASK or ruling.guessed or not left_to_user(ruling):
        return None
    place = sum(writes(one.call.function.name, toolbox) for one in before[:-1])
    waits = waiting_result(deps.agent, leased.run, call, gate.proposal, place)
    return await previewed(waits, toolbox, gate, before[-1], call, ruling)


def _held(
    deps: RunDependencies, gate: Gate, call: CheckedCall, ruling: Ruling, results: Sequence[ToolResult]
) -> ToolResult | None:
    """The result of a call that the model is told of: once, since the second result would be the same."""
    made = ToolResult(call_id=call.call_id, tool=call.spec.name, ok=False)
    checked = _is_checked(deps, gate, call)
    if meant := misread(call.arguments, gate.words) if checked else None:
        return made.model_copy(update={"error": told_of_misreading(meant), "then": call.spec.name})
    twice = taken_twice(call.arguments, gate.messages) if checked else []
    if guessed := ruling.guessed or twice:
        # Without the values, which a later call could otherwise take from this result.
        shows = overview(deps.hosts.registry, deps.tools, guessed)
        shows = None if any(one.tool == shows for one in results) else shows
        if ruling.guessed or shows:
            return made.model_copy(update={"error": told_of_guess(guessed, shows), "then": shows})
    return made.model_copy(update={"error": DONE_ALREADY}) if _is_done(ruling, call, results) else None


def _is_checked(deps: RunDependencies, gate: Gate, call: CheckedCall) -> bool:
    """Whether a call's values are compared with the user's words: it is a model's write, to which he has not agreed."""
    return call.spec.writes and deps.agent.procedure is None and shown(call) not in gate.proposal.confirmed


def _may_be_doubted(deps: RunDependencies, gate: Gate, call: CheckedCall) -> bool:
    protected = call.spec.name not in gate.harmless and call.spec.agent is None
    return protected and _is_checked(deps, gate, call)


def _is_done(ruling: Ruling, call: CheckedCall, results: Sequence[ToolResult]) -> bool:
    """Whether a call is asked about because this run has made it already."""
    repeats = any(one.action is Action.ASK and one.reason == REPEATED for one in ruling.verdicts)
    return repeats and any(one.ok and one.tool == call.spec.name for one in results)
