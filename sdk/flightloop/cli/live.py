"""Follows a run in the terminal, step by step, with streamed text."""

from __future__ import annotations

from rich.console import Console

from flightloop import Flightloop
from flightloop import events as ev
from flightloop.cli.render import event_line, usage_line
from flightloop.content import text_of
from flightloop.errors import ConnectionFailed
from flightloop.runs import Run


def follow(client: Flightloop, console: Console, run_id: str, *, after: int = 0, reply: bool = True) -> Run:
    """Prints a run's events until it has ended, and returns the run.

    Args:
        reply: False: the caller shows the answer in another form.

    Raises:
        ConnectionFailed: the server can't be reached any more; the message says that the run continues.
    """
    try:
        return _follow(client, console, run_id, after, reply)
    except ConnectionFailed as lost:
        raise ConnectionFailed(f"{lost.message} The run continues on the server: flightloop show {run_id}") from lost


def _follow(client: Flightloop, console: Console, run_id: str, after: int, reply: bool) -> Run:
    saying = said = ""
    for event in client.runs.stream(run_id, after=after):
        if isinstance(event, ev.DeltaEvent):
            console.print(event.text, end="", markup=False, highlight=False, style="italic")
            saying += event.text
            continue
        if saying:
            console.print()
        line = None if isinstance(event, ev.Replied) and saying.strip() == event.text.strip() else event_line(event)
        saying, said = "", saying or (event.text if isinstance(event, ev.Replied) else said)
        if line is not None and (reply or not isinstance(event, ev.Replied)):
            console.print(line)
    run = client.runs.get(run_id)
    answer = text_of(run.output or [])
    if answer.strip() != said.strip():  # changed by a guardrail, or partial text of a run that was ended
        console.print()
        console.print(answer, markup=False)
    console.print(usage_line(run))
    return run
