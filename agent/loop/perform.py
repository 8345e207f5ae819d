"""Performs decided calls in parallel: guard, intent, effect, guard, result. Recovers calls after a crash."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, TypeVar

from agent.loop.begun_call import BegunCall
from agent.loop.call_resolver import CallResolver, Refused
from agent.loop.dry_run import dry_run, known_to, shortened
from agent.loop.gate import Gate
from agent.loop.held_back import doubted, held_back
from agent.loop.leased_run import LeasedRun
from agent.loop.misread import LISTS
from agent.loop.preview import outdated
from agent.loop.run_dependencies import RunDependencies
from agent.loop.tool_results import guarded, result_of
from agent.project.subagent import Subagent, outcome, run_for
from agent.run.budgets import share
from agent.run.history import CallState, call_states, result_text
from agent.run.journal import new_id
from agent.run.past import SubRun
from agent.run.state import RunState, apply
from flightloop.errors import NotFound
from flightloop.events import AgentReturned, ApprovalRequested, CallsDecided, RunCreated, ToolIntent, ToolResult
from flightloop.runs import Run
from flightloop.tool import Effect, ToolSpec
from flightloop.verdicts import Action, Stage
from guardrails.aside import on_behalf_of
from guardrails.guard import APPROVED
from guardrails.same_calls import is_among, may_be_done
from guardrails.types import CheckedCall, Past, Ruling, Write, asked_about
from tools.host import ToolOutcome

T = TypeVar("T")
LINGER_S = 0.005
"""Longest time that a decision's write waits for the results of harmless calls; a commit takes about as long."""
UNKNOWN = "unknown after a crash: the call may have taken effect and was not repeated. Check before you continue."
UNPERFORMED = "the call was not performed because of a crash. Repeat it if it is still needed."
ELSEWHERE = "another run of this session has just made the same call, so it was not made again"
MEANWHILE = "not done: meanwhile, another run of this session asked about a call like this"
NOT_ALLOWED = "not allowed"
CANCELLED = "the run was cancelled before the call began"
TAKEN = "other calls keep taking what a limit over time has left; try again later"
TRIES = 3
"""How often a call is checked again after other calls have taken its room in a limit."""
RECONCILED = "the call's result was lost in a crash and looked up afterwards"


async def perform(deps: RunDependencies, gate: Gate, leased: LeasedRun, calls: list[CallState]) -> Run:
    """Performs calls. Those that have to wait for a person or a sub-agent stay open.

    Calls with a result are skipped. A call whose result was lost in a crash is recovered according to its tool's
    declared effect.
    """
    performer = _CallPerformer(deps, gate, leased, leased.state, calls)
    await _concurrently([performer.one(state) for state in calls if state.result is None and not state.waits])
    return await leased.write()


async def perform_new(deps: RunDependencies, gate: Gate, leased: LeasedRun, decision: CallsDecided) -> Run:
    """Performs calls of a new decision, like ``perform``.

    The decision is written together with the intents of the calls that begin at once, so a step takes two commits: this
    one and that of the results. If no call has an effect that must be journaled first, one commit can be enough.
    """
    decided = apply(leased.state, decision)
    states = call_states(leased.run.id, decided.run.usage.steps, decision)
    performer = _CallPerformer(deps, gate, leased, decided, states)
    leased.decide(decision)
    begun = await _concurrently([performer.begin(state) for state in states[: performer.abreast]])
    leased.defer([event for each in begun for event in each.events])
    if not all(each.harmless for each in begun):
        await leased.write(
            children=[child for each in begun for child in each.children],
            shares=[share for each in begun for share in each.shares],
        )
        begun = await _concurrently([performer.journaled(each) for each in begun])
    async with _written_soon(leased):
        rest = [performer.one(state) for state in states[performer.abreast :]]
        await _concurrently([*(performer.finish(each) for each in begun), *rest])
    return await leased.write()


@asynccontextmanager
async def _written_soon(leased: LeasedRun) -> AsyncIterator[None]:
    """Writes deferred events with the results of the block, or after ``LINGER_S`` if the block takes longer.

    The next write raises the error of a failed write.
    """
    loop, late = asyncio.get_running_loop(), set[asyncio.Task[Run]]()
    timer = loop.call_later(LINGER_S, lambda: late.add(loop.create_task(leased.write())))
    try:
        yield
    except BaseException:
        with suppress(Exception):  # keep what was decided and found out before the error
            await leased.write()
        raise
    finally:
        timer.cancel()
        if late:
            await asyncio.wait(late)  # if it were cancelled, the leased run's state would be outdated
            for task in late:
                task.exception()


async def _concurrently(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Runs coroutines concurrently. The first failure cancels the others and is raised."""
    if len(work) == 1:  # the usual case needs no task of its own
        return [await work[0]]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in work]
    except* Exception as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


@dataclass
class _CallPerformer:
    """Performs the calls of one decision."""

    deps: RunDependencies
    gate: Gate
    leased: LeasedRun
    run: RunState
    """State after the decision."""
    calls: Sequence[CallState]
    """All calls of the decision."""
    abreast: int = field(init=False)
    """Most calls that are made at a time. Those that the user agreed to are made in the order of the question."""
    limit: asyncio.Semaphore = field(init=False)
    resolver: CallResolver = field(init=False)

    def __post_init__(self) -> None:
        self.resolver = CallResolver(self.deps, self.gate, self.leased.run.tenant_id)
        agreed = self.gate.proposal.agreed and self.run.run.usage.steps == 1
        self.abreast = 1 if agreed else self.deps.agent.parallel_calls
        self.limit = asyncio.Semaphore(self.abreast)

    async def one(self, state: CallState) -> None:
        async with self.limit:
            if self.leased.state.cancel_requested:
                return  # the run ends with this step
            if state.intent is not None:
                await self._recover(state, state.intent)
                return
            await self._perform(await self._journal(state))

    async def begin(self, state: CallState) -> BegunCall:
        """Checks a call; writes nothing. Raises Exhausted if the budget leaves nothing for a sub-agent."""
        try:
            checked_call, ruling = await self._ruled(state)
        except Refused as refused:
            return BegunCall(state, [self._failed(state, str(refused))])
        if state.request is None:
            before = self.calls[: self.calls.index(state) + 1]
            if told := await held_back(self.deps, self.gate, self.leased, before, checked_call, ruling):
                return BegunCall(state, [told])
        if ruling.action is Action.ASK:
            return BegunCall(state, [await self._request(state, checked_call, ruling)])
        if again := await outdated(self.deps.hosts.registry, self.gate, state, checked_call, ruling):
            return BegunCall(state, [again])
        intent = self._intent(state, checked_call)
        shares = [(state.call.id, share) for share in ruling.shares]
        if checked_call.spec.agent is None:
            return BegunCall(state, [intent], shares=shares, checked_call=checked_call)
        created = self._delegated(intent, self.deps.subagents[checked_call.spec.agent])
        return BegunCall(state, [intent.model_copy(update={"performed_by": created.run_id})], [created], shares)

    async def _journal(self, state: CallState, tries: int = TRIES) -> BegunCall:
        """Checks a call and journals what follows, before the effect."""
        begun = await self.begin(state)
        await self.leased.write(*begun.events, children=begun.children, shares=begun.shares)
        return await self.journaled(begun, tries)

    async def journaled(self, begun: BegunCall, tries: int = TRIES) -> BegunCall:
        """A call after its intent was written. If other calls have taken its room in a limit since the guard's ruling,
        the intent was not written, and the call is checked again."""
        if not begun.shares or begun.state.call.id not in self.leased.refused:
            return await self.unless_overtaken(begun)
        return await self._journal(begun.state, tries - 1) if tries else replace(begun, refused=TAKEN)

    async def finish(self, begun: BegunCall) -> None:
        async with self.limit:
            await self._perform(begun)

    async def _perform(self, begun: BegunCall) -> None:
        if begun.checked_call is not None and self.leased.state.cancel_requested:
            await self.leased.write(self._failed(begun.state, CANCELLED))
        elif begun.refused is not None:
            await self.leased.write(self._failed(begun.state, begun.refused))
        elif begun.checked_call is not None:
            await self._effect(begun.state, begun.checked_call)

    async def unless_overtaken(self, begun: BegunCall) -> BegunCall:
        """Refuses a journaled call if, since the guard's ruling, another run has begun the same write, or has asked if
        a write is right. The guard rules once more: of two same calls, the later one is made only if it allows both."""
        if begun.checked_call is None or not begun.checked_call.spec.writes:
            return begun
        call = begun.checked_call
        past = await self._past(call)
        with on_behalf_of(self.leased.run.tenant_id):
            twice = await may_be_done(call, [write for each in past for write in (*each.writes, *each.delegated)])
        if not twice and not await self.leased.doubted():
            return begun
        try:
            _, ruling = await self._ruled(begun.state)
        except Refused as refused:
            return replace(begun, refused=str(refused))
        asks = ruling.action.severity >= Action.ASK.severity
        return replace(begun, refused=ELSEWHERE if twice else MEANWHILE) if asks else begun

    def _delegated(self, intent: ToolIntent, agent: Subagent) -> RunCreated:
        """The sub-run that performs a call; this run continues when the sub-run has ended."""
        names = {each.tool for each in self.deps.subagents.values()}
        unfinished = [state for state in self.calls if state.result is None]
        asked = [state for state in unfinished if state.call.function.name in names and state.returned is None]
        part = share(self.run, self.deps.clock(), len(asked), len(unfinished))
        return run_for(
            intent,
            self.leased.run,
            agent,
            part,
            self.gate.user_text,
            tainted=self.gate.tainted,
            plan=self.gate.locked_plan,
        )

    async def _returned(self, state: CallState, spec: ToolSpec, intent: ToolIntent, returned: AgentReturned) -> None:
        below = await self.leased.sub_run(returned.performed_by)
        await self._record_result(state, spec, intent.arguments, outcome(returned), below)

    async def _ruled(self, state: CallState) -> tuple[CheckedCall, Ruling]:
        """A call as it would be performed, and the guard's ruling on it. Raises Refused.

        A call with redacted arguments is checked again, so that a person decides on the call that is actually made.
        """
        checked_call = await self.resolver.of(state)
        ruling = await self._check(state, checked_call)
        if ruling.arguments is None or ruling.arguments == checked_call.arguments:
            return checked_call, ruling
        checked_call = await self.resolver.redacted(state, checked_call.spec, ruling.arguments)
        ruling = await self._check(state, checked_call)
        if ruling.arguments is not None and ruling.arguments != checked_call.arguments:
            raise Refused("guardrails changed the call's arguments a second time after their redaction")
        return checked_call, ruling

    async def _check(self, state: CallState, checked_call: CheckedCall) -> Ruling:
        """The guard's ruling. Raises Refused if a rail blocks the call or a person denied it."""
        decided = state.decided
        if decided is not None and decided.decision != "approve":
            why = "a person denied it" if decided.decision == "deny" else "nobody approved it in time"
            raise Refused(f"{why}: {decided.reason}" if decided.reason and decided.decision == "deny" else why)
        if await self._is_denied(checked_call):  # repeated requests must not wear a person down
            raise Refused("a person has denied the same call in this run; do not ask again")
        approval = state.approval(checked_call.args_sha256, checked_call.arguments, self.gate.policy_sha256)
        under_way = await self.resolver.under_way(self.calls[: self.calls.index(state)])
        ruling = await self.gate.check(Stage.TOOL_CALL, "", checked_call, approval, under_way=under_way)
        if ruling.action is Action.BLOCK:
            raise Refused(f"{NOT_ALLOWED}: {ruling.told}")
        if approval is not None and ruling.action is not Action.ASK:
            return ruling
        return await doubted(self.deps, self.gate, self.leased, checked_call, ruling)

    async def _is_denied(self, checked_call: CheckedCall) -> bool:
        """Whether a person has denied the call, in this run or in another run for the same user request."""
        denied = [Write(one.tool, one.arguments, False, known_by=one.args_sha256) for one in self.leased.history.denied]
        if self.leased.run.parent is not None or self.deps.subagents:
            denied += [write for past in await self._past(checked_call) for write in past.denied]
        with on_behalf_of(self.leased.run.tenant_id):
            return await is_among(checked_call, denied)

    async def _past(self, call: CheckedCall) -> list[Past]:
        """The latest writes of the session with the call's hash, and those of the same tool."""
        return [await self.leased.past("", call.args_sha256), await self.leased.past("", tool=call.spec.name)]

    async def _request(self, state: CallState, checked_call: CheckedCall, ruling: Ruling) -> ApprovalRequested:
        return ApprovalRequested(
            approval_id=new_id("apr"),
            call_id=state.call.id,
            tool=checked_call.spec.name,
            arguments=checked_call.arguments,
            reason=ruling.reason,
            # Includes verdicts that a person has already approved: one approval must cover the whole call.
            asked=[asked_about(one) for one in ruling.verdicts if one.action is Action.ASK or APPROVED in one.labels],
            figures=[share.figures for share in ruling.shares if share.exceeds],
            doubted=any(one.action is Action.ASK and one.rail == LISTS for one in ruling.verdicts),
            args_sha256=checked_call.args_sha256,
            policy_sha256=self.gate.policy_sha256,
            sources=await self.gate.sources(checked_call),
            words=shortened(self.gate.words),
            dry_run=await dry_run(self.deps.hosts.registry, self.gate, state, checked_call, ruling),
            needed=ruling.approval.persons,
            not_starter=ruling.approval.not_starter,
            expires_at=self.deps.clock() + timedelta(seconds=self.deps.agent.approval_seconds),
        )

    def _intent(self, state: CallState, checked_call: CheckedCall) -> ToolIntent:
        return ToolIntent(
            call_id=state.call.id,
            tool=checked_call.spec.name,
            arguments=checked_call.arguments,
            key=state.key,
            effect=checked_call.spec.effect.value,
            args_sha256=checked_call.args_sha256,
            policy_sha256=self.gate.policy_sha256,
            fence=self.leased.lease.fence,
            unsure=checked_call.unsure,
        )

    async def _recover(self, state: CallState, intent: ToolIntent) -> None:
        """Recovers a call with an intent but no result. Repeatable calls use the same idempotency key again."""
        try:
            spec = self.deps.hosts.registry.get(intent.tool)
        except NotFound as error:
            await self.leased.write(self._not_repeated(state, intent, error.message))
            return
        if state.returned is not None:
            await self._returned(state, spec, intent, state.returned)
        elif Effect.UNSAFE in (intent.effect, spec.effect):
            await self._reconcile(state, spec, intent)
        else:
            await self._repeat(state, intent)

    async def _repeat(self, state: CallState, intent: ToolIntent) -> None:
        """Makes a call again if it passes all checks of a new call: agent, policy and approval may have changed since
        its intent was journaled."""
        try:
            checked_call, ruling = await self._ruled(state)
            if ruling.action is Action.ASK:
                await self.leased.write(await self._request(state, checked_call, ruling))
                return
            if checked_call.arguments != intent.arguments:
                raise Refused("a guardrail now changes the call's arguments, which would make it another call")
        except Refused as refused:
            await self.leased.write(self._not_repeated(state, intent, str(refused)))
            return
        outcome = await self.gate.call(state, checked_call.spec, checked_call.arguments)
        if not outcome.ok and intent.effect != Effect.PURE:
            outcome = replace(outcome, uncertain=True)  # the earlier attempt may have had its effect
        await self._record_result(state, checked_call.spec, checked_call.arguments, outcome)

    def _not_repeated(self, state: CallState, intent: ToolIntent, why: str) -> ToolResult:
        if intent.effect == Effect.PURE:
            return self._failed(state, why)
        return self._failed(state, f"{UNKNOWN} ({why})", uncertain=True)

    async def _reconcile(self, state: CallState, spec: ToolSpec, intent: ToolIntent) -> None:
        """Finds out whether a call that can't be repeated was performed, with its tool's reconcile tool, if any.

        "Not performed" is final only if the worker that began the call has ended; otherwise the call may still run.
        """
        if spec.reconcile is None:
            await self.leased.write(self._failed(state, UNKNOWN, uncertain=True))
            return
        arguments, asked = intent.arguments, self.deps.hosts.registry.get(spec.reconcile)
        outcome = await self.gate.call(state, asked, known_to(asked, arguments))
        if not outcome.ok or outcome.content is None:
            final = outcome.ok and intent.fence >= self.leased.history.overtaken
            await self.leased.write(self._failed(state, UNPERFORMED if final else UNKNOWN, uncertain=not final))
            return
        await self._record_result(state, spec, arguments, replace(outcome, note=RECONCILED))

    async def _effect(self, state: CallState, checked_call: CheckedCall) -> None:
        spec, arguments = checked_call.spec, checked_call.arguments
        await self._record_result(state, spec, arguments, await self.gate.call(state, spec, arguments))

    async def _record_result(
        self,
        state: CallState,
        spec: ToolSpec,
        arguments: dict[str, Any],
        outcome: ToolOutcome,
        below: SubRun | None = None,
    ) -> None:
        """Journals a result. ``below``: the sub-run that returned it."""
        result = result_of(state.call.id, spec, outcome)
        if below is not None:
            result = result.model_copy(update={"wrote": below.wrote})
        checked_call = CheckedCall(state.call.id, spec, arguments)
        ruling = await self.gate.check(Stage.TOOL_RESULT, result_text(result), checked_call)
        tainted = ruling.tainted or (below is not None and below.tainted)
        self.leased.defer([guarded(result, replace(ruling, tainted=tainted))])
        if len(self.calls) > 1:
            await asyncio.sleep(0)  # write results of the same moment together
        await self.leased.write()

    def _failed(self, state: CallState, error: str, *, uncertain: bool = False) -> ToolResult:
        tool = state.call.function.name or "?"
        known = tool in self.deps.hosts.registry
        return ToolResult(call_id=state.call.id, tool=tool, ok=False, error=error, uncertain=uncertain, known=known)
