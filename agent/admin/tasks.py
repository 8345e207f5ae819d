"""``python -m agent eval`` and ``regress``: a project's tasks, played; a recorded run, made one of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from agent.admin.logs import configured
from agent.admin.telling import tell
from flightloop.runs import RunStatus

Project = Annotated[Path | None, typer.Option(help="Folder of the project (FLIGHTLOOP_PROJECT).")]


def evaluate(
    tasks: Annotated[list[Path] | None, typer.Option(help="A task file; none: tasks/*.jsonl of the project.")] = None,
    agent: Annotated[str | None, typer.Option("--agent", "-a", help="Only tasks of this agent.")] = None,
    task: Annotated[list[str] | None, typer.Option(help="Only the task with this id.")] = None,
    repeat: Annotated[int, typer.Option(min=1, help="How often each is played.")] = 1,
    at_least: Annotated[float, typer.Option(min=0, max=1, help="Share to be solved; below it the exit code is 1.")] = 1,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print what was said in every task.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print what was said in none.")] = False,
    json: Annotated[Path | None, typer.Option("--json", help="Write what came out there.")] = None,
    project: Project = None,
) -> None:
    """Plays the project's tasks, each with data of its own, against FLIGHTLOOP_MODEL_URL or the model of the platform
    that runs. Prints what was said in those that are not solved, and exits 1 if there is one."""
    from agent.admin import evals

    if verbose and quiet:
        raise typer.BadParameter("give --verbose or --quiet, not both")
    show = evals.Show.ALL if verbose else evals.Show.NONE if quiet else evals.Show.FAILED
    wish = evals.Wish(tuple(tasks or ()), agent, frozenset(task or ()), repeat, at_least, json, show)
    raise typer.Exit(0 if asyncio.run(evals.evaluate(configured(project=project), wish)) else 1)


def regress(
    run_id: Annotated[str, typer.Argument(help="A run that has ended.")],
    answer: Annotated[list[str] | None, typer.Option(help="Regular expression that an answer has to match.")] = None,
    called: Annotated[
        list[str] | None, typer.Option(help="Call to be made: a tool, and arguments that count as JSON behind it.")
    ] = None,
    not_called: Annotated[list[str] | None, typer.Option(help="Call that may not be made, written alike.")] = None,
    ends: Annotated[RunStatus, typer.Option(help="How the run has to end.")] = RunStatus.SUCCEEDED,
    good: Annotated[bool, typer.Option("--good", help="The recorded run did right: it solves the task.")] = False,
    mask: Annotated[bool, typer.Option("--mask", help="Surrogates for personal data and keys.")] = False,
    task_id: Annotated[str | None, typer.Option("--id", help="The task's; none: the run's.")] = None,
    out: Annotated[Path | None, typer.Option(help="None: tasks/regressions.jsonl of the project.")] = None,
    tenant: Annotated[str, typer.Option(help="Whose run.")] = "default",
    project: Project = None,
) -> None:
    """Makes a task of a recorded run, failed ones above all, with what its tools answered. ``eval`` then plays it
    without performing a tool."""
    from agent.admin.regressions import Request, write_regression

    request = Request(run_id, tenant, answer or [], called or [], not_called or [], ends, good, mask, task_id, out)
    asyncio.run(write_regression(configured(project=project), request, tell))
