"""Judges whether a task was solved: by the end state of its right actions, and by information the user had to get."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from bench.retail.documents import FILE, State, renew, state
from bench.retail.tasks import Action, Task
from flightloop.tool import ToolContext, ToolRefused
from tools.registry import Registry

TOOLS_MODULE = "bench.retail.tools"


@dataclass(frozen=True)
class Gold:
    """Result of a task's right actions.

    Attributes:
        end: all documents afterwards.
        changed: ids of the documents that differ from the initial shop.
        refused: actions that a tool refused, with its message; tau2-bench ignores such actions too.
    """

    end: State
    changed: tuple[str, ...]
    refused: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """Verdict on a conversation. ``problems``: sentences on what is wrong or was not said."""

    state_right: bool
    told_right: bool
    problems: tuple[str, ...] = field(default=())

    @property
    def solved(self) -> bool:
        return self.state_right and self.told_right


def replay(shop: bytes, actions: Sequence[Action]) -> Gold:
    """Performs actions in order with the agent's own tools on a separate shop.

    Args:
        shop: an image (`bench.retail.documents.image`).
        actions: the task's actions.
    """
    with tempfile.TemporaryDirectory(prefix="flightloop-bench-") as name:
        folder = Path(name)
        renew(folder / FILE, shop)
        before = state(folder / FILE)
        refused = [why for number, action in enumerate(actions) if (why := _refusal(folder, number, action))]
        end = state(folder / FILE)
    changed = [name for (kind, name), document in end.items() if document != before[kind, name]]
    return Gold(end, tuple(changed), tuple(refused))


def judge(end: State, answers: Sequence[str], gold: Gold, task: Task) -> Verdict:
    """Judges a conversation.

    Args:
        end: the shop's documents after the conversation.
        answers: all answers of the agent.
    """
    wrong = [
        f"{kind} {name}: {_differing(end.get((kind, name), {}), wanted)} not as expected"
        for (kind, name), wanted in gold.end.items()
        if end.get((kind, name)) != wanted
    ]
    said = [_plain(answer) for answer in answers]
    unsaid = [info for info in task.told if not any(_plain(info) in answer for answer in said)]
    problems = [*wrong, *(f"no answer says {info!r}" for info in unsaid)]
    return Verdict(not wrong and len(end) == len(gold.end), not unsaid, tuple(problems))


@cache
def _registry() -> Registry:
    return Registry.load([TOOLS_MODULE])


def _refusal(folder: Path, number: int, action: Action) -> str | None:
    registry = _registry()
    if action.name not in registry:
        return f"{action.name}: there is no such tool"
    if problems := registry.problems(action.name, action.arguments):
        return f"{action.name}: {'; '.join(problems)}"
    tool = registry.tool(action.name)
    context = ToolContext(f"gold:{number}:0", "default", "retail", "gold", "gold", folder)
    given = {tool.context_parameter: context} if tool.context_parameter else {}
    try:
        tool.function(**action.arguments, **given)
    except ToolRefused as refused:
        return f"{action.name}: {refused}"
    return None


def _differing(found: object, wanted: object) -> str:
    if not isinstance(found, dict) or not isinstance(wanted, dict):
        return "all"
    return ", ".join(sorted(name for name in found | wanted if found.get(name) != wanted.get(name)))


def _plain(text: str) -> str:
    """Normalises like tau2-bench: ignores case, and turns 1,234.50 into 1234.50."""
    return text.casefold().replace(",", "")
