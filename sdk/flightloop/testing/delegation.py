"""A run of the scene that gives a task to another agent."""

from __future__ import annotations

import hashlib
import json
import random

from flightloop import events as ev
from flightloop.chat import FunctionCall, ToolCall
from flightloop.content import text_of
from flightloop.runs import Caller, Parent, Run, RunCreate, RunStatus, StopReason
from flightloop.testing.plots import Plot
from flightloop.testing.script import Clock, Player, play
from flightloop.testing.world import World
from flightloop.verdicts import Stage

ASKED = "The lamp of order A-10355 came broken, 74 €. Can I send it back and have my money?"
TASK = "Decide whether the lamp of A-10355 may go back, and refund 74 € if so."
TOOL, CALL = "ask_returns", "call_1"


def delegated(world: World, clock: Clock, *, waits: bool = False) -> tuple[Run, Run]:
    """Plays the run of support and the one of returns that works for it.

    Args:
        waits: the one that works waits for a person, so that the other one waits for it.
    """
    chance = random.Random(7)
    parent = world.create(RunCreate.model_validate({"agent": "support", "input": ASKED}))
    player = Player(world, parent.id, clock, chance)
    world.begin(parent.id, clock.after(0))
    player.add(ev.RunStarted(worker="worker-1", fence=1))
    player.decide(lambda call: ev.Planned(goal="Have the return decided", tools=[TOOL], model=call), 30)
    child = _ask(player)
    play(world, child.id, _plot(waits), clock, chance)
    if not waits:
        _go_on(player, world.run(child.id))
    return world.run(parent.id), world.run(child.id)


def _plot(waits: bool) -> Plot:
    details = ("order_details", {"order_id": "A-10355"}, {"order_id": "A-10355", "total": 74.0, "days": 3})
    refund = ("pay_back", {"order_id": "A-10355", "amount": 74.0}, {"refunded": 74.0, "receipt": "R-5531"})
    calls = (details, refund) if waits else (details,)
    return Plot(TASK, calls, "It came three days ago, so it may go back.", waits=waits)


def _ask(player: Player) -> Run:
    """The call, and the run that works on it."""
    world, parent, arguments = player.world, player.world.run(player.run_id), json.dumps({"task": TASK})
    wanted = ToolCall(id=CALL, function=FunctionCall(name=TOOL, arguments=arguments))
    player.decide(lambda call: ev.CallsDecided(calls=[wanted], model=call), 40)
    player.judge(Stage.TOOL_CALL, ("allow_list", "arguments"), CALL)
    made = world.create(RunCreate.model_validate({"agent": "returns", "input": TASK, "session_id": parent.session_id}))
    callers = [Caller(run_id=parent.id, agent=parent.agent)]
    works_on = Parent(call_id=CALL, callers=callers, user_text=text_of(parent.input))
    world.runs[made.id] = made.model_copy(update={"parent": works_on})
    player.add(
        ev.ToolIntent(
            call_id=CALL,
            tool=TOOL,
            arguments={"task": TASK},
            key=f"{parent.id}:{player.step}:0",
            effect="keyed",
            args_sha256=hashlib.sha256(arguments.encode()).hexdigest(),
            policy_sha256=parent.policy_sha256,
            fence=1,
            performed_by=made.id,
        )
    )
    player.add(ev.RunReleased(status=RunStatus.WAITING_AGENT))
    return made


def _go_on(player: Player, child: Run) -> None:
    """What the run that asked does with the other one's answer."""
    told = text_of(child.output or [])
    returned = {"status": child.status, "output": child.output, "usage": child.usage}
    player.add(ev.AgentReturned.model_validate({"call_id": CALL, "performed_by": child.id, **returned}))
    player.add(ev.RunResumed(by="agent"))
    player.add(ev.RunStarted(worker="worker-1", fence=2), 0.2)
    player.add(ev.ToolResult(call_id=CALL, tool=TOOL, ok=True, content=told, seconds=child.usage.seconds))
    player.judge(Stage.TOOL_RESULT, ("normalise", "injection"), CALL)
    answer = "Yes, you can send the lamp back; a label is on its way to you."
    player.reply(answer)
    player.end(RunStatus.SUCCEEDED, StopReason.ANSWERED, output=answer)
