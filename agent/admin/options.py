"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Project = Annotated[Path | None, typer.Option(help="Folder of the project (FLIGHTLOOP_PROJECT).")]
Trusted = Annotated[
    bool,
    typer.Option("--trusted", help="Run the code of your own project in this process, without the sandbox."),
]
