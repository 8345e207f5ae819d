"""Prints the output of commands. Escapes control characters, since it contains text of servers, tasks and users."""

from __future__ import annotations

import typer

from flightloop.shown import shown


def tell(text: str) -> None:
    typer.echo(shown(text))
