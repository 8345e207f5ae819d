"""Where the commands' words go: what servers, tasks and users wrote steers no terminal."""

from __future__ import annotations

import typer

from flightloop.shown import shown


def tell(text: str) -> None:
    typer.echo(shown(text))
