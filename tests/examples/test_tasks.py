"""The shop's tasks: each is unsolved in the untouched shop, and solved by the calls of data/support_oracle.json."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest

from agent.evals.databases import prepare
from agent.evals.judging import judge
from agent.evals.task import Task, load
from agent.evals.transcript import Transcript
from agent.project.project import EMBEDDED
from bench.support import CHINESE, STRANGERS
from examples.support.shop.database import FILE
from examples.support.shop.seed import reseed
from flightloop.subject import Subject
from flightloop.tool import ToolContext, ToolRefused
from tests.shop import SHOP
from tools.registry import Registry

TASKS = load(EMBEDDED / "tasks" / "support.jsonl")
SIGNED_IN = load(EMBEDDED / "tasks" / "signed_in.jsonl")
Step = tuple[str, dict[str, Any]] | str
DATA = Path(__file__).parent / "data"
ORACLE: dict[str, list[Step]] = json.loads((DATA / "support_oracle.json").read_text())
ORACLE_SIGNED_IN: dict[str, list[Step]] = json.loads((DATA / "signed_in_oracle.json").read_text())
REGISTRY = Registry.load(["examples.support.tools", "tools.builtin"])


def play(data: Path, steps: list[Step], subject: Subject | None = None) -> list[str]:
    """Performs the calls; what the tools say stands for what an agent would answer, or an answer stands itself."""
    said = []
    for index, step in enumerate(steps):
        if isinstance(step, str):
            said.append(step)
            continue
        name, arguments = step
        assert REGISTRY.problems(name, arguments) == []
        tool = REGISTRY.tool(name)
        context = ToolContext(
            f"run:{index}:0", "default", "support", "session", "run", data, project=SHOP, subject=subject
        )
        given = {tool.context_parameter: context} if tool.context_parameter else {}
        try:
            result = tool.function(**arguments, **given)
        except ToolRefused as refusal:
            result = str(refusal)
        assert not inspect.isawaitable(result)
        said.append(result if isinstance(result, str) else json.dumps(result))
    return said


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.id)
def test_a_task_is_solved_by_the_right_calls_and_only_by_them(task: Task, tmp_path: Path) -> None:
    reseed(tmp_path / FILE)
    prepare(tmp_path, task)
    untouched = judge(tmp_path, task, Transcript([""]))
    assert not untouched.solved
    assert untouched.problems
    said = play(tmp_path, ORACLE[task.id])
    assert judge(tmp_path, task, Transcript(said)).problems == ()
    if not untouched.state_right:
        return
    # Where nothing should change, a write is a failure, whatever is answered.
    play(tmp_path, [("hand_over", {"reason": "one write too many"})])
    assert not judge(tmp_path, task, Transcript(said)).state_right


@pytest.mark.parametrize("task", SIGNED_IN, ids=lambda task: task.id)
def test_a_task_of_a_signed_in_customer_is_solved_by_calls_about_their_own_orders(task: Task, tmp_path: Path) -> None:
    reseed(tmp_path / FILE)
    assert not judge(tmp_path, task, Transcript([""])).solved
    said = play(tmp_path, ORACLE_SIGNED_IN[task.id], task.subject)
    refused = "不是您的订单，无法处理。That is not your order. Das ist nicht Ihre Bestellung."
    assert judge(tmp_path, task, Transcript([*said, refused] if "other" in task.id else said)).problems == ()
    if "other" in task.id:  # the same calls of somebody who is not signed in show or change it
        reseed(tmp_path / FILE)
        assert judge(tmp_path, task, Transcript(play(tmp_path, ORACLE_SIGNED_IN[task.id]))).problems != ()


def test_every_task_of_a_signed_in_customer_has_a_subject() -> None:
    assert set(ORACLE_SIGNED_IN) == {task.id for task in SIGNED_IN}
    assert all(task.subject is not None for task in SIGNED_IN)
    assert [task.id for task in TASKS if task.subject is not None] == []


def test_no_task_of_a_stranger_is_solved_by_silence(tmp_path: Path) -> None:
    tasks = [*load(STRANGERS), *load(CHINESE)]
    assert len(tasks) == 166
    assert sum("zh-" in task.id for task in tasks) == 100
    reseed(tmp_path / FILE)
    for task in tasks:
        assert not task.setup
        assert not judge(tmp_path, task, Transcript([""])).solved, task.id


def test_there_are_enough_tasks_of_each_kind() -> None:
    assert len(TASKS) >= 120
    assert set(ORACLE) == {task.id for task in TASKS}
    kinds = {task.id.split("-")[0] for task in TASKS}
    of_orders, of_the_shop = (
        {"cancel", "refund", "address", "delivery", "order"},
        {"policy", "product", "refuse", "person", "talk"},
    )
    assert kinds == of_orders | of_the_shop | {"several"}
    assert sum(len(task.turns) > 1 for task in TASKS) >= 16
    assert any(task.setup for task in TASKS)
