"""Renders an attempt at a task: messages, calls, answers, and the reasons why it was not solved."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group
from rich.padding import Padding
from rich.text import Text

from agent.evals.play import Played
from agent.evals.transcript import Exchange
from flightloop.cli.render import event_line, short
from flightloop.content import text_of
from flightloop.events import ApprovalRequested, CallsDecided, Replied, RunEvent


def dialogue(played: Played, attempt: int = 1) -> Group:
    """Renders a task's run in the format of ``flightloop show``. ``attempt``: number of the attempt, from 1."""
    mark = ("✓ ", "bold green") if played.solved else ("✗ ", "bold red")
    again = f"  attempt {attempt}" if attempt > 1 else ""
    head = Text.assemble(mark, (played.task.id, "bold"), (f"  {played.where}{again}", "dim"))
    lines = [line for exchange in played.exchanges for line in _lines(exchange)]
    why = [Text.assemble(("why    ", "bold red"), problem) for problem in played.problems]
    return Group(head, Padding(Group(*lines, *why), (0, 0, 1, 2)))


def _lines(exchange: Exchange) -> Iterator[Text]:
    yield Text.assemble(("user   ", "bold magenta"), short(text_of(exchange.run.input)))
    said = ""
    for event in exchange.events:
        said = event.text if isinstance(event, Replied) else said
        line = _line(event)
        if line is not None:
            yield line
    answer = text_of(exchange.run.output or [])
    if answer and answer.strip() != said.strip():  # changed by a guardrail
        yield Text.assemble(("answer ", "bold"), short(answer))


def _line(event: RunEvent) -> Text | None:
    match event:
        case ApprovalRequested():  # the event's usual line names a command, which is useless here
            call = f"{event.tool}({short(event.arguments)})"
            return Text.assemble(("ask    ", "bold yellow"), f"{call}: {event.reason}")
        case CallsDecided(problem=str(problem)):
            return Text.assemble(("decide ", "bold"), (f"unusable: {short(problem)}", "red"))
        case _:
            return event_line(event)
