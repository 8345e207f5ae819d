"""Calls that wait: the model is told of them once, or the user is asked, before they are made or a person is asked."""

from __future__ import annotations

from collections.abc import Sequence

from agent.loop.confirmation import waiting_result
from agent.loop.gate import Gate
from agent.loop.leased_run import LeasedRun
from agent.loop.misread import misread, names_other_row
from agent.loop.named_rows import Row, rows_of
from agent.loop.overview import overview
from agent.loop.preview import previewed
from agent.loop.refusal import writes
from agent.loop.run_dependencies import RunDependencies
from agent.loop.tool_results import DONE_ALREADY, told_of_guess, told_of_misreading
from agent.run.history import CallState
from flightloop.events import ToolResult
from flightloop.tool import EVERY_FIELD
from flightloop.verdicts import Action
from guardrails.evidence.confirmed import left_to_user, shown
from guardrails.rails.repeats import REPEATED
from guardrails.types import CheckedCall, Ruling

NOT_AGREED = "not done: the user may mean another one, and has not said yes to this one; answer the user"


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
    person_is_asked = ruling.action is Action.ASK
    if person_is_asked:
        asks_user = not ruling.guessed and left_to_user(ruling)
    else:
        asks_user = _is_checked(deps, gate, call) and (
            call.spec.name in gate.proposal.declined
            or names_other_row(call.arguments, gate.words, _lists(results, deps))
        )
    if not asks_user:
        return None
    place = sum(writes(one.call.function.name, toolbox) for one in before[:-1])
    waits = waiting_result(deps.agent, leased.run, call, gate.proposal, place)
    told = await previewed(waits, toolbox, gate, before[-1], call, ruling)
    if told is None and not person_is_asked:
        return ToolResult(call_id=call.call_id, tool=call.spec.name, ok=False, error=NOT_AGREED)
    return told


def _held(
    deps: RunDependencies, gate: Gate, call: CheckedCall, ruling: Ruling, results: Sequence[ToolResult]
) -> ToolResult | None:
    """The result of a call that the model is told of: once, since the second result would be the same."""
    made = ToolResult(call_id=call.call_id, tool=call.spec.name, ok=False)
    if meant := misread(call.arguments, gate.words) if _is_checked(deps, gate, call) else None:
        return made.model_copy(update={"error": told_of_misreading(meant), "then": call.spec.name})
    if ruling.guessed:
        # Without the values, which a later call could otherwise take from this result.
        shows = overview(deps.hosts.registry, deps.tools, ruling.guessed)
        shows = None if any(one.tool == shows for one in results) else shows
        return made.model_copy(update={"error": told_of_guess(ruling.guessed, shows), "then": shows})
    return made.model_copy(update={"error": DONE_ALREADY}) if _is_done(ruling, call, results) else None


def _is_checked(deps: RunDependencies, gate: Gate, call: CheckedCall) -> bool:
    """Whether a call's values are compared with the user's words: it is a model's write, to which he has not agreed."""
    return call.spec.writes and deps.agent.procedure is None and shown(call) not in gate.proposal.confirmed


def _is_done(ruling: Ruling, call: CheckedCall, results: Sequence[ToolResult]) -> bool:
    """Whether a call is asked about because this run has made it already."""
    repeats = any(one.action is Action.ASK and one.reason == REPEATED for one in ruling.verdicts)
    return repeats and any(one.ok and one.tool == call.spec.name for one in results)


def _lists(results: Sequence[ToolResult], deps: RunDependencies) -> list[list[Row]]:
    """What the agent's tools have listed in this run, but for what strangers may have written."""
    toolbox = deps.hosts.registry
    listed = (one for one in results if one.ok and one.tool in toolbox)
    trusted = (one for one in listed if toolbox.get(one.tool).trusted_fields == EVERY_FIELD)
    return [rows for one in trusted if (rows := rows_of(one.content))]
