from __future__ import annotations

import json

import pytest

from flightloop.errors import ConfigError
from model.tuner.data.contamination import decontaminated
from model.tuner.data.measured import read_measured
from model.tuner.data.row import row, said, tool

SPARROW = "Count the sparrows on the old roof of the boathouse at noon"


def lines(path, *values):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(value) for value in values), encoding="utf-8")


def asked(*texts, tools=()):
    return row("own", [each for text in texts for each in (said("user", text), said("assistant", "Yes"))], tools)


@pytest.fixture
def leaderboard(tmp_path):
    function = {"name": "count", "description": "", "parameters": {"type": "dict", "properties": {"bird": {}}}}
    question = [[{"role": "system", "content": "Be short"}, {"role": "user", "content": SPARROW}]]
    lines(tmp_path / "data" / "A.json", {"id": "a_0", "question": question, "function": [function]})
    lines(tmp_path / "data" / "possible_answer" / "A.json", {"id": "a_0", "question": "Never read this at all"})
    (tmp_path / "data" / "odd.json").write_text("{\n}")
    return read_measured(f"bfcl={tmp_path / 'data'}")


def test_rows_with_eight_words_of_a_case_are_taken_out(leaderboard):
    rows = [
        asked("Hello", "please count THE sparrows on the old roof, of the ship"),
        asked("count the sparrows on the old roof again"),
    ]
    made = decontaminated(rows, [leaderboard])
    assert made.rows == (rows[1],)
    ((_, match),) = made.taken
    assert (match.measured, match.place, match.how) == ("bfcl", "A.json, a_0", "8 words")


def test_rows_that_are_similar_to_a_case_are_taken_out(tmp_path):
    lines(tmp_path / "tasks.jsonl", {"id": "t-1", "turns": [{"user": "Stop parcel 17 now"}, {"user": "Thank you"}]})
    measured = read_measured(str(tmp_path / "tasks.jsonl"))
    rows = [asked("stop parcel 17 now, thank you!"), asked("Thank you"), asked("Where is parcel 17 today, or now?")]
    made = decontaminated(rows, [measured])
    assert made.rows == tuple(rows[1:])
    assert [match.how for _, match in made.taken] == ["similar"]


def test_functions_of_a_set_are_counted_and_their_rows_kept(leaderboard):
    same, other = tool("count", "", {"bird": {}}), tool("count", "", {"fish": {}})
    made = decontaminated([asked("Hi", tools=[same]), asked("Ho", tools=[other])], [leaderboard])
    assert len(made.rows) == 2
    assert made.shared == {("bfcl", "count"): 1}


def test_of_tau2_the_test_tasks_count(tmp_path):
    (tmp_path / "split_tasks.json").write_text(json.dumps({"train": ["1"], "test": ["2"]}))
    tasks = [
        {"id": name, "user_scenario": {"persona": None, "instructions": {"reason_for_call": f"{SPARROW} {name}"}}}
        for name in "12"
    ]
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    measured = read_measured(f"tau2={tmp_path}")
    assert [case.texts for case in measured.cases] == [(f"{SPARROW} 2",)]


def test_of_agentdojo_prompts_and_goals_count(tmp_path):
    path = tmp_path / "suite" / "user_tasks.py"
    path.parent.mkdir()
    path.write_text(
        "ROOF = 'the old roof'\n"
        "class One:\n    BIRD: str = 'sparrows'\n    PROMPT = f'Count {BIRD} on {ROOF}, {1 + 1} times'\n"
        "class Two:\n    GOAL = 'Feed ' 'them'\n    OTHER = 3\n"
        "class Base:\n    pass\n"
    )
    measured = read_measured(f"agentdojo={tmp_path}")
    assert [case.texts for case in measured.cases] == [("Count sparrows on the old roof,  times",), ("Feed them",)]


def test_rows_and_branches_of_tasks_are_read(tmp_path):
    path = tmp_path / "set.jsonl"
    branch = {"default": "It is 17", "if_asked": {"email": "a@example.com"}}
    lines(
        path, {"turns": [{"user": branch}]}, {"messages": [said("user", "Hi"), said("assistant", "Ho")]}, {"text": "Hm"}
    )
    measured = read_measured(f"rows={path}")
    assert [case.texts for case in measured.cases] == [("It is 17", "a@example.com"), ("Hi",), ("Hm",)]


@pytest.mark.parametrize(
    "given", ["nothing={}", "bfcl={}", "tau2={}", "agentdojo={}", "{}/no.jsonl", "tasks={}/x.jsonl"]
)
def test_a_set_that_cannot_be_read_is_refused(tmp_path, given):
    (tmp_path / "x.jsonl").write_text("{}")
    with pytest.raises(ConfigError, match=str(tmp_path)):
        read_measured(given.format(tmp_path))
