"""The example project, as tests of the platform use it: its data, and a stage for its lessons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agent.lessons.mix import Lessons
from agent.lessons.stage import Stage
from agent.project.project import EMBEDDED, Project
from agent.project.project_file import read_project_file
from examples.support.shop.database import FILE
from examples.support.shop.seed import Recipe, reseed

SHOP = read_project_file(EMBEDDED).data(EMBEDDED)


def stage_of(project: Project, data: Path) -> Stage:
    """A stage that many tests share: cases look for orders in the state that they need."""
    reseed(data / FILE, Recipe(seed=5, first_order=40_001))
    return Stage(project, project.agent("support"), data)


async def rows_of(project: Project, count: int, seed: int = 3, examples: bool = False) -> list[dict[str, Any]]:
    rows = []
    async for row in Lessons(project, seed, examples).rows():
        rows.append(row)
        if len(rows) == count:
            return rows
    raise AssertionError("rows have no end")


def decisions(row: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in row["messages"] if one["role"] == "assistant" and one.get("weight") != 0]
