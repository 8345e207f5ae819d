"""The loop of a run: decide, journal, perform, until the run is no longer running."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import assert_never

from agent.loop.attached import TABLES_GONE, keeps_tables, readable, reading_call
from agent.loop.compaction import ContextExhausted
from agent.loop.context import Conversation
from agent.loop.decide import CallTools, Plan, Reply, decide
from agent.loop.follow import follow
from agent.loop.gate import Gate, passed
from agent.loop.leased_run import LeasedRun
from agent.loop.model_figures import unfinished
from agent.loop.perform import perform, perform_new
from agent.loop.refusal import withheld
from agent.loop.run_dependencies import RunDependencies
from agent.run.budgets import Exhausted, Reservation, seconds_left
from agent.run.journal import Released
from agent.run.lease import LeaseLost
from flightloop.content import Content, TextPart, with_text
from flightloop.errors import ContextTooLong, FlightloopError, Interrupted, StoreUnavailable
from flightloop.events import CallsDecided, RunEnded
from flightloop.runs import Run, RunError, RunStatus, StopReason
from flightloop.verdicts import Action, Stage


@dataclass
class Stop:
    """Signals to a run from outside its task; the loop reads them between steps."""

    draining: bool = False
    interrupted: bool = False


class Loop:
    """One run under one lease. ``drive`` returns when the run has ended, waits, or should be released."""

    def __init__(self, deps: RunDependencies, leased: LeasedRun, conversation: Conversation, stop: Stop) -> None:
        self._deps = deps
        self._leased = leased
        self._conversation = conversation
        leased.history.tainted |= conversation.tainted
        self._gate = Gate(deps, leased, conversation)
        self._stop = stop

    async def drive(self) -> Run:
        """Drives the run until it has ended (terminal) or should be released (still running).

        Mistakes of the model or a tool become observations, and limits end the run. Only internal errors and a lost
        lease are raised.
        """
        try:
            return await self._in_time()
        except Exhausted as bound:
            return await self._end(RunStatus.FAILED, bound.reason, bound.message)
        except (ContextExhausted, ContextTooLong) as error:
            return await self._end(RunStatus.FAILED, StopReason.CONTEXT, str(error))
        except Interrupted as error:
            return await self.interrupted(str(error))
        except (LeaseLost, StoreUnavailable):
            raise
        except FlightloopError as error:
            return await self._end(RunStatus.FAILED, StopReason.ERROR, error.message, error.code)

    async def interrupted(self, message: str = "the emergency stop") -> Run:
        return await self._end(RunStatus.INTERRUPTED, StopReason.INTERRUPT, message, Interrupted.code)

    async def _in_time(self) -> Run:
        own = Reservation(seconds=seconds_left(self._leased.state, self._deps.clock()), steps=0)
        held = await self._leased.reserve(own, self._deps.prices, self._deps.tenants)
        try:
            async with asyncio.timeout(held.seconds) as bound:
                return await self._steps()
        except TimeoutError:
            if not bound.expired():
                raise
            raise Exhausted(held.late, f"the budget's remaining {held.seconds:g} seconds have passed") from None

    async def _steps(self) -> Run:
        leased = self._leased
        if (blocked := await self._refused_input()) is not None:
            return await self._block(blocked)
        run = await leased.write()
        while run.status is RunStatus.RUNNING:
            if leased.state.cancel_requested:
                return await self._end(RunStatus.CANCELLED, StopReason.CANCEL, "cancelled by its owner", "cancelled")
            if self._paused():
                break
            if leased.history.last is not None and leased.history.last.open:
                run = await self._perform()  # open since an earlier lease, or decided by a person meanwhile
                continue
            deciding = follow if self._deps.agent.procedure else decide
            decision = await deciding(self._deps, self._gate, leased, self._conversation)
            match decision:
                case Plan():
                    leased.decide(decision.event)
                    run = await leased.write()
                case CallTools():
                    run = await perform_new(self._deps, self._gate, leased, decision.event)
                case Reply(blocked=None):
                    leased.decide(decision.event)
                    run = await self._answer(decision)
                case Reply():
                    leased.decide(decision.event)
                    run = await self._block(decision.blocked or "")
                case other:
                    assert_never(other)
        return run

    def _paused(self) -> bool:
        """Whether to leave the run to a person, a sub-agent or another worker."""
        return self.rest is not RunStatus.QUEUED or self._stop.draining

    @property
    def rest(self) -> Released:
        """Status in which the run would be released now."""
        last = self._leased.history.last
        waiting = [call for call in last.open if call.waits] if last is not None else []
        if any(call.waits_for_person for call in waiting):
            return RunStatus.WAITING_APPROVAL
        return RunStatus.WAITING_AGENT if waiting else RunStatus.QUEUED

    async def _refused_input(self) -> str | None:
        """Checks the input, and redacts it if the guard says so. Returns the reason if the input is refused, else None.

        The verdicts are journaled once, even if another worker has already checked the input.
        """
        ruling = await self._gate.check(Stage.INPUT, self._conversation.input_text)
        if ruling.action.severity < Action.ASK.severity:
            await self._check_readings()
        if self._leased.history.judged_input:
            self._leased.forget_deferred()
        if ruling.action.severity >= Action.ASK.severity:
            return ruling.reason
        if not keeps_tables(self._conversation.input_text, ruling.text):
            return TABLES_GONE
        if ruling.action is Action.REDACT:
            self._conversation.user = with_text(self._conversation.user, ruling.text)
        return None

    async def _check_readings(self) -> None:
        """Checks what was read in the input's images; it may taint the run."""
        conversation, read = self._conversation, []
        for number, text in enumerate(conversation.readings, 1):
            ruling = await self._gate.check(Stage.TOOL_RESULT, text, reading_call(number))
            conversation.tainted |= ruling.tainted
            read.append(readable(ruling))
        conversation.readings = tuple(read)

    async def _perform(self) -> Run:
        last = self._leased.history.last
        assert last is not None
        return await perform(self._deps, self._gate, self._leased, last.calls)

    async def _answer(self, reply: Reply) -> Run:
        handed_over = any(
            result.ok and result.tool in self._deps.agent.escalation for result in self._leased.history.results
        )
        reason = StopReason.ESCALATED if handed_over else StopReason.ANSWERED
        if reply.asks:
            reason = StopReason.CONFIRMATION
        output = [TextPart(text=reply.event.text)]
        return await self._write_end(RunEnded(status=RunStatus.SUCCEEDED, stop_reason=reason, output=output))

    async def _block(self, reason: str) -> Run:
        history, toolbox = self._leased.history, self._deps.hosts.registry
        refusal: Content = [TextPart(text=withheld(self._deps.guard.policy.document.refusal, history.results, toolbox))]
        error = RunError(code="guardrail_blocked", message=reason)
        ended = RunEnded(status=RunStatus.BLOCKED, stop_reason=StopReason.GUARDRAIL, output=refusal, error=error)
        return await self._write_end(ended)

    async def _end(self, status: RunStatus, reason: StopReason, message: str, code: str | None = None) -> Run:
        """Ends the run with its latest text as the output. The tokens of an interrupted answer are charged."""
        said = self._leased.draft.released if self._leased.draft else self._said()
        text = passed(await self._gate.check(Stage.FINAL, said, stopped=True)) if said else ""
        if (model := unfinished(self._deps, self._leased)) is not None:
            self._leased.decide(CallsDecided(calls=[], text=text, problem=str(reason), model=model))
        output: Content | None = [TextPart(text=text)] if text else None
        error = RunError(code=code or str(reason), message=message)
        return await self._write_end(RunEnded(status=status, stop_reason=reason, output=output, error=error))

    async def _write_end(self, ended: RunEnded) -> Run:
        # A run that read nothing itself passes on the taint of the runs before it.
        return await self._leased.write(ended.model_copy(update={"tainted": self._leased.history.tainted}))

    def _said(self) -> str:
        decided = (turn.decision for turn in reversed(self._leased.history.turns))
        return next((one.text for one in decided if isinstance(one, CallsDecided) and one.text), "")
