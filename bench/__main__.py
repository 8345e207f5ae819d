"""``python -m bench NAME --json FILE``: measures, prints a table, writes rows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench.platform import PlatformFailed
from bench.rows import Row, show, write
from bench.tasks import TaskError
from flightloop.errors import FlightloopError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Measurements.")
Json = Annotated[Path | None, typer.Option("--json", help="Write the rows there.")]
Port = Annotated[int, typer.Option(help="Port for the platform that is started.")]


@app.command()
def support(
    json: Json = None,
    tasks: Annotated[Path | None, typer.Option(help="A task file, JSONL; none: the one of the repository.")] = None,
    port: Port = 8000,
) -> None:
    """Customer-service tasks with a verified end state."""
    from bench.support import measure

    console = Console()
    _finish(measure(console, tasks, port), console, json, "support")


@app.command()
def scaling(json: Json = None, port: Port = 8000) -> None:
    """Replicas under the load of 16 streams, and after it."""
    from bench.scaling import measure

    console = Console()
    _finish(measure(console, port), console, json, "scaling")


@app.command()
def stopping(json: Json = None, port: Port = 8000) -> None:
    """Tokens and time after the emergency stop."""
    from bench.stopping import measure

    console = Console()
    _finish(measure(console, port), console, json, "stopping")


def _finish(rows: list[Row], console: Console, json: Path | None, title: str) -> None:
    show(rows, console, title)
    if json:
        write(rows, json)


def main() -> None:
    try:
        app(prog_name="python -m bench")
    except (TaskError, PlatformFailed, FlightloopError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
