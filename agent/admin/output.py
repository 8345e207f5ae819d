"""Prints and writes the output of commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from flightloop.errors import ConfigError
from flightloop.shown import shown


def tell(text: str) -> None:
    """Prints a text. Escapes control characters, since it may contain text of servers, tasks and users."""
    typer.echo(shown(text))


def write_json(path: Path, document: Any) -> None:
    """Writes a document, and creates the file's folder. Raises ConfigError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror})") from error
