"""Calls that the model is told of once before they are made, or before a person is asked about them."""

from __future__ import annotations

from collections.abc import Sequence

from agent.loop.confirmation import waiting_result
from agent.loop.gate import Gate
from agent.loop.leased_run import LeasedRun
from agent.loop.misread import misread
from agent.loop.named_rows import Row, rows_of
from agent.loop.overview import overview
from agent.loop.preview import previewed
from agent.loop.refusal import writes
from agent.loop.run_dependencies import RunDependencies
from agent.loop.tool_results import told_of_guess
from agent.run.history import CallState
from flightloop.events import ToolResult
from flightloop.verdicts import Action
from guardrails.evidence.confirmed import shown
from guardrails.types import CheckedCall, Ruling


async def held_back(
    deps: RunDependencies, gate: Gate, leased: LeasedRun, before: Sequence[CallState], call: CheckedCall, ruling: Ruling
) -> ToolResult | None:
    """The failed result of a call that waits for the user's yes, or has a value that the model has made up or misread:
    it can ask the user, or look the value up. None: the call is made, or a person is asked.

    Args:
        before: the calls of the same decision before this one, and this one.
    """
    results, toolbox = leased.history.results, deps.hosts.registry
    told = None
    if call.spec.writes and deps.agent.procedure is None and shown(call) not in gate.proposal.confirmed:
        told = misread(call.arguments, gate.messages, _lists(results, deps))
    if told is None and ruling.guessed:
        # Without the values, which a later call could otherwise take from this result.
        shows = overview(toolbox, deps.tools, ruling.guessed)
        read = any(each.tool == shows for each in results)
        told = told_of_guess(ruling.guessed, None if read else shows)
    if told and not any(each.error == told for each in results):
        return ToolResult(call_id=call.call_id, tool=call.spec.name, ok=False, error=told)
    if ruling.action is not Action.ASK or ruling.guessed:
        return None
    place = sum(writes(one.call.function.name, toolbox) for one in before[:-1])
    waits = waiting_result(deps.agent, leased.run, ruling, call, gate.proposal, place)
    return await previewed(waits, toolbox, gate, before[-1], call, ruling)


def _lists(results: Sequence[ToolResult], deps: RunDependencies) -> list[list[Row]]:
    """What the agent's tools have listed in this run, but for what strangers wrote."""
    toolbox = deps.hosts.registry
    trusted = (one for one in results if one.ok and one.tool in toolbox and not toolbox.get(one.tool).returns_untrusted)
    return [rows for one in trusted if (rows := rows_of(one.content))]
