"""Task files: what is read of them, what is told of mistakes, and how rows and answers are compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.evals.databases import prepare
from agent.evals.judging import judge
from agent.evals.task import Task, TaskError, Turn, load
from agent.evals.transcript import Transcript
from examples.support.shop.database import FILE
from examples.support.shop.seed import reseed


def test_a_turn_branches_on_what_was_asked() -> None:
    turn = Turn.model_validate({"user": {"default": "Order 7.", "if_asked": {"email": "a@b.example"}}})
    assert turn.text("What is your Email?") == "a@b.example"
    assert turn.text("Which order?") == "Order 7."
    assert turn.text("Your emails?") == "Order 7."
    assert turn.text("请提供您的email地址") == "a@b.example"
    chinese = Turn.model_validate({"user": {"default": "10007", "if_asked": {"邮箱": "a@b.example"}}})
    assert chinese.text("请提供您的邮箱地址。") == "a@b.example"
    assert Turn.model_validate({"user": "Hello"}).text("What is your email?") == "Hello"


GOOD = {"id": "a", "agent": "support", "turns": [{"user": "x"}], "expect": [{"sql": "SELECT 1", "rows": [[1]]}]}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["", json.dumps(GOOD), "{"], ":3: not JSON"),
        ([json.dumps(GOOD), json.dumps(GOOD)], ":2: id 'a' is already used in line 1"),
        ([json.dumps({**GOOD, "turns": []})], ":1: turns"),
        ([json.dumps({**GOOD, "exspect": []})], ":1: exspect"),
        ([json.dumps({**GOOD, "answer": ["("]})], ":1: answer"),
        ([json.dumps({**GOOD, "expect": [{"sql": "SELECT 1"}]})], ":1: expect.0.rows"),
        (["[]"], ":1: must be a JSON object"),
        (["[" * 100_000], ":1: not a task: its JSON is nested too deeply"),
        ([f'{{"id": {"1" * 5000}}}'], ":1: not a task: a number has too many digits"),
        ([json.dumps({**GOOD, "call": []})], ":1: call: no such field; did you mean called?"),
        (
            [json.dumps({**GOOD, "database": "../shop.db"})],
            ":1: database: must be a relative path within the tools' data",
        ),
        ([""], "contains no task"),
    ],
)
def test_a_wrong_file_is_told_with_its_line(lines: list[str], said: str, tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text("\n".join(lines))
    with pytest.raises(TaskError) as caught:
        load(path)
    assert said in str(caught.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="can't be read"):
        load(tmp_path / "none.jsonl")


def test_wrong_sql_is_told_with_the_task_and_leaves_nothing(tmp_path: Path) -> None:
    reseed(tmp_path / FILE)
    setup = ["DELETE FROM refunds", "DELETE FROM nothing"]
    task = Task.model_validate(
        {**GOOD, "setup": setup, "expect": [{"sql": "SELECT COUNT(*) > 0 FROM refunds", "rows": [[1]]}]}
    )
    with pytest.raises(TaskError, match="task a: setup 'DELETE FROM nothing'"):
        prepare(tmp_path, task)
    assert judge(tmp_path, task, Transcript([])).solved
    broken = Task.model_validate({**GOOD, "expect": [{"sql": "SELECT x", "rows": []}]})
    with pytest.raises(TaskError, match="task a: expect 'SELECT x'"):
        judge(tmp_path, broken, Transcript([]))


@pytest.mark.parametrize(
    ("rows", "right"),
    [([[1, "a", None, 0.3]], True), ([[1.0, "a", None, 0.3]], True), ([[1, "a", None]], False), ([], False),
     ([["1", "a", None, 0.3]], False), ([[1, "A", None, 0.3]], False), ([[1, "a", "", 0.3]], False),
     ([[1, "a", None, 0.31]], False)],
)  # fmt: skip
def test_rows_are_compared_by_value_and_type(rows: list[list[Any]], right: bool, tmp_path: Path) -> None:
    reseed(tmp_path / FILE)
    task = Task.model_validate({**GOOD, "expect": [{"sql": "SELECT 1, 'a', NULL, 0.1 + 0.2", "rows": rows}]})
    assert judge(tmp_path, task, Transcript([])).solved is right


def test_answers_are_searched_together_whatever_the_case(tmp_path: Path) -> None:
    reseed(tmp_path / FILE)
    task = Task.model_validate({**GOOD, "answer": ["thirty days", "free"]})
    assert judge(tmp_path, task, Transcript(["Within THIRTY days.", "It is free."])).solved
    judgement = judge(tmp_path, task, Transcript(["Within thirty days."]))
    assert (judgement.solved, judgement.state_right, judgement.answer_right) == (False, True, False)
    assert judgement.problems == ("no answer matches 'free'",)
