"""``python -m agent eval``, ``redteam``, ``regress`` and ``tune``: commands about a project's quality."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from agent.admin.logs import configured
from agent.admin.options import Project, Trusted
from agent.admin.output import tell
from flightloop.runs import RunStatus


def evaluate(
    tasks: Annotated[list[Path] | None, typer.Option(help="A task file; default: the project's tasks/*.jsonl.")] = None,
    agent: Annotated[str | None, typer.Option("--agent", "-a", help="Only tasks of this agent.")] = None,
    task: Annotated[list[str] | None, typer.Option(help="Only the task with this id.")] = None,
    repeat: Annotated[int, typer.Option(min=1, help="How often to play each task.")] = 1,
    at_least: Annotated[float, typer.Option(min=0, max=1, help="Share that must be solved, else exit with 1.")] = 1,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print the conversation of every task.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print no conversation.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Only check the task files; needs no model.")] = False,
    json: Annotated[Path | None, typer.Option("--json", help="Write the results to this file.")] = None,
    project: Project = None,
) -> None:
    """Play the project's tasks, each with its own data, against FLIGHTLOOP_MODEL_URL or the running platform's model.
    Print the conversations of unsolved tasks, and exit with 1 if there are any."""
    from agent.admin import evals

    if verbose and quiet:
        raise typer.BadParameter("use --verbose or --quiet, not both")
    show = evals.Show.ALL if verbose else evals.Show.NONE if quiet else evals.Show.FAILED
    wish = evals.Wish(tuple(tasks or ()), agent, frozenset(task or ()), repeat, at_least, json, show)
    if check:
        raise typer.Exit(0 if evals.check(configured(project=project), wish) else 1)
    raise typer.Exit(0 if asyncio.run(evals.evaluate(configured(project=project), wish)) else 1)


def attack(
    url: Annotated[
        str | None,
        typer.Option(help="Attack with the OpenAI-compatible model at this URL instead of the script."),
    ] = None,
    agent: Annotated[str | None, typer.Option("--agent", "-a", help="Only this agent; default: all.")] = None,
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="Rounds; each has other words and values.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same attacks.")] = 1,
    json: Annotated[
        Path | None, typer.Option("--json", help="Write all attacks and how they ended to this file.")
    ] = None,
    project: Project = None,
) -> None:
    """Attack the project's agents with their own tools and policies, on temporary data. No model is needed: a script
    obeys whatever it reads. Exit with 1 if a call passed without an approval, or no attack was reached."""
    from agent.admin import redteam

    wish = redteam.Wish(rounds, seed, agent, url, json)
    raise typer.Exit(0 if asyncio.run(redteam.redteam(configured(project=project), wish)) else 1)


def regress(
    run_id: Annotated[str, typer.Argument(help="An ended run.")],
    answer: Annotated[list[str] | None, typer.Option(help="Regular expression that an answer must match.")] = None,
    called: Annotated[
        list[str] | None, typer.Option(help="Call that must be made: a tool, and optionally arguments as JSON.")
    ] = None,
    not_called: Annotated[list[str] | None, typer.Option(help="Call that must not be made, in the same form.")] = None,
    ends: Annotated[RunStatus, typer.Option(help="Status with which the run must end.")] = RunStatus.SUCCEEDED,
    good: Annotated[bool, typer.Option("--good", help="The recorded run was right: it must solve the task.")] = False,
    mask: Annotated[bool, typer.Option("--mask", help="Replace personal data and keys.")] = False,
    task_id: Annotated[str | None, typer.Option("--id", help="Id of the task; default: the run's.")] = None,
    out: Annotated[Path | None, typer.Option(help="Task file; default: the project's tasks/regressions.jsonl.")] = None,
    tenant: Annotated[str, typer.Option(help="Tenant of the run.")] = "default",
    project: Project = None,
) -> None:
    """Turn a recorded run, usually a failed one, into a task with the results of its tools. The command
    eval plays it without calling tools."""
    from agent.admin.regressions import Request, write_regression

    request = Request(run_id, tenant, answer or [], called or [], not_called or [], ends, good, mask, task_id, out)
    asyncio.run(write_regression(configured(project=project), request, tell))


def tune(
    out: Annotated[
        Path | None, typer.Option(help="Folder of rows and checkpoint; default: tuning, in FLIGHTLOOP_HOME.")
    ] = None,
    lessons: Annotated[int, typer.Option(min=8, help="Rows of the project's lessons.")] = 400,
    tenant: Annotated[str, typer.Option(help="Tenant of the runs.")] = "default",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the rows and of their order.")] = 0,
    force: Annotated[str | None, typer.Option(help="REASON: use the new experts even if they are worse.")] = None,
    trusted: Trusted = False,
    project: Project = None,
) -> None:
    """Train the embedded model on a project's lessons and good runs, and use the experts if they are no worse."""
    from agent.admin.tuning import Wish, tune_project

    settings = configured(project=project)
    wish = Wish(out or settings.home / "tuning", lessons, tenant, seed, force, trusted)
    asyncio.run(tune_project(settings, wish, tell))
