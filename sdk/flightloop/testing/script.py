"""Plays a plot as a run's events: at once with times of the past, or live."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from flightloop import events as ev
from flightloop.chat import FunctionCall, ToolCall, Usage
from flightloop.content import text_of
from flightloop.errors import Conflict
from flightloop.runs import Feedback, Run, RunError, RunStatus, StopReason
from flightloop.testing.plots import PLOTS, Arguments, Plot, Raised
from flightloop.testing.world import World
from flightloop.verdicts import Action, Stage, Verdict, passed


class Clock:
    """Tells times: from a moment in the past, or with ``live`` the real one, waiting as time would pass."""

    def __init__(self, start: datetime | None = None, *, pace: Callable[[float], None] = time.sleep) -> None:
        self._at, self._pace = start, pace

    @property
    def live(self) -> bool:
        return self._at is None

    def after(self, seconds: float) -> datetime:
        if self._at is None:
            self._pace(seconds)
            return datetime.now(UTC)
        self._at += timedelta(seconds=seconds)
        return self._at


@dataclass
class Player:
    """Writes one run's events into the world."""

    world: World
    run_id: str
    clock: Clock
    chance: random.Random
    step: int = 0

    def add(self, event: ev.RunEvent, seconds: float = 0.02) -> None:
        """Appends an event that happens so much later. Raises Conflict: the run was ended from outside."""
        at = self.clock.after(seconds)
        event.step = self.step
        with self.world.changed:
            if self.world.run(self.run_id).status.terminal and not isinstance(event, ev.FeedbackGiven):
                raise Conflict("the run has ended")
            self.world.append(self.run_id, event, at)

    def model(self, tokens: int) -> ev.ModelCall:
        """A model call that took a while and has just ended."""
        prompt, seconds = self.chance.randint(400, 1400), tokens * self.chance.uniform(0.02, 0.035)
        return ev.ModelCall(
            model="smollm2-135m-moe",
            usage=Usage(prompt_tokens=prompt, completion_tokens=tokens, total_tokens=prompt + tokens),
            seconds=seconds + 0.4,
            ttft_seconds=self.chance.uniform(0.15, 0.6),
            queue_seconds=self.chance.uniform(0.0, 0.08),
            confidence=self.chance.uniform(0.62, 0.97),
            mean_entropy=self.chance.uniform(0.1, 0.9),
            max_entropy=self.chance.uniform(1.2, 2.8),
            finish_reason="stop",
            cost=(prompt + 4 * tokens) * 2e-7,
        )

    def judge(self, stage: Stage, rails: tuple[str, ...], call_id: str | None = None, **verdict: Any) -> None:
        """Verdicts that allow: plain ones in short, as the journal keeps them."""
        said = [
            Verdict(action=Action.ALLOW, rail=rail, stage=stage, milliseconds=self.chance.uniform(0.2, 4), **verdict)
            for rail in rails
        ]
        for short in passed(one for one in said if one.plain):
            self.add(ev.ChecksPassed(passed=short), 0.004)
        for one in said:
            if not one.plain:
                self.add(ev.Judged(verdict=one, call_id=call_id), 0.004)

    def decide(self, make: Callable[[ev.ModelCall], ev.RunEvent], tokens: int) -> None:
        self.step += 1
        call = self.model(tokens)
        self.add(make(call), call.seconds)

    def reply(self, text: str) -> None:
        """The answer; live, its words are released while it is decoded."""
        self.step += 1
        words = text.split(" ")
        call = self.model(2 * len(words))
        for index, word in enumerate(words if self.clock.live else ()):
            self.clock.after(call.seconds / len(words))
            self.world.say(self.run_id, word if index == 0 else f" {word}")
        self.add(ev.Replied(text=text, model=call), 0.01 if self.clock.live else call.seconds)

    def end(self, status: RunStatus, reason: StopReason, **rest: Any) -> None:
        self.add(ev.RunEnded(status=status, stop_reason=reason, **rest))


def play(world: World, run_id: str, plot: Plot, clock: Clock, chance: random.Random) -> None:
    """The run from its start to its end, or to the question that a person has to answer."""
    player = Player(world, run_id, clock, chance)
    if not clock.live:
        world.begin(run_id, clock.after(0))
    player.add(ev.RunStarted(worker="worker-1", fence=1), chance.uniform(0.05, 0.4))
    player.judge(Stage.INPUT, ("normalise", "secrets"))
    if plot.blocked:
        player.add(ev.Judged(verdict=plot.blocked))
        error = RunError(code="guardrail_blocked", message=plot.blocked.reason)
        player.end(RunStatus.BLOCKED, StopReason.GUARDRAIL, error=error)
        return
    player.judge(Stage.INPUT, ("injection",), scores={"injection": 0.02})
    tools = [tool for tool, *_ in plot.calls]
    player.decide(lambda call: ev.Planned(goal=plot.asked.split("?")[0][:80], tools=tools, model=call), 34)
    for index, (tool, arguments, result) in enumerate(plot.calls):
        last = index == len(plot.calls) - 1
        if not _call(player, index, tool, arguments, result, asks=plot.waits and last):
            return
    finish(player, plot)


def finish(player: Player, plot: Plot) -> None:
    """The answer, or the failure, and what the customer says of it."""
    if plot.failed:
        error = RunError(code="error", message=plot.failed)
        player.end(RunStatus.FAILED, StopReason.BUDGET_STEPS, error=error)
        return
    player.reply(plot.answer)
    player.judge(Stage.FINAL, ("secrets", "pii"))
    player.judge(Stage.FINAL, ("groundedness",), scores={"groundedness": player.chance.choice([0.0, 0.0, 0.25])})
    player.end(RunStatus.SUCCEEDED, StopReason.ANSWERED, output=plot.answer)
    if not player.clock.live and player.chance.random() < 0.4:
        score = player.chance.choice(plot.rated)
        player.add(ev.FeedbackGiven(feedback=Feedback(score=score, resolved=True)), 20)


def _call(player: Player, index: int, tool: str, arguments: Arguments, result: Any, *, asks: bool) -> bool:
    call_id = f"call_{index + 1}"
    wanted = ToolCall(id=call_id, function=FunctionCall(name=tool, arguments=json.dumps(arguments)))
    player.decide(lambda call: ev.CallsDecided(calls=[wanted], model=call), 26)
    player.judge(Stage.TOOL_CALL, ("allow_list", "arguments"), call_id)
    digest = hashlib.sha256(json.dumps(arguments).encode()).hexdigest()
    policy = player.world.run(player.run_id).policy_sha256
    if asks:
        _ask(player, call_id, tool, arguments, digest, policy)
        return False
    perform(player, call_id, tool, arguments, result, digest)
    return True


def perform(player: Player, call_id: str, tool: str, arguments: Arguments, result: Any, digest: str) -> None:
    """The effect of a call that passed the gate."""
    policy, key = player.world.run(player.run_id).policy_sha256, f"{player.run_id}:{player.step}:0"
    player.add(
        ev.ToolIntent(
            call_id=call_id,
            tool=tool,
            arguments=arguments,
            key=key,
            effect="transactional" if tool == "pay_back" else "pure",
            args_sha256=digest,
            policy_sha256=policy,
            fence=1,
        )
    )
    seconds = player.chance.uniform(0.05, 0.9)
    if isinstance(result, Raised):
        told: dict[str, Any] = {"ok": False, "error": result.error, "traceback": result.traceback}
    else:
        told = {"ok": True, "content": result}
    player.add(ev.ToolResult(call_id=call_id, tool=tool, seconds=seconds, **told), seconds)
    player.judge(Stage.TOOL_RESULT, ("normalise", "injection"), call_id)


def _ask(player: Player, call_id: str, tool: str, arguments: Arguments, digest: str, policy: str) -> None:
    reason = f"a large refund: {arguments.get('amount', 0):.2f} € is above 50 €"
    asked = Verdict(action=Action.ASK, rail="ask", stage=Stage.TOOL_CALL, reason=reason, milliseconds=0.3)
    player.add(ev.Judged(verdict=asked, call_id=call_id))
    requested = ev.ApprovalRequested(
        approval_id=f"apr_{player.run_id.removeprefix('run_')}",
        call_id=call_id,
        tool=tool,
        arguments=arguments,
        reason=reason,
        args_sha256=digest,
        policy_sha256=policy,
        expires_at=player.clock.after(0) + timedelta(minutes=30),
    )
    with player.world.changed:  # nobody may decide before the run waits
        player.add(requested)
        player.add(ev.RunReleased(status=RunStatus.WAITING_APPROVAL))


def go_on(world: World, run_id: str, plot: Plot, clock: Clock, chance: random.Random) -> None:
    """The run after a person decided about its last call."""
    decided = next(item for item in reversed(world.events[run_id]) if isinstance(item, ev.ApprovalDecided))
    player = Player(world, run_id, clock, chance, world.run(run_id).usage.steps)
    player.add(ev.RunStarted(worker="worker-1", fence=2), 0.2)
    tool, arguments, result = plot.calls[-1]
    if decided.decision == "approve":
        asked = next(item for item in world.approvals.values() if item.id == decided.approval_id)
        perform(player, decided.call_id, tool, arguments, result, asked.args_sha256)
        finish(player, plot)
        return
    player.add(ev.ToolResult(call_id=decided.call_id, tool=tool, ok=False, error="a person denied this call"))
    answer = "I could not get this refund approved. A colleague will write to you."
    player.reply(answer)
    player.end(RunStatus.SUCCEEDED, StopReason.ESCALATED, output=answer)


def worker(pace: Callable[[float], None] = time.sleep) -> Callable[[World, Run], None]:
    """For ``FakeServer.on_run``: plays the plot whose question was asked, else the first one."""

    def work(world: World, run: Run) -> None:
        asked = text_of(run.input)
        plot = next((item for item in PLOTS if item.asked == asked), PLOTS[0])
        decided = any(isinstance(event, ev.ApprovalDecided) for event in world.events[run.id])
        try:
            (go_on if decided else play)(world, run.id, plot, Clock(pace=pace), random.Random(run.id))
        except Conflict:
            return  # the run was ended from outside

    return work
