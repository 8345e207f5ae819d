"""``python -m model.weights NAME`` downloads an embedded model before the first start."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from flightloop.errors import ConfigError
from model.config import STANDARD, ModelConfig
from model.weights.files import model_path


def main(
    model: Annotated[str, typer.Argument(help="standard, large, edge, or a repository on the hub.")] = STANDARD,
) -> None:
    """Downloads a model, checks it, and prints its path."""
    try:
        print(model_path(ModelConfig(model)))
    except ConfigError as error:
        sys.exit(f"error: {error.message}")


if __name__ == "__main__":
    typer.run(main)
