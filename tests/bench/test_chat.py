"""Ordinary questions and what counts as an answer to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.evals.task import TaskError
from bench.chat import Question, read

HAMLET = Question("fact-1", [{"role": "user", "content": "Who wrote Hamlet?"}], [["Shakespeare"]], ["Marlowe"])


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("It was William SHAKESPEARE.", True),
        ("Goethe.", False),
        ("Shakespeare, or perhaps Marlowe.", False),
        ("I don’t know, maybe Shakespeare.", False),
        ('{"name": "search", "arguments": {"q": "Shakespeare"}}', False),
        ("None of the tools I have can tell about Shakespeare.", False),
        ("", False),
    ],
)
def test_an_answer_says_what_is_expected_and_evades_nothing(answer: str, right: bool) -> None:
    assert HAMLET.judge(answer) == right


def test_each_group_needs_one_of_its_words() -> None:
    both = Question("code-1", [], [["def "], ["return", "yield"]], [])
    assert both.judge("def f(x):\n    return x")
    assert not both.judge("return x")


def test_questions_are_distinct_and_none_is_answered_by_an_evasion() -> None:
    questions = read()
    assert len({question.id for question in questions}) == len(questions) == 100
    assert sum(question.id.startswith("zh-") for question in questions) == 30
    assert len({str(question.messages) for question in questions}) == 100
    for evasion in ("", "I can't help with that.", "I have no tool for that.", "抱歉，我没有合适的工具。"):
        assert not [question.id for question in questions if question.judge(evasion)]


@pytest.mark.parametrize("line", ["{", '{"id": "a"}', "[]"])
def test_a_wrong_file_is_told(line: str, tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl"
    path.write_text(line)
    with pytest.raises(TaskError, match="cannot be read"):
        read(path)
