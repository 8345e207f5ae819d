"""Evidence for a run's guard: the user's text, tool results, and the calls that the model wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from agent.attachments.facts import with_figures
from agent.loop.attached import image_reads, table_reads
from agent.loop.context import Conversation
from agent.loop.leased_run import LeasedRun
from agent.loop.run_dependencies import RunDependencies
from agent.loop.tool_results import is_dropped
from agent.loop.trail import GrowingTrail
from agent.run.history import History, Turn, dump, result_text
from agent.run.past import writes_of
from flightloop.events import ApprovalRequested, Planned, ToolResult
from flightloop.tool import ToolContext
from guardrails.approval_rule import ANYBODY, ApprovalRule
from guardrails.evidence.short_orders import verbs_of
from guardrails.evidence.strangers import speaks
from guardrails.types import GuardContext, NoEvidence, Past, Trail, Utterance, Write


def _under(approval: ApprovalRequested) -> ApprovalRule:
    """Who had to decide about a call."""
    return ApprovalRule(persons=approval.needed, not_starter=approval.not_starter)


class Evidence:
    """Evidence of one run, updated when the run's history has changed.

    Args:
        tools: context for calls of the tools that look up facts and owners of objects.
    """

    def __init__(
        self, deps: RunDependencies, leased: LeasedRun, conversation: Conversation, tools: ToolContext
    ) -> None:
        self._deps = deps
        self._leased = leased
        self._conversation = conversation
        self._tools = tools
        self._facts = with_figures(deps.lookup.facts(deps.hosts, tools), conversation.measures)
        self._readings: tuple[str, ...] = ()
        self._results: list[str] = []
        self._trusted: list[str] = []
        self._looked_up: list[str] = []
        self._written: list[str] = []
        self._written_by: dict[str, int] = {}  # call id to the number of calls written up to its decision
        self._places: dict[str, int] = {}  # of calls in ``_written``
        self._written_before: list[int] = []
        self._turns = 0
        self._done: list[Write] = []
        self._done_turns = 0  # turns whose calls have all ended
        self._memo: dict[object, object] = {}
        self._trail = GrowingTrail(deps.hosts.registry, conversation.trail)
        self._context: GuardContext | None = None
        self._events = -1
        self._past: tuple[int, Past] | None = None
        self._writers = tuple(
            deps.hosts.registry.get(name) for name in dict.fromkeys(self._callable()) if self._writes(name)
        )

    @property
    def user_text(self) -> str:
        """Text that the user wrote in the session; for a sub-run, the user's text of its root run."""
        parent = self._leased.run.parent
        return self._conversation.user_text if parent is None else parent.user_text

    @property
    def _said(self) -> tuple[Utterance, ...]:
        """The user's messages with their times. A sub-run has the user's text of its root run only: no agreement, and
        all of it is read by the sub-run's own day."""
        parent, began = self._leased.run.parent, self._conversation.began
        if parent is None or began is None:
            return self._conversation.said
        return (Utterance(parent.user_text, began.at, zoned=began.zoned),)

    @property
    def words(self) -> str:
        """The user's latest message; for a sub-run, the user's text of its root run."""
        parent = self._leased.run.parent
        return self._conversation.words if parent is None else parent.user_text

    @property
    def tainted(self) -> bool:
        return self._leased.history.tainted or self._conversation.tainted

    def context(
        self,
        approval: ApprovalRequested | None = None,
        plan: tuple[str, ...] | None = None,
        under_way: Sequence[Write] = (),
    ) -> GuardContext:
        """Context for the guard.

        Args:
            approval: a person's approval of the call to check, if any.
            plan: plan to check, instead of the current plan.
            under_way: other calls that have no result yet.
        """
        if self._context is None or self._events != self._leased.history.events:
            self._context, self._events = self._read(), self._leased.history.events
        context = self._context
        if self.user_text != context.user_text:  # a rail has redacted the input
            context = self._context = replace(context, user_text=self.user_text, said=self._said)
        if self._conversation.evidence != self._readings or self.tainted != context.tainted:
            context = self._context = self._read()
        if not (approval or under_way) and plan is None:
            return context
        return replace(
            context,
            approved_args=frozenset({approval.args_sha256} if approval else ()),
            approved_for=frozenset((*approval.asked, *approval.figures) if approval else ()),
            approved_under=_under(approval) if approval else ANYBODY,
            plan=context.plan if plan is None else plan,
            writes=(*context.writes, *under_way),
        )

    def _read(self) -> GuardContext:
        run, history = self._leased.run, self._leased.history
        self._readings = self._conversation.evidence
        self._read_calls(history.turns)
        trail = self._trail.follow(history)
        given = (*image_reads(self._conversation.readings), *table_reads(self._conversation.tables))
        unread = trail.unread or self._conversation.shows_images
        trail = replace(trail, reads=(*given, *trail.reads), unread=unread)
        for result in history.results[len(self._results) :]:
            self._results.append(result_text(result))
            if result.wrote:  # as if this run had written it when it called the sub-agent
                self._written[self._places[result.call_id]] += "\n" + "\n".join(result.wrote)
            if is_dropped(result):
                self._written[self._places[result.call_id]] = ""  # no tool got the guess, so none can repeat it
            # An error may repeat what the model or a person wrote, so it is not trusted.
            trusted = self._trusted_part(result) if result.ok else None
            if trusted is not None:
                self._trusted.append(trusted)
                self._written_before.append(self._written_by.get(result.call_id, len(self._written)))
            if result.tool in self._deps.lookup.tools:
                self._looked_up.append(self._results[-1])
        return GuardContext(
            tenant_id=run.tenant_id,
            agent=run.agent,
            session_id=run.session_id,
            run_id=run.id,
            confirmed=self._conversation.proposal.confirmed,
            subject=run.subject,
            look_up=self._look_up,
            instructions=self._conversation.instructions,
            user_text=self.user_text,
            said=self._said,
            answered=tuple(one.answer for one in self._conversation.earlier if one.agent == run.agent),
            plan=history.plan,
            clean_plan=self._clean_plan(history, trail),
            callers_plan=self._callers_plan(),
            tainted=self.tainted,
            results=(*self._readings, *self._results),
            trusted_results=tuple(self._trusted),
            written=tuple(self._written),
            written_before=tuple(self._written_before),
            facts=self._facts,
            looked_up=tuple(self._looked_up),
            writers=self._writers,
            writes=self._own_writes(history.turns) if self._writers else (),
            unsure=any(turn.decision.model.withheld is not None for turn in history.turns),
            past=self._session,
            trail=trail,
            used=self._leased.used,
            memo=self._memo,
        )

    def _clean_plan(self, history: History, trail: Trail) -> tuple[str, ...] | None:
        """Tools of the latest plan that was made before any text of strangers was read. Replans keep it up to date."""
        plans = [turn.decision for turn in history.turns if isinstance(turn.decision, Planned)]
        if not plans:
            return None
        verbs = verbs_of(self._writers)
        speaking = (read for read in trail.reads if speaks(read, self._memo, verbs))
        first = min(((read.step or 0) if read.run_id is None else 0 for read in speaking), default=None)
        clean = [plan for plan in plans if first is None or plan.step <= first]
        return tuple(clean[-1].tools) if clean else None

    def _read_calls(self, turns: Sequence[Turn]) -> None:
        for turn in turns[self._turns :]:
            self._places |= {each.call.id: len(self._written) + at for at, each in enumerate(turn.calls)}
            self._written += [f"{each.call.function.name} {each.call.function.arguments}" for each in turn.calls]
            self._written_by |= {each.call.id: len(self._written) for each in turn.calls}
        self._turns = len(turns)

    def _own_writes(self, turns: Sequence[Turn]) -> tuple[Write, ...]:
        while self._done_turns < len(turns) - 1 and not turns[self._done_turns].open:
            self._done += writes_of([turns[self._done_turns]], self._writes)
            self._done_turns += 1
        return (*self._done, *writes_of(turns[self._done_turns :], self._writes))

    async def _session(self, args_sha256: str | None = None, tool: str | None = None) -> Past:
        asked, events = self._conversation.words, self._leased.history.events
        if args_sha256 is not None or tool is not None:
            return await self._leased.past(asked, args_sha256, tool)
        if self._past is None or self._past[0] != events:
            self._past = (events, await self._leased.past(asked))
        return self._past[1]

    async def _look_up(self, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Calls a pure tool of the project, which the agent need not have. Raises NoEvidence."""
        toolbox = self._deps.hosts.registry
        if tool not in toolbox or toolbox.get(tool).writes or toolbox.get(tool).agent is not None:
            raise NoEvidence(f"no pure tool is named {tool}")
        outcome = await self._deps.hosts.call(tool, arguments, self._tools)
        if not outcome.ok:
            raise NoEvidence(f"{tool} refused or failed")
        if not isinstance(outcome.content, dict):
            raise NoEvidence(f"{tool} returned no object")
        return outcome.content

    def _callers_plan(self) -> tuple[str, ...] | None:
        """Tools that the callers' plans allow, and this agent's sub-agents, since delegating itself changes nothing."""
        parent = self._leased.run.parent
        if parent is None or parent.plan is None:
            return None
        return (*parent.plan, *(agent.tool for agent in self._deps.subagents.values()))

    def _callable(self) -> Sequence[str]:
        """Tools of the agent and of its sub-agents."""
        below = [name for agent in self._deps.subagents.values() for name in agent.spec.tools]
        return [*self._deps.tools, *below]

    def _writes(self, name: str) -> bool:
        """Whether a tool changes something. Delegating to an agent does not; that agent's calls do."""
        toolbox = self._deps.hosts.registry
        return name in toolbox and toolbox.get(name).writes and toolbox.get(name).agent is None

    def _trusted_part(self, result: ToolResult) -> str | None:
        """The trusted text of a result: all of it or only that of its trusted fields; None if there is none."""
        toolbox = self._deps.hosts.registry
        if result.tool not in toolbox:
            return None
        spec = toolbox.get(result.tool)
        if not spec.returns_untrusted:
            return result_text(result)
        rows = result.content if isinstance(result.content, list) else [result.content]
        if not spec.trusted_fields or not all(isinstance(row, dict) for row in rows):
            return None
        return dump([{name: row[name] for name in spec.trusted_fields if name in row} for row in rows])
