"""Command line of ``python -m agent erase``."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from agent.admin.logs import configured
from agent.admin.output import tell


def erase(
    subject: Annotated[str | None, typer.Option(help="Id of the person, as runs name their subject.")] = None,
    session: Annotated[str | None, typer.Option(help="Id of a session, such as an anonymous user's.")] = None,
    older_than: Annotated[str | None, typer.Option(help="All runs that ended so long ago, such as 90d.")] = None,
    tenant: Annotated[
        str | None, typer.Option(help="Tenant of the runs; default: default, with --older-than all tenants.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count only.")] = False,
    end_runs: Annotated[bool, typer.Option("--end-runs", help="Cancel runs that have not ended.")] = False,
    compact: Annotated[
        bool, typer.Option(help="Rewrite the database's files at the end; its other users wait meanwhile.")
    ] = True,
) -> None:
    """Erase texts, arguments, results and images of a person's runs, for good.

    The runs stay as tombstones: ids, times, usage, costs, outcomes and kinds of verdicts. A repetition continues an
    erasure that was interrupted. Exit with 1 if something is left.
    """
    from agent.admin.erase import Wish, erase_content

    wish = Wish(subject, session, older_than, tenant, dry_run, end_runs, compact)
    raise typer.Exit(0 if asyncio.run(erase_content(configured(), wish, tell)) else 1)
