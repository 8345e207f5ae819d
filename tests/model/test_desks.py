"""Written conversations of desks: how talks are told, and that the shipped ones are without faults."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from flightloop.errors import ConfigError
from model.tuner.data.clean import cleaned, fault
from model.tuner.data.desks import DESKS, desk_files, desk_rows
from model.tuner.data.row import Message, Row, calls_of
from model.tuner.data.talks import Step

FIND = {"name": "find", "about": "Find a booking.", "parameters": {"query": {"type": "string", "about": "its number"}}}
MOVE = {
    "name": "move",
    "about": "Move a booking.",
    "parameters": {
        "booking": {"type": "integer"},
        "day": {"type": "string"},
        "paid": {"type": "boolean", "optional": True},
    },
}
OWED: list[Step] = [
    {"user": "What do I owe for 5512?", "goal": "tell the price of 5512"},
    {"call": "find", "with": {"query": "5512"}, "gives": [{"booking": 5512, "price": "84.00 EUR", "shelf": "K7731"}]},
    {"say": "You owe 84.00 EUR for booking 5512."},
]
MOVED: list[Step] = [
    {"user": "ok. saturday instead?", "goal": "move 5512 to Saturday"},
    {"call": "move", "with": {"booking": 5512, "day": "Saturday"}, "refuses": "We are closed on Saturday."},
    {"say": "That's not possible: we are closed on Saturday."},
]
SHELF: list[Step] = [{"user": "and the shelf?", "goal": "tell the shelf"}, {"say": "It is on K7731, say 7731."}]
CHINESE: list[Step] = [
    {"user": "5513 什么时候还？", "goal": "查 5513"},
    {"call": "find", "with": {"query": "5513"}, "gives": [{"booking": 5513, "back": "周六下午四点"}]},
    {"say": "请放心，还早。"},
    {"user": "几点啊", "goal": "说时间"},
    {"say": "周六下午四点。"},
]
EMPTY: list[Step] = [
    {"user": "is it empty?", "goal": "look at the shelf"},
    {"call": "find", "with": {"query": "K7731"}, "gives": {"shelf": "K7731", "empty": True}},
    {"say": "Yes, it is."},
]


def told(folder: Path, *talks: list[Step], seed: int = 0) -> list[Row]:
    desk = {"desk": "rental", "systems": ["You rent cameras."], "tools": [FIND, MOVE], "talks": list(talks)}
    (folder / "rental.yaml").write_text(yaml.safe_dump(desk), encoding="utf-8")
    return list(desk_rows(desk_files(folder, (), only=False), seed))


def seeds(folder: Path, *talks: list[Step]) -> list[list[Row]]:
    return [told(folder, *talks, seed=seed) for seed in range(20)]


def roles(messages: list[Message]) -> list[str]:
    return [message["role"] for message in messages]


def test_a_clients_conversation_keeps_calls_and_results(tmp_path: Path) -> None:
    [whole] = next(rows for rows in seeds(tmp_path, OWED + MOVED) if len(rows) == 1)
    turn = ["user", "assistant", "tool", "assistant"]
    assert roles(whole["messages"]) == ["system", *turn, *turn]
    assert [(name, arguments) for _, name, arguments in calls_of(whole)] == [
        ("find", {"query": "5512"}),
        ("move", {"booking": 5512, "day": "Saturday"}),
    ]
    results = [message["content"] for message in whole["messages"] if message["role"] == "tool"]
    assert json.loads(results[0])[0]["shelf"] == "K7731"
    assert results[1] == "error: We are closed on Saturday."
    assert whole["tools"][1]["function"]["parameters"]["required"] == ["booking", "day"]


def test_an_agents_session_has_a_row_a_turn_with_what_was_said_before(tmp_path: Path) -> None:
    first, second = next(rows for rows in seeds(tmp_path, OWED + MOVED) if len(rows) == 2)
    assert "You owe 84.00 EUR for booking 5512." in first["messages"][-1]["content"]
    before = second["messages"][:3]
    assert roles(before) == ["system", "user", "assistant"]
    assert before[-1]["weight"] == 0
    assert [name for _, name, _ in calls_of(second)] == ["move"]


def test_chinese_words_are_compared_too(tmp_path: Path) -> None:
    rows = [row["messages"] for several in seeds(tmp_path, CHINESE) for row in several]
    last = [messages for messages in rows if messages[-1]["content"] == "周六下午四点。"]
    assert last
    assert all("tool" in roles(messages) for messages in last)


def test_plans_name_the_goal_and_the_tools_of_the_turn(tmp_path: Path) -> None:
    plans = {
        message["content"]
        for rows in seeds(tmp_path, OWED)
        for row in rows
        for message in row["messages"]
        if message.get("name") == "plan"
    }
    assert plans == {'{"goal":"tell the price of 5512","tools":["find"]}'}


@pytest.mark.parametrize("resting", [SHELF, EMPTY])
def test_a_turn_that_rests_on_an_unspoken_result_is_not_told_in_a_session(tmp_path: Path, resting: list[Step]) -> None:
    rows = [row for several in seeds(tmp_path, OWED + resting) for row in several]
    last = [row["messages"] for row in rows if any(m["content"] == resting[0]["user"] for m in row["messages"])]
    assert last
    assert all("tool" in roles(messages[:5]) for messages in last)


def test_calls_of_one_step_are_one_message(tmp_path: Path) -> None:
    both: list[Step] = [
        {"user": "5512 and 5513?", "goal": "find both"},
        {"call": "find", "with": {"query": "5512"}, "gives": "shelf 1"},
        {"call": "find", "with": {"query": "5513"}, "fails": "timed out", "also": True},
        {"say": "5512 is on shelf 1. I couldn't look 5513 up."},
    ]
    [row] = told(tmp_path, both)
    [message] = [each for each in row["messages"] if each.get("tool_calls")]
    assert len(message["tool_calls"]) == 2
    assert [each["content"] for each in row["messages"] if each["role"] == "tool"] == ["shelf 1", "error: timed out"]


@pytest.mark.parametrize(
    ("talk", "why"),
    [
        ([], "must end in an answer"),
        (OWED[:1], "must end in an answer"),
        (OWED[:2], "must end in an answer"),
        (OWED[1:], "each turn is"),
        ([*OWED, OWED[2]], "each turn is"),
        ([OWED[0], {**OWED[1], "refuses": "no"}, OWED[2]], "one of gives, refuses and fails"),
        ([OWED[0], {"call": "find", "with": {"query": "1"}}, OWED[2]], "one of gives, refuses and fails"),
        ([OWED[0], {**OWED[1], "with": None}, OWED[2]], "has arguments"),
        ([OWED[0], {**OWED[1], "call": "lose"}, OWED[2]], "no tool lose"),
        ([OWED[0], {**OWED[1], "alsp": True}, OWED[2]], "its own keys"),
        ([OWED[0], {**OWED[1], "also": True}, OWED[2]], "no call before"),
        ([OWED[0], {**OWED[1], "gives": [{False: "x"}]}, OWED[2]], "the key False"),
        ([{"user": "no goal"}, *OWED[1:]], "goal is missing"),
        ([OWED[0], {"shout": "Hi"}, OWED[2]], "one of user, call and say"),
        ([OWED[0], {"say": 5}], "a text"),
    ],
)
def test_a_wrong_talk_is_an_error_that_names_its_place(tmp_path: Path, talk: list[Step], why: str) -> None:
    with pytest.raises(ConfigError, match=rf"rental\.yaml, talk 2: .*{why}"):
        told(tmp_path, OWED, talk)


@pytest.mark.parametrize("text", ["", "talks: [", "desk: rental", "{desk: a, systems: [], tools: [], talks: [[]]}"])
def test_a_wrong_file_is_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "rental.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"rental\.yaml"):
        list(desk_rows([tmp_path / "rental.yaml"], 0))


def test_talk_without_tools_is_told_whole_and_needs_no_goal(tmp_path: Path) -> None:
    desk = {"desk": "talk", "systems": ["", "Be kind."], "tools": [], "talks": [[{"user": "Hi"}, {"say": "Hello!"}]]}
    (tmp_path / "talk.yaml").write_text(yaml.safe_dump(desk), encoding="utf-8")
    rows = [row for seed in range(20) for row in desk_rows([tmp_path / "talk.yaml"], seed)]
    assert {tuple(roles(row["messages"])) for row in rows} == {
        ("user", "assistant"),
        ("system", "user", "assistant"),
    }
    assert not any("tools" in row for row in rows)


def test_held_out_desks_are_left_out_or_alone(tmp_path: Path) -> None:
    told(tmp_path, OWED)
    (tmp_path / "other.yaml").write_text((tmp_path / "rental.yaml").read_text())
    assert [path.stem for path in desk_files(tmp_path, ["rental"], only=False)] == ["other"]
    assert [path.stem for path in desk_files(tmp_path, ["rental"], only=True)] == ["rental"]
    with pytest.raises(ConfigError, match="has no desk shop"):
        desk_files(tmp_path, ["shop"], only=False)
    with pytest.raises(ConfigError, match="no desk is left"):
        desk_files(tmp_path, ["rental", "other"], only=False)
    with pytest.raises(ConfigError, match="has no desks"):
        desk_files(tmp_path / "none", [], only=False)


def test_the_shipped_desks_are_without_faults() -> None:
    files = desk_files(DESKS, (), only=False)
    rows = list(desk_rows(files, 0))
    assert {row["intent"].split()[0] for row in rows} == {path.stem for path in files}
    assert {row["intent"]: fault(cleaned(row)) for row in rows if fault(cleaned(row))} == {}
