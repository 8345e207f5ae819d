"""Written conversations: those of desks (offices, small businesses, programs), and talk without tools.

Composed conversations fill templates: an answer says what its tool's template says, whatever was asked. The
conversations in ``model/tuner/desks`` are written one by one: an answer tells what was asked. A file has the
system messages, the tools and the `talks <model.tuner.data.talks>` of a desk.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from flightloop.errors import ConfigError
from model.tuner.data.row import Message, Row, Tool, row, tool
from model.tuner.data.talks import tell

DESKS = Path(__file__).parents[1] / "desks"
DRAWN_SYSTEM = 0.25
"""Share of the talks whose system message is drawn; the others have the desk's first one."""


def desk_files(folder: Path, held_out: Sequence[str], only: bool) -> list[Path]:
    """Files of a folder's desks without, or with only, the held-out ones.

    Raises:
        ConfigError: a held-out desk doesn't exist, or no desk is left.
    """
    found = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    if unknown := [name for name in held_out if name not in found]:
        raise ConfigError(f"{folder} has no desk {unknown[0]}", param="held_out")
    chosen = [path for name, path in found.items() if (name in held_out) == only]
    if not chosen:
        raise ConfigError("no desk is left; check --held-out" if found else f"{folder} has no desks", param="held_out")
    return chosen


def desk_rows(files: Sequence[Path], seed: int) -> Iterator[Row]:
    """Rows of desks; another seed tells other talks as sessions.

    Raises:
        ConfigError: a file can't be read, or a talk is wrong; the message says where.
    """
    for path in files:
        source = random.Random(f"{seed} {path.stem}")
        desk = _read(path)
        tools = [_tool(each) for each in desk["tools"]]
        for number, talk in enumerate(desk["talks"], 1):
            opening = _opening(desk["systems"], bool(tools), source)
            try:
                told = tell(talk, {each["function"]["name"] for each in tools}, opening, source)
            except ValueError as error:
                raise ConfigError(f"{path}, talk {number}: {error}", param="desks") from error
            for messages in told:
                yield row("desks", messages, tools, intent=f"{path.stem} {number}")


def _read(path: Path) -> dict[str, Any]:
    try:
        desk: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        for each in desk["tools"]:
            _tool(each)
        if not desk["systems"] or not desk["talks"]:
            raise ValueError("systems and talks must not be empty")
    except (OSError, yaml.YAMLError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"{path}: {type(error).__name__} {error}", param="desks") from error
    return desk


def _opening(systems: Sequence[str], has_tools: bool, source: random.Random) -> list[Message]:
    """The system message; mostly the first one where there are tools, which then begin the prompts of most talks."""
    system = systems[0] if has_tools and source.random() >= DRAWN_SYSTEM else source.choice(systems)
    return [{"role": "system", "content": system.strip()}] if system.strip() else []


def _tool(given: dict[str, Any]) -> Tool:
    parameters = given.get("parameters") or {}
    properties = {
        name: {("description" if key == "about" else key): value for key, value in form.items() if key != "optional"}
        for name, form in parameters.items()
    }
    required = [name for name, form in parameters.items() if not form.get("optional")]
    return tool(given["name"], given["about"], properties, required)
