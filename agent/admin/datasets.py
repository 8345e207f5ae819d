"""``python -m agent dataset …``: data for the tuner."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from agent.admin.logs import configured
from agent.admin.telling import tell

dataset = typer.Typer(no_args_is_help=True, help="Data for the tuner.")

Project = Annotated[Path | None, typer.Option(help="Folder of the project (FLIGHTLOOP_PROJECT).")]
Out = Annotated[Path, typer.Option(help="File to write, JSON lines.")]


@dataset.command("lessons")
def dataset_lessons(
    out: Out,
    rows: Annotated[int, typer.Option(min=1)] = 6000,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    examples: Annotated[bool, typer.Option(help="Show the agent's examples, as its prompts do.")] = True,
    project: Project = None,
) -> None:
    """Conversations of the support agent with right answers, played over shops of other seeds than the tasks'."""
    from agent.admin.lessons import write_lessons

    asyncio.run(write_lessons(configured(project=project), rows, seed, out, examples, tell))


@dataset.command("intents")
def dataset_intents(
    out: Out,
    rows: Annotated[int, typer.Option(min=1)] = 3000,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    project: Project = None,
) -> None:
    """Messages of the support agent's customers with their intents, in other words than those that are measured."""
    from agent.admin.lessons import write_messages

    write_messages(configured(project=project), rows, seed, out, tell)


@dataset.command("export")
def dataset_export(
    out: Out,
    pairs: Annotated[Path | None, typer.Option(help="Also write pairs of a good and a bad decision there.")] = None,
    agent: Annotated[str | None, typer.Option(help="Only runs of this agent.")] = None,
    rated: Annotated[bool, typer.Option("--rated", help="Only runs that were found good.")] = False,
    tenant: Annotated[str, typer.Option(help="Whose runs.")] = "default",
    project: Project = None,
) -> None:
    """Runs that ended well, as training rows; with --pairs, preferences between runs of the same input."""
    from agent.admin.export import Wanted, export_runs

    asyncio.run(export_runs(configured(project=project), Wanted(tenant, agent, rated), out, pairs, tell))


@dataset.command("mask")
def dataset_mask(
    file: Annotated[Path, typer.Argument(help='Rows of the tuner, JSONL: {"messages": [...], "tools": [...]}.')],
    out: Out,
) -> None:
    """Personal data and keys become made-up ones of the same kind, the same everywhere in a row."""
    from agent.admin.masking import mask_file

    mask_file(file, out, tell)
