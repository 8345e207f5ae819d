"""``python -m agent dataset …``: creates training data for the tuner."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from agent.admin.logs import configured
from agent.admin.options import Project, Trusted
from agent.admin.output import tell

dataset = typer.Typer(no_args_is_help=True, help="Create training data for the tuner.")

Rows = Annotated[int, typer.Option(min=1, help="Number of rows.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed makes the same rows.")]
Out = Annotated[Path, typer.Option(help="Output file, JSON lines.")]


@dataset.command("lessons")
def dataset_lessons(
    out: Out,
    rows: Rows = 6000,
    seed: Seed = 0,
    examples: Annotated[bool, typer.Option(help="Include the agent's examples, as prompts do in production.")] = True,
    project: Project = None,
    trusted: Trusted = False,
) -> None:
    """Write conversations with correct answers from the project's lessons."""
    from agent.admin.lessons import write_lessons

    asyncio.run(write_lessons(configured(project=project), rows, seed, out, examples, tell, trusted=trusted))


@dataset.command("talks")
def dataset_talks(out: Out, seed: Seed = 0, project: Project = None) -> None:
    """Check the project's written talks against its tools, and write their rows."""
    from agent.admin.talks import write_talks

    asyncio.run(write_talks(configured(project=project), seed, out, tell))


@dataset.command("attempts")
def dataset_attempts(
    out: Out,
    rows: Rows = 1000,
    seed: Seed = 0,
    project: Project = None,
    trusted: Trusted = False,
) -> None:
    """Let a model play the project's lessons, and write its runs that end right.

    The model is that of FLIGHTLOOP_MODEL_URL, or the running platform's.
    """
    from rich.console import Console

    from agent.admin.lessons import write_attempts

    asyncio.run(write_attempts(configured(project=project), rows, seed, out, Console(), trusted=trusted))


@dataset.command("intents")
def dataset_intents(
    out: Out,
    rows: Rows = 3000,
    seed: Seed = 0,
    project: Project = None,
    trusted: Trusted = False,
) -> None:
    """Write customers' messages with their intents from the project's lessons."""
    from agent.admin.lessons import write_messages

    write_messages(configured(project=project), rows, seed, out, tell, trusted=trusted)


@dataset.command("export")
def dataset_export(
    out: Out,
    pairs: Annotated[Path | None, typer.Option(help="Also write preference pairs to this file.")] = None,
    agent: Annotated[str | None, typer.Option(help="Only runs of this agent.")] = None,
    rated: Annotated[bool, typer.Option("--rated", help="Only runs with a good outcome or rating.")] = False,
    tenant: Annotated[str, typer.Option(help="Tenant of the runs.")] = "default",
    project: Project = None,
) -> None:
    """Export successful runs as training rows; with --pairs, also preferences between runs of the same input."""
    from agent.admin.export import Wanted, export_runs

    asyncio.run(export_runs(configured(project=project), Wanted(tenant, agent, rated), out, pairs, tell))


@dataset.command("mask")
def dataset_mask(
    file: Annotated[Path, typer.Argument(help='Training rows, JSONL: {"messages": [...], "tools": [...]}.')],
    out: Out,
) -> None:
    """Replace personal data and keys by made-up values of the same kind, consistently within a row."""
    from agent.admin.masking import mask_file

    mask_file(file, out, tell)
