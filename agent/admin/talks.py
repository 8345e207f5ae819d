"""Written talks of a project, ``lessons/talks/AGENT.yaml``: conversations with its agents and tools."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from agent.config import Settings
from agent.lessons.project_lessons import FOLDER
from agent.project.agent_spec import AgentSpec
from agent.project.project import Project
from agent.serve.factories import read_project
from flightloop.errors import ConfigError, NotFound
from guardrails.guard import Guard
from guardrails.types import GuardContext
from model.tuner.data.clean import cleaned, fault
from model.tuner.data.row import Row, row, write_rows
from model.tuner.data.talks import PLANS
from model.tuner.data.talks import tell as tell_talk

TALKS = Path(FOLDER) / "talks"


async def talk_rows(project: Project, seed: int) -> list[Row]:
    """Rows of all talks of a project, a row per turn; none if it has no talks.

    Args:
        seed: seed of which turns begin with a plan, if the agent plans.

    Raises:
        ConfigError: a file can't be read or names no agent, or a talk is wrong; the message says where.
    """
    rows: list[Row] = []
    for path in sorted((project.folder / TALKS).glob("*.yaml")):
        try:
            agent = project.agent(path.stem)
        except NotFound as error:
            raise ConfigError(f"{path}: {error.message}; a file has its agent's name", param="talks") from error
        rows += await _rows(project, agent, path, random.Random(f"{seed} {path.stem}"))
    return rows


async def write_talks(settings: Settings, seed: int, out: Path, tell: Callable[[str], None]) -> None:
    """Writes the rows as JSON lines. Raises ConfigError as `talk_rows`, or if the project has no talks."""
    project = read_project(settings)
    rows = await talk_rows(project, seed)
    if not rows:
        raise ConfigError(f"{project.folder / TALKS} has no talks; write some in AGENT.yaml (docs/tuning.md)")
    write_rows(out, rows)
    tell(f"{len(rows)} rows in {out}")


async def _rows(project: Project, agent: AgentSpec, path: Path, source: random.Random) -> list[Row]:
    writes = frozenset(name for name in agent.tools if project.registry.get(name).writes)
    guard = Guard(project.policy_of(agent))
    offered = await guard.narrow(project.registry.definitions(agent.tools), GuardContext(agent=agent.name), writes)
    tools = [each.model_dump(mode="json", exclude_none=True) for each in offered]
    names = {each.function.name for each in offered}
    opening = [{"role": "system", "content": agent.instructions.strip()}]
    rows: list[Row] = []
    for number, talk in enumerate(_read(path), 1):
        try:
            told = tell_talk(talk, names, opening, source, sessions=1.0, plans=PLANS if agent.planning else 0.0)
            made = [row("talks", messages, tools, intent=f"{agent.name} {number}") for messages in told]
            if wrong := next(filter(None, map(fault, map(cleaned, made))), None):
                raise ValueError(wrong)
        except ValueError as error:
            raise ConfigError(f"{path}, talk {number}: {error}", param="talks") from error
        rows += made
    return rows


def _read(path: Path) -> list[Any]:
    try:
        talks = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})", param="talks") from error
    if not isinstance(talks, list) or not talks:
        raise ConfigError(f"{path}: must be a list of talks, each a list of steps", param="talks")
    return talks
